"""Artifacts in parts: the list of all parts, with the fingerprint, the rows and the rejects of each.

Nodes that read all parts are given the list, so that no command grows with the number of parts. A node that runs no
model writes all parts of a set and their list (`command.run_each_part`); jobs that run a model write a part each, and
the node `parts` lists them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import Artifact, open_artifact, reasons_of, rejects_path, write
from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest
from distrace.kinds import Kind

LIST = "parts.arrow"


@dataclass(frozen=True)
class Parts:
    """All parts of an artifact, by the list of them; each is opened when its turn comes, so that few are in memory."""

    path: Path
    kind: str
    fingerprint: str
    rows: int
    listed: list[tuple[str, str]]  # name and fingerprint of each part, in order

    def __iter__(self) -> Iterator[Artifact]:
        """Yield the parts, opened; raise DistraceError if one is not the one that was listed."""
        lists = self.path.with_name("parts*.arrow")
        for name, fingerprint in self.listed:
            path = self.path.with_name(f"{name}.arrow")
            if not path.is_file():
                raise DistraceError(
                    f"{path}: no such file, but {self.path} lists it; "
                    f"delete {lists} and {rejects_path(path).name} and run again"
                )
            part = open_artifact(path)
            if (part.kind, part.fingerprint) != (self.kind, fingerprint):
                raise DistraceError(
                    f"{path} is {part.fingerprint}, but {self.path} lists {fingerprint}; delete {lists} and run again"
                )
            yield part

    def read(self, *columns: str) -> pl.DataFrame:
        """Return the columns named, or all, of all parts as one frame; for few columns, or few rows."""
        return pl.concat([part.read(*columns) for part in self])


def part_names(count: int) -> list[str]:
    """Return the names of so many parts: numbers from 0, so that a set that grows keeps the names it has."""
    return list(map(str, range(count)))


def open_parts(path: str | Path, kind: Kind | None = None) -> Parts:
    """Return the parts of an artifact by their list at `path`, or the one part at `path`.

    Raises DistraceError if they are not of the kind.
    """
    opened = open_artifact(path)
    is_list = opened.kind == kinds.PARTS.name
    of = str(opened.identity["of"]) if is_list else opened.kind
    if kind is not None and of != kind.name:
        raise DistraceError(f"{path}: holds parts of kind {of!r}; expected {kind.name!r}")
    if not is_list:
        return Parts(opened.path, of, opened.fingerprint, opened.rows, [(opened.path.stem, opened.fingerprint)])
    table = opened.read()
    listed = list(table.select("part", "fingerprint").iter_rows())
    return Parts(opened.path, of, opened.fingerprint, int(table["rows"].sum()), listed)


def fingerprints(inputs: Iterable[Artifact | Parts]) -> list[str]:
    """Return the fingerprints of the inputs, in order."""
    return [opened.fingerprint for opened in inputs]


def reasons_in_parts(path: str | Path) -> dict[str, int]:
    """Return how often each reason is given in the rejects of the parts that a list names, or of the one part."""
    opened = open_artifact(path)
    if opened.kind != kinds.PARTS.name:
        return reasons_of(opened.path)
    counts: Counter[str] = Counter()
    for rejects in opened.read("rejects")["rejects"]:
        counts.update(json.loads(rejects))
    return dict(counts)


def write_list(parts: Iterable[Path], out: Path) -> None:
    """Write the list of these parts, or of the parts that these lists list, in order.

    Raises DistraceError if they are of different kinds.
    """
    listed = [_rows(open_artifact(path)) for path in parts]
    found = sorted({kind for kind, _ in listed})
    if len(found) != 1:
        raise DistraceError(f"{out}: its parts are of kinds {found}; expected one")
    rows = list(chain.from_iterable(rows for _, rows in listed))
    identity = {"of": found[0], "parts": digest([row["fingerprint"] for row in rows])}
    write(out, kinds.PARTS, rows, identity)


def _rows(part: Artifact) -> tuple[str, list[dict[str, Any]]]:
    """Return the kind of a part, or of those in a list, and the row of each; rejects are counted by reason."""
    if part.kind == kinds.PARTS.name:
        return str(part.identity["of"]), part.read().to_dicts()
    row = {
        "part": part.path.stem,
        "fingerprint": part.fingerprint,
        "rows": part.rows,
        "rejects": canonical_json(reasons_of(part.path)),
    }
    return part.kind, [row]
