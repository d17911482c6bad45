"""Chunks: what the explorer reads, each a compressed piece of a study that the page loads when it needs it.

A chunk is gzip in base64 of: the length of a header, as 4 bytes; the header, JSON with `values` and the name, type and
length of each array; then the arrays. All numbers are little-endian, and each array begins at a multiple of 8 bytes, so
that the page can look at it where it lies. `docs/explorer.md` lists the chunks.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.errors import DistraceError

CHARACTERS = 2_000_000  # of text that a chunk holds at most, if it holds more than one response
MAX_INLINE = 25_000_000  # bytes of base64 that the page itself holds at most
_LEVEL = 6  # of gzip
_TYPES = {"f64": "<f8", "i32": "<i4", "u8": "<u1"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_BEFORE, _BETWEEN, _AFTER = 'distraceChunk("', '","', '");\n'

Arrays = Mapping[str, NDArray[Any]]


def encoded(values: Any = None, arrays: Arrays | None = None) -> str:
    """Return a chunk of JSON `values` and of `arrays` (float64, int32 or uint8), as it stands in the page.

    Raises ValueError if a number of `values` is not finite.
    """
    arrays = arrays or {}
    about = [{"name": name, "type": _NAMES[array.dtype], "length": len(array)} for name, array in arrays.items()]
    header = json.dumps({"values": values, "arrays": about}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    head = header.encode()
    pieces = [len(head).to_bytes(4, "little"), head, _padding(4 + len(head))]
    for array in arrays.values():
        pieces += [array.astype(_TYPES[_NAMES[array.dtype]], copy=False).tobytes(), _padding(array.nbytes)]
    return base64.b64encode(gzip.compress(b"".join(pieces), _LEVEL, mtime=0)).decode("ascii")


def _padding(length: int) -> bytes:
    return bytes(-length % 8)


@dataclass
class Chunks:
    """The chunks written so far: scripts in `folder`, and the `size` in bytes of each one's base64 by name."""

    folder: Path
    size: dict[str, int] = field(default_factory=dict)

    def write(self, name: str, values: Any = None, arrays: Arrays | None = None) -> None:
        """Write a chunk as a script that hands it to the page; raise DistraceError if there is one of this name."""
        if name in self.size:
            raise DistraceError(f"two chunks are named {name!r}; this is a fault of distrace, please report it")
        text = encoded(values, arrays)
        script = f"{_BEFORE}{name}{_BETWEEN}{text}{_AFTER}"
        (self.folder / f"{name}.js").write_text(script, encoding="ascii", newline="")
        self.size[name] = len(text)

    def read(self, name: str) -> str:
        """Return a chunk's base64."""
        script = (self.folder / f"{name}.js").read_text(encoding="ascii")
        return script.removeprefix(f"{_BEFORE}{name}{_BETWEEN}").removesuffix(_AFTER)

    @property
    def total(self) -> int:
        """The bytes of base64 of all chunks."""
        return sum(self.size.values())


def cut_bounds(characters: Iterable[int], most: int = CHARACTERS) -> list[int]:
    """Return where chunks begin and the last one ends, from the characters of each response.

    A chunk holds at least one response, and of several at most so many characters as `most`.

    >>> cut_bounds([3, 3, 9, 1, 1], most=6)
    [0, 2, 3, 5]
    """
    bounds, held, row = [0], 0, -1
    for row, count in enumerate(characters):
        if held + count > most and row > bounds[-1]:
            bounds.append(row)
            held = 0
        held += count
    return [*bounds, row + 1] if row >= 0 else bounds


def by_chunk(frames: Iterable[pl.DataFrame], bounds: list[int]) -> Iterator[pl.DataFrame]:
    """Yield the rows of each chunk, from frames that hold all rows in order; few frames are in memory at a time.

    Raises DistraceError if the frames have more or fewer rows than the bounds say.
    """
    waiting: list[pl.DataFrame] = []
    row, sizes = 0, [after - first for first, after in pairwise(bounds)]
    for frame in frames:
        row += len(frame)
        while sizes and (held := sum(map(len, waiting))) + len(frame) >= sizes[0]:
            wanted = sizes.pop(0) - held
            yield pl.concat([*waiting, frame.head(wanted)])
            waiting, frame = [], frame.slice(wanted)
        if len(frame):
            waiting.append(frame)
    if waiting or sizes:
        raise DistraceError(f"{row} rows for chunks of {bounds[-1]}; this is a fault of distrace, please report it")


def listed(table: pl.DataFrame) -> dict[str, list[Any]]:
    """Return the columns of a frame as lists, as JSON holds them: of a number that is not finite, null."""
    reals = [name for name, dtype in table.schema.items() if dtype.is_float()]
    finite = [pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in reals]
    return table.with_columns(finite).to_dict(as_series=False)


def flat(responses: pl.DataFrame, columns: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Return list columns of responses, joined, as arrays of the types named, and in `counts` each list's length.

    All these columns of a response are of one length; null counts as empty.
    """
    first = next(iter(columns))
    counts = responses[first].list.len().fill_null(0).cast(pl.Int32)
    full = responses.filter(pl.col(first).list.len() > 0).select(columns.keys())
    found = {name: full[name].explode().to_numpy().astype(_TYPES[kind]) for name, kind in columns.items()}
    return {"counts": counts.to_numpy(), **found}
