"""The questions node: a set of questions, from a file, a hub data set or the world, in parts.

Run by the workflow as `python -m distrace.nodes.questions --settings JSON --cut JSON --out PARTS`. A part whose
questions are as before stays as it is.
"""

from pathlib import Path
from typing import Any

from distrace import command, kinds
from distrace.artifacts import is_written, write_with_rejects
from distrace.errors import BadRow, DistraceError
from distrace.identity import digest, short_id
from distrace.parts import part_names, write_list
from distrace.questions import Cut, Questions, source_rows
from distrace.rejects import Reject, kept_and_rejected
from distrace.rows import Row, text_reader
from distrace.versions import NODE_VERSIONS


def write_questions(settings: Questions, cut: Cut, out: Path) -> None:
    """Write the parts of a set beside `out`, and their list; each holds a stretch of the source's rows, in their order.

    A part may be empty. Raises DistraceError if the source has no row, or none that can be used.
    """
    rows = list(source_rows(settings))
    if not rows:
        raise DistraceError(f"{settings.name}: no row is left after the {settings.skip} to skip")
    kept, rejects = _read(rows, settings)
    if not kept:
        raise DistraceError(
            f"{settings.name}: none of {len(rows)} rows can be used; row {rejects[0].row}: {rejects[0].reason}"
        )
    stretches = cut.stretches(len(rows))
    paths = [out.with_name(f"{name}.arrow") for name in part_names(len(stretches))]
    questions, rejected = dict(kept), {reject.row: reject for reject in rejects}
    for stretch, path in zip(stretches, paths, strict=True):
        mine = range(settings.skip + stretch.start, settings.skip + stretch.stop)
        _write_part(
            [questions[number] for number in mine if number in questions],
            [rejected[number] for number in mine if number in rejected],
            path,
        )
    write_list(paths, out)


def _write_part(questions: list[dict[str, Any]], rejects: list[Reject], out: Path) -> None:
    identity = {
        "version": NODE_VERSIONS["questions"],
        "content": digest([questions, [(reject.row, reject.reason) for reject in rejects]]),
    }
    if not is_written(out, kinds.QUESTIONS, identity, with_rejects=True):
        write_with_rejects(out, kinds.QUESTIONS, questions, rejects, identity, len(questions) + len(rejects))


def _read(
    rows: list[tuple[int, Row | BadRow]], settings: Questions
) -> tuple[list[tuple[int, dict[str, Any]]], list[Reject]]:
    """Return the usable rows with their numbers, and the rejects; a repeated question is rejected."""
    has_solution = settings.solution or (settings.source.get("world") or {}).get("style")
    columns = {"question": settings.question, "answer": settings.answer}
    if has_solution:
        columns["solution"] = settings.solution or "solution"
    readers = {name: text_reader(column) for name, column in columns.items()}
    seen: dict[str, int] = {}

    def read(numbered: tuple[int, Row | BadRow]) -> tuple[int, dict[str, Any]]:
        number, row = numbered
        if isinstance(row, BadRow):
            raise row
        texts = {name: reader(row) for name, reader in readers.items()}
        question_id = short_id(texts["question"])
        if question_id in seen:
            raise BadRow(f"the same question as row {seen[question_id]}")
        seen[question_id] = number
        return number, {"question_id": question_id, "solution": None} | texts

    return kept_and_rejected(((row[0], row) for row in rows), read, lambda _: "questions")


if __name__ == "__main__":
    command.run(write_questions)
