"""The characters that each token carries, stored in little room: gaps and lengths in place of starts and ends.

In memory, `starts` and `ends` of log-probs count characters from the beginning of a text. Ascending numbers compress
badly, the differences between them well: a file holds `gaps`, from the end of the token before (0 for the first) to the
start of each, and `lengths`. Artifacts are written and read through this module, so that no node sees the stored form.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from distrace.errors import DistraceError

_STORED_AS = {"starts": "gaps", "ends": "lengths"}
_READ_AS = {stored: name for name, stored in _STORED_AS.items()}
_SMALL = 2**14  # numbers below it fit into 16 bits, and so do sums of two


def packed(table: pa.Table) -> pa.Table:
    """Return a table with gaps and lengths in place of starts and ends, or the table itself if it has none.

    Raises DistraceError if starts and ends do not pair up, or one is null.
    """
    if not _STORED_AS.keys() <= set(table.column_names):
        return table
    starts, ends = (table[name].combine_chunks() for name in _STORED_AS)
    counts = np.diff(starts.offsets.to_numpy())
    if not np.array_equal(counts, np.diff(ends.offsets.to_numpy())):
        raise DistraceError("the columns 'starts' and 'ends' of a response are of different lengths")
    if any(column.null_count or column.flatten().null_count for column in (starts, ends)):
        raise DistraceError("a value of the columns 'starts' and 'ends' is null")
    first, after = (column.flatten().to_numpy() for column in (starts, ends))
    offsets = np.append(0, np.cumsum(counts))
    before = np.append(np.int32(0), after)[:-1]
    before[offsets[:-1][counts > 0]] = 0
    columns = {"starts": first - before, "ends": after - first}
    small = all(np.abs(values).max(initial=0) < _SMALL for values in columns.values())
    for name, values in columns.items():
        lists = _lists(offsets, values.astype(np.int16 if small else np.int32))
        table = table.set_column(table.column_names.index(name), _STORED_AS[name], lists)
    return table


def read_frame(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return the named columns of an Arrow file, or all; with starts and ends, also where they are stored packed."""
    names = list(columns) or None
    are_packed = _READ_AS.keys() <= pl.read_ipc_schema(path).keys()
    if not are_packed or (names and _STORED_AS.keys().isdisjoint(names)):
        return pl.read_ipc(path, columns=names)
    stored = names and [*(name for name in names if name not in _STORED_AS), *_READ_AS]
    frame = _unpacked(pl.read_ipc(path, columns=stored))
    return frame.select(names) if names else frame


def _unpacked(frame: pl.DataFrame) -> pl.DataFrame:
    gaps, lengths = (frame[name].rechunk().to_arrow() for name in _READ_AS)
    offsets, long = gaps.offsets.to_numpy(), lengths.values.to_numpy()
    # Sums over all texts may leave 32 bits and wrap round; what is left within a text is right all the same.
    ends = np.cumsum(gaps.values.to_numpy() + long, dtype=np.int32)
    before = np.append(ends, np.int32(0))[offsets[:-1] - 1]
    ends -= np.repeat(before, np.diff(offsets))
    columns = {"gaps": ends - long, "lengths": ends}
    found = [pl.Series(name, pl.from_arrow(_lists(offsets, values))) for name, values in columns.items()]
    return frame.with_columns(found).rename(_READ_AS)


def _lists(offsets: NDArray[np.int64], values: NDArray[np.signedinteger]) -> pa.LargeListArray:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))
