"""Rows on their way to their parts: on disk, in one file, whatever the number of parts.

A source is read once, in its own order, and a part is written once, so rows wait in between. They are kept as Arrow
batches, one behind the other; where those of each part lie is in memory. The order of the rows stays.

    with Spool(path, schema) as spool:
        for table, parts in batches:
            spool.append(pieces_of(table, parts))
        for part in range(count):
            spool.take(part)
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

Pieces = list[tuple[int, pa.Buffer]]  # parts, and rows that go to them


class Spool:
    """A file of rows that wait for their part; `append` from one thread, `take` from any number of them."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("w+b")
        self._schema = schema
        self._places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def append(self, pieces: Pieces) -> None:
        """Append rows to what waits for their parts."""
        for part, rows in pieces:
            self._places[part].append((self._file.tell(), rows.size))
            self._file.write(rows)

    def take(self, part: int) -> pa.Table:
        """Return all rows that wait for a part, in the order in which they came, as one batch."""
        self._file.flush()
        found = [os.pread(self._file.fileno(), size, place) for place, size in self._places[part]]
        batches = [pa.ipc.read_record_batch(pa.py_buffer(rows), self._schema) for rows in found]
        return pa.Table.from_batches(batches, self._schema).combine_chunks()


def pieces_of(table: pa.Table, parts: ArrayLike) -> Pieces:
    """Return the rows of a table by the part that each goes to, ready to be appended to a spool; -1 is no part."""
    goes_to = np.asarray(parts, np.int64)
    order = np.argsort(goes_to, kind="stable")[np.count_nonzero(goes_to < 0) :]
    if not len(order):
        return []
    table = table.take(pa.array(order)).combine_chunks()
    found, starts = np.unique(goes_to[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    return [
        (part, table.slice(start, end - start).to_batches()[0].serialize())
        for part, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True)
    ]
