"""Sets of questions: where their rows come from, how these are cut into parts, and the parts as artifacts.

The plan looks here before anything runs: into how many parts a set is cut, and whether the rows of a part have changed.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from distrace import kinds, world
from distrace.artifacts import is_written, open_artifact, write_with_rejects
from distrace.errors import BadRow, DistraceError
from distrace.identity import digest, short_id
from distrace.parts import part_names
from distrace.rejects import Reject, kept_and_rejected
from distrace.rows import Row, raw_rows, read_rows, text_reader, with_lines
from distrace.versions import QUESTIONS


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

    @property
    def name(self) -> str:
        """The source, as messages call it."""
        return self.source.get("file") or self.source.get("hub") or f"the world {self.source['world']}"

    @property
    def columns(self) -> dict[str, str | None]:
        """What is read of a row: columns or templates."""
        return {"question": self.question, "answer": self.answer, "solution": self.solution}


@dataclasses.dataclass(frozen=True)
class Cut:
    """How a set is cut: into so many even parts or, with `part_size`, into parts of so many rows."""

    parts: int | None = None
    part_size: int | None = None

    def stretches(self, rows: int) -> list[range]:
        """Return the rows of each part, from 0 to below `rows`; a part may be empty."""
        if self.part_size:
            starts = range(0, max(rows, 1), self.part_size)
            return [range(start, min(rows, start + self.part_size)) for start in starts]
        parts = self.parts or 1
        return [range(rows * part // parts, rows * (part + 1) // parts) for part in range(parts)]


def source_rows(settings: Questions) -> Iterable[tuple[int, Row | BadRow]]:
    """Return the rows of the set with their numbers in the source, in order."""
    return islice(enumerate(_all_rows(settings)), settings.skip, _end(settings))


def count_parts(settings: Questions, cut: Cut) -> int:
    """Return into how many parts the set is cut; with `part_size`, the rows of a file are counted for it."""
    return len(cut.stretches(_count(settings))) if cut.part_size else cut.parts or 1


def part_digests(settings: Questions, cut: Cut) -> list[str]:
    """Return, for each part, a digest of what its questions are made from.

    Of a file, these are the rows of the part; other sources are fixed by what the config says.
    """
    about = [QUESTIONS, settings.columns, _without_length(settings)]
    if settings.source.get("hub") and not cut.part_size:  # the number of rows is known once they are loaded
        return [digest([about, settings.skip, settings.limit, part, cut.parts]) for part in range(cut.parts or 1)]
    stretches = cut.stretches(_count(settings))
    if not settings.source.get("file"):
        return [digest([about, settings.skip + rows.start, settings.skip + rows.stop]) for rows in stretches]
    rows = islice(raw_rows(Path(settings.source["file"])), settings.skip, _end(settings))
    return [digest([about, _content(islice(rows, len(stretch)))]) for stretch in stretches]


def is_made_from(part: Path, made_from: str) -> bool:
    """Return whether the questions at `part` are there, made from what the digest `made_from` stands for."""
    return part.is_file() and open_artifact(part, kinds.QUESTIONS).identity.get("made_from") == made_from


def write_parts(settings: Questions, cut: Cut, folder: Path, wanted: str | None = None) -> list[Path]:
    """Write the parts of a set in a folder, or the `wanted` one, and return the paths of all.

    Each holds a stretch of the source's rows, in their order; it may be empty. A part that is there as it would be
    written is left alone. Raises DistraceError if the source has no row, or none that can be used.
    """
    rows = list(source_rows(settings))
    if not rows:
        raise DistraceError(f"{settings.name}: no row is left after the {settings.skip} to skip")
    kept, rejects = _read(rows, settings)
    if not kept:
        first = rejects[0]
        raise DistraceError(f"{settings.name}: none of {len(rows)} rows can be used; row {first.row}: {first.reason}")
    questions, rejected = dict(kept), {reject.row: reject for reject in rejects}
    stretches, made_from = cut.stretches(len(rows)), part_digests(settings, cut)
    paths = [folder / f"{name}.arrow" for name in part_names(len(stretches))]
    for stretch, part_made_from, path in zip(stretches, made_from, paths, strict=True):
        if wanted not in (None, path.stem):
            continue
        mine = range(settings.skip + stretch.start, settings.skip + stretch.stop)
        _write_part(
            [questions[number] for number in mine if number in questions],
            [rejected[number] for number in mine if number in rejected],
            part_made_from,
            path,
        )
    return paths


def _write_part(questions: list[dict[str, Any]], rejects: list[Reject], made_from: str, out: Path) -> None:
    identity = {
        "made_from": made_from,
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
    seen: dict[str, tuple[int, str]] = {}

    def read(numbered: tuple[int, Row | BadRow]) -> tuple[int, dict[str, Any]]:
        number, row = numbered
        if isinstance(row, BadRow):
            raise row
        texts = {name: reader(row) for name, reader in readers.items()}
        question_id = short_id(texts["question"])
        if question_id in seen:
            first, answer = seen[question_id]
            other = "" if answer == texts["answer"] else f", with another answer: {texts['answer'][:40]!r}"
            raise BadRow(f"the same question as row {first}{other}")
        seen[question_id] = (number, texts["answer"])
        return number, {"question_id": question_id, "solution": None} | texts

    kept, rejects = kept_and_rejected(((row[0], row) for row in rows), read, lambda _: "questions")
    return kept, with_lines(rejects, Path(settings.source.get("file") or ""))


def _without_length(settings: Questions) -> Mapping[str, Any]:
    """Return the source without what says how long it is: for files their content counts, not their name."""
    source = {key: settings.source[key] for key in ("hub", "revision", "subset", "split") if settings.source.get(key)}
    if drawn := settings.source.get("world"):
        # Solutions are drawn after all puzzles, so that each depends on how many there are.
        return {"world": drawn if drawn.get("style") else drawn | {"count": None}, "seed": settings.seed}
    return source


def _content(rows: Iterable[bytes]) -> str:
    content = hashlib.sha256()
    for row in rows:
        content.update(b"%d:" % len(row) + row)
    return content.hexdigest()


def _count(settings: Questions) -> int:
    """Return the number of rows of the set; of hub data, this is its `limit`."""
    source = settings.source
    if source.get("hub"):
        return settings.limit or 0
    found: int = _rows_in_file(Path(source["file"])) if source.get("file") else source["world"]["count"]
    return max(0, min(found, _end(settings) or found) - settings.skip)


def _rows_in_file(path: Path) -> int:
    if not path.is_file():
        return sum(1 for _ in raw_rows(path))  # which says what is wrong
    state = path.stat()
    return _rows_in(path, state.st_mtime_ns, state.st_size)


@cache
def _rows_in(path: Path, _time: int, _size: int) -> int:
    return sum(1 for _ in raw_rows(path))


def _end(settings: Questions) -> int | None:
    return None if settings.limit is None else settings.skip + settings.limit


def _all_rows(settings: Questions) -> Iterable[Row | BadRow]:
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


def count_questions(settings: Questions) -> int | None:
    """Return how many questions a set has before rejects; None of hub data without a limit. A file is read for it."""
    if settings.source.get("hub"):
        return settings.limit
    return _count(settings)
