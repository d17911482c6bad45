"""What a run says at its start: what will run, how much that is, and what in its settings is seldom meant."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf

from distrace.estimates import WITH_MODEL, Estimate, estimate
from distrace.pages.texts import counted, duration
from distrace.plan import Plan

Job = tuple[str, Mapping[str, str]]  # the name of its rule, and its wildcards

_NAMED = 4  # models that are named


def opening_lines(
    plan: Plan, jobs: Iterable[Job], notes: Iterable[str], large: float = inf, gpus: bool = True
) -> Iterator[str]:
    """Yield the lines that a run begins with, without `gpus` those of a machine that has none.

    `large` are the parameters from which on a model asks for a GPU.
    """
    found = [(rule, wildcards, estimate(plan, rule, wildcards, large)) for rule, wildcards in jobs]
    if not gpus:
        found = [(rule, wildcards, replace(job, gpus=0)) for rule, wildcards, job in found]
    trained = [wildcards["model"] for rule, wildcards, _ in found if rule == "finetune"]
    if trained:
        yield f"to train: {counted(len(trained), 'model')} ({_named(sorted(trained))})"
    for task, verb in (("generate", "to write"), ("score", "to score")):
        who = "author" if task == "generate" else "scorer"
        mine = [(wildcards[who], job) for _, wildcards, job in found if job.task == task]
        if mine:
            yield f"{verb}: {_responses([job for _, job in mine])}, by {_named(sorted(name for name, _ in mine))}"
    if any(job.task for *_, job in found):
        yield _cost([job for *_, job in found])
    if short := _short_parts(found):
        yield (
            f"note: {short} jobs load a model for longer than they need it, since their parts are short; "
            "larger parts (`part_size`, `parts`) load it less often (docs/reruns.md)"
        )
    for note in notes:
        yield f"note: {note}"


def _short_parts(found: Iterable[tuple[str, Mapping[str, str], Estimate]]) -> int:
    """Return how many jobs take less time than to load their model, of those with others on the same set."""
    short = Counter(
        (rule, *(value for name, value in wildcards.items() if name != "part"))
        for rule, wildcards, job in found
        if job.task in ("generate", "score") and WITH_MODEL < job.seconds < 2 * WITH_MODEL
    )
    return sum(count for count in short.values() if count > 1)


def _named(names: Iterable[str]) -> str:
    """Return the first names, each once, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _responses(jobs: list[Estimate]) -> str:
    known = [job for job in jobs if job.responses is not None]
    found = []
    if known:
        about = "at most" if any(job.at_most for job in known) else "about"
        tokens = _number(sum(job.tokens or 0 for job in known))
        found.append(f"{counted(sum(job.responses or 0 for job in known), 'response')}, {about} {tokens} tokens")
    if len(known) < len(jobs):
        found.append(f"{counted(len(jobs) - len(known), 'part')} of unknown length")
    return " and ".join(found)


def _cost(jobs: list[Estimate]) -> str:
    on_gpus = sum(job.seconds * job.gpus for job in jobs)
    on_cpus = sum(job.seconds for job in jobs if not job.gpus)
    hours = [f"{duration(on_gpus)} of a GPU"] if on_gpus else []
    hours += [f"{duration(on_cpus)} on CPUs, one job after the other"] if on_cpus else []
    timed = [job for job in jobs if job.task]
    measured = sum(job.measured for job in timed)
    how = "by the speed of finished jobs" if measured == len(timed) else "by the sizes of models"
    if 0 < measured < len(timed):
        how = f"by the speed of finished jobs ({measured} of {len(timed)}) and the sizes of models"
    bound = "at most about" if any(job.at_most for job in jobs) else "about"
    disk = _bytes(sum(job.size for job in jobs))
    return f"that is {bound} {' and '.join(hours)} ({how}), and {disk} of disk (docs/disk.md)"


def _number(value: float) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return "below 1 MB"
