"""What a run says at its end: where the report is, its main numbers, and the rows that were rejected."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from distrace.pages.findings import distilled_answers, given_models
from distrace.pages.texts import counted, interval_text

Numbers = dict[str, Any]

REPORT = Path("results/report")
MOST_RUNS = 3


def closing_lines(numbers: Numbers) -> Iterator[str]:
    """Yield the lines that a run ends with, from the numbers of its report."""
    yield f"the report: {REPORT / 'index.html'}; every sentence in its colour: {REPORT / 'explorer.html'}"
    for name, run in list(numbers["runs"].items())[:MOST_RUNS]:
        yield from _of_run(name, run)
    if numbers["warnings"]:
        yield f"{counted(len(numbers['warnings']), 'question')} that a reviewer would ask: at the head of the report"
    yield _rejected(numbers["accounting"])


def _of_run(name: str, run: Numbers) -> Iterator[str]:
    for trace in run["traces"][:1]:
        shares = ", ".join(f"{label} {interval_text(share)}" for label, share in trace["labels"].items())
        where = f"{name}, {trace['distilled']} on {trace['questions']}"
        yield f"{where}: {counted(trace['sentences'], 'sentence')}: {shares}"
    for questions, models in list(run["accuracy"].items())[:1]:
        best = sorted(distilled_answers(run, models), key=lambda model: -models[model]["mean"])[:1]
        named = [*given_models(run), *best]
        told = ", ".join(f"{model} {interval_text(models[model])}" for model in models if model in named)
        yield f"{name}, right answers on {questions}: {told}"


def _rejected(accounting: list[Numbers]) -> str:
    dropped = [row for row in accounting if row["rejected"]]
    if not dropped:
        return "no row was rejected"
    most = max(dropped, key=lambda row: int(row["rejected"]))
    reason, number = max(most["reasons"].items(), key=lambda item: int(item[1]))
    rows = counted(sum(row["rejected"] for row in dropped), "row")
    return (
        f"{rows} rejected, most of them in {most['artifact']} ({number} times: {reason}); "
        "`snakemake --cores 1 rejects` lists them, the last table of the report counts them"
    )


def say_closing(since: float, notes: Iterable[str] = (), folder: Path = REPORT) -> None:
    """Write to stdout the closing lines of a report written after `since` (seconds since the epoch), and the notes."""
    path = folder / "numbers.json"
    written = path.is_file() and path.stat().st_mtime >= since
    lines = list(closing_lines(json.loads(path.read_text("utf-8")))) if written else []
    lines += [f"note: {note}" for note in notes]
    if lines:
        print("\n".join(lines))
