"""The questions node: one part of a set of questions, from a file, a hub data set or the world.

Run by the workflow as `python -m distrace.nodes.questions --settings JSON --part 0 --parts 1 --out FILE`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from distrace import command, kinds, world
from distrace.artifacts import write_with_rejects
from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.rejects import Reject, kept_and_rejected
from distrace.rows import Row, file_digest, read_rows, text_reader
from distrace.versions import NODE_VERSIONS


@dataclasses.dataclass(frozen=True)
class Questions:
    """Where questions come from and which columns hold what; `config.schema.yaml` describes each field."""

    source: dict[str, Any]
    question: str = "question"
    answer: str = "answer"
    solution: str | None = None
    skip: int = 0
    limit: int | None = None
    seed: int = 0


def write_questions(settings: Questions, part: int, parts: int, out: Path) -> None:
    """Write part `part` (from 0) of `parts`: one of as many even stretches of the source's rows, in their order.

    A part may be empty. Raises DistraceError if the source has no row, or none that can be used.
    """
    rows = list(islice(enumerate(source_rows(settings)), settings.skip, _end(settings)))
    if not rows:
        raise DistraceError(f"{_name(settings.source)}: no row is left after the {settings.skip} to skip")
    kept, rejects = _read(rows, settings)
    if not kept:
        raise DistraceError(
            f"{_name(settings.source)}: none of {len(rows)} rows can be used; row {rejects[0].row}: {rejects[0].reason}"
        )
    mine = range(*(settings.skip + len(rows) * end // parts for end in (part, part + 1)))
    identity = {
        "version": NODE_VERSIONS["questions"],
        "source": source_identity(settings.source),
        "settings": dataclasses.asdict(settings) | {"source": None},
        "part": [part, parts],
    }
    mine_kept = [row for number, row in kept if number in mine]
    mine_rejected = [reject for reject in rejects if reject.row in mine]
    write_with_rejects(out, kinds.QUESTIONS, mine_kept, mine_rejected, identity, len(mine))


def _name(source: Mapping[str, Any]) -> str:
    return source.get("file") or source.get("hub") or f"the world {source['world']}"


def _end(settings: Questions) -> int | None:
    return None if settings.limit is None else settings.skip + settings.limit


def source_rows(settings: Questions) -> Iterable[Row | BadRow]:
    """Return the rows of the source, in order."""
    source = settings.source
    if source.get("file"):
        return read_rows(Path(source["file"]))
    if source.get("hub"):
        from datasets import load_dataset  # takes seconds, and only hub data needs it

        rows: Iterable[Row] = load_dataset(
            source["hub"], source["subset"], split=source["split"], revision=source["revision"]
        )
        return rows
    return world.questions(**source["world"], seed=settings.seed)


def source_identity(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the source's content depends on: of a file its bytes, not its name."""
    if source.get("file"):
        return {"file": file_digest(Path(source["file"]))}
    return {key: source[key] for key in ("hub", "revision", "subset", "split", "world") if source.get(key)}


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
