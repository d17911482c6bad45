"""The questions node: one part of a set of questions, from a file, a hub data set or the world.

Run by the workflow as `python -m distrace.questions --settings JSON --part 0 --parts 1 --out FILE`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from distrace import command, world
from distrace.artifacts import write_with_rejects
from distrace.errors import DistraceError
from distrace.identity import NODE_VERSIONS, short_id
from distrace.rows import BadRow, file_digest, read_rows, text_reader


@dataclasses.dataclass(frozen=True)
class Questions:
    """Where questions come from and which columns hold what; see the schema of the config."""

    source: dict
    question: str = "question"
    answer: str = "answer"
    solution: str | None = None
    skip: int = 0
    limit: int | None = None
    seed: int = 0


def write_questions(settings: Questions, part: int, parts: int, out: Path) -> None:
    """Write part `part` of `parts` (counted from 0): rows in the order of the source, cut into even stretches.

    A part may be empty. Raises DistraceError when the source has no row, or none that can be used.
    """
    rows = list(islice(enumerate(source_rows(settings)), settings.skip, _end(settings)))
    if not rows:
        raise DistraceError(f"{_name(settings.source)}: no row is left after the {settings.skip} to skip")
    kept, rejects = _read(rows, settings)
    if not kept:
        raise DistraceError(
            f"{_name(settings.source)}: none of {len(rows)} rows can be used; "
            f"row {rejects[0]['row']}: {rejects[0]['reason']}"
        )
    mine = range(*(settings.skip + len(rows) * end // parts for end in (part, part + 1)))
    identity = {
        "version": NODE_VERSIONS["questions"],
        "source": source_identity(settings.source),
        "settings": dataclasses.asdict(settings) | {"source": None},
        "part": [part, parts],
    }
    kept = [row for number, row in kept if number in mine]
    rejects = [reject for reject in rejects if reject["row"] in mine]
    write_with_rejects(out, "questions", kept, rejects, identity, len(mine))


def _name(source: Mapping) -> str:
    return source.get("file") or source.get("hub") or f"the world {source['world']}"


def _end(settings: Questions) -> int | None:
    return None if settings.limit is None else settings.skip + settings.limit


def source_rows(settings: Questions) -> Iterable[Mapping | BadRow]:
    """Give the rows of the source, in order."""
    source = settings.source
    if source.get("file"):
        return read_rows(Path(source["file"]))
    if source.get("hub"):
        from datasets import load_dataset  # takes seconds, and only hub data needs it

        return load_dataset(source["hub"], source["subset"], split=source["split"], revision=source["revision"])
    return world.questions(**source["world"], seed=settings.seed)


def source_identity(source: Mapping) -> dict:
    """Give what the source's content depends on: a file counts by its bytes, not by its name."""
    if source.get("file"):
        return {"file": file_digest(Path(source["file"]))}
    return {key: source[key] for key in ("hub", "revision", "subset", "split", "world") if source.get(key)}


def _read(rows: list[tuple[int, Mapping | BadRow]], settings: Questions) -> tuple[list[tuple[int, dict]], list[dict]]:
    """Give the usable rows with their numbers, and the rejects; a question asked before is rejected."""
    has_solution = settings.solution or (settings.source.get("world") or {}).get("style")
    columns = {"question": settings.question, "answer": settings.answer}
    if has_solution:
        columns["solution"] = settings.solution or "solution"
    readers = {name: text_reader(column) for name, column in columns.items()}
    kept, rejects, seen = [], [], {}
    for number, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            texts = {name: reader(row) for name, reader in readers.items()}
            question_id = short_id(texts["question"])
            if question_id in seen:
                raise BadRow(f"the same question as row {seen[question_id]}")
        except BadRow as error:
            rejects.append({"source": "questions", "row": number, "reason": str(error)})
            continue
        seen[question_id] = number
        kept.append((number, {"question_id": question_id, "solution": None} | texts))
    return kept, rejects


if __name__ == "__main__":
    command.run(write_questions)
