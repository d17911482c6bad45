"""What can be said of a run before it starts: files that are not whole, and settings that are most likely mistakes.

The config is checked by `config.py`. Here are files that it names, and what is allowed but seldom meant. Nothing is
loaded or fetched, and torch is not imported.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from distrace.errors import BadRow, DistraceError
from distrace.model_files import faults
from distrace.plan import Plan
from distrace.questions import source_rows
from distrace.rows import text_reader

_LOOKED_AT = 200  # questions of a set
_LARGEST_READ = 50_000_000  # bytes of a file that is read whole for them
_MATHEMATICS = re.compile(r"[\d\\^=√π∞½]")
_LETTER = re.compile(r"\(?[A-Ja-j]\)?\.?")


def require_whole_files(plan: Plan) -> None:
    """Raise DistraceError with a line for each fault of the models in folders; those that are not there are left out.

    (Snakemake names missing files itself; another workflow may be about to write them.)
    """
    lines = []
    for name in plan.models_from("folder"):
        model = plan.config["models"][name]
        folder = Path(model["source"]["folder"])
        if folder.is_dir():
            found = faults(folder, weights=model["server"] is None)
            lines += [f"models.{name}: {fault}" for fault in found]
    if lines:
        raise DistraceError("the models cannot be used:\n" + "\n".join(f"  {line}" for line in lines))


def notes(plan: Plan, gpus_here: int | None) -> list[str]:
    """Return a line for each thing that the config allows but that is seldom meant.

    `gpus_here` are the GPUs of this machine if its jobs run here, None if they run elsewhere.
    """
    return [*_without_gpus(plan, gpus_here), *_same_models(plan), *_answers_in_words(plan)]


def _without_gpus(plan: Plan, gpus_here: int | None) -> Iterator[str]:
    asking = [name for name, model in plan.config["models"].items() if model["gpus"]]
    if asking and gpus_here == 0:
        yield f"no GPU is found on this machine: {', '.join(asking)}, with `gpus` in the config, will run on the CPU"


def _same_models(plan: Plan) -> Iterator[str]:
    for run, settings in plan.config["runs"].items():
        for teacher in settings["teachers"]:
            if _is_same(plan, teacher, settings["student"]):
                both = f"teacher {teacher!r} and student {settings['student']!r}"
                yield f"runs.{run}: {both} are one model: no sentence is only one's"


def _is_same(plan: Plan, one: str, other: str) -> bool:
    if one == other:
        return True
    if not {one, other} <= plan.config["models"].keys():
        return False
    settings = (plan.model_settings(name) for name in (one, other))
    return plan.model_source(one) == plan.model_source(other) and len(set(map(repr, settings))) == 1


def _answers_in_words(plan: Plan) -> Iterator[str]:
    """Yield a line for each set of questions in a file whose answers the default grader is not made for."""
    for name in graded_questions(plan):
        grader = plan.config["questions"][name]["grader"]
        if grader["method"] != "math" or grader["pattern"] or not plan.config["questions"][name]["source"]["file"]:
            continue
        answers = _answers(plan, name)
        letters = [answer for answer in answers if _LETTER.fullmatch(answer.strip())]
        words = [answer for answer in answers if not _MATHEMATICS.search(answer)]
        if 2 * len(letters) > len(answers):
            fix = "set `grader: {method: choice}`"
        elif 2 * len(words) > len(answers):
            fix = r"set `grader: {method: exact, pattern: '... (.+)'}` to what your responses say before the answer"
        else:
            continue
        yield (
            f"questions.{name}: {len(words)} of the first {len(answers)} answers are no mathematics (such as "
            f"{words[0][:40]!r}); the default grader, math, finds words only in \\boxed{{}} or after 'answer is': {fix}"
        )


def graded_questions(plan: Plan) -> list[str]:
    """Return the sets of questions whose responses are graded, each once."""
    tests = [name for run in plan.config["runs"].values() for name in run["test"]["questions"]]
    candidates = [rollouts.questions for run in plan.config["runs"] for rollouts in plan.all_candidates(run)]
    return list(dict.fromkeys([*tests, *candidates]))


def _answers(plan: Plan, name: str) -> list[str]:
    """Return the first answers of a set in a file; none if it cannot be read, which its own node will say."""
    settings = plan.questions(name)
    path = Path(settings.source["file"])
    if not path.is_file() or (path.suffix != ".jsonl" and path.stat().st_size > _LARGEST_READ):
        return []
    try:
        read = text_reader(settings.answer)
        rows = [row for _, row in islice(source_rows(settings), _LOOKED_AT) if not isinstance(row, BadRow)]
    except DistraceError:
        return []
    found = []
    for row in rows:
        with suppress(BadRow):
            found.append(read(row))
    return found
