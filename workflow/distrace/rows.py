"""Rows of the user's data: read from common file formats, and turned into text by a column, a path or a template.

Files are read piece by piece, in bounded memory, except JSON arrays. A piece of JSON Lines is bytes that nobody has
parsed yet, so that several threads can; of other files it is a list of rows.
"""

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.paths import one_of, path_reader
from distrace.rejects import Reject

Row = Mapping[str, Any]
Piece = bytes | list[Row | BadRow]

ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 24 * 2**20
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
_KNOWN = (*_LINES, ".json", *_SEPARATORS, ".parquet", ".arrow")


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a file in order; a BadRow in place of a row that is not a JSON object.

    Raises DistraceError if the file is missing, of an unknown type, or cannot be read.
    """
    for piece in read_pieces(path):
        yield from (row for _, row in numbered_rows(piece))


def read_pieces(path: Path) -> Iterator[Piece]:
    """Yield a file piece by piece: whole lines of JSON Lines, as bytes, or some rows of any other file.

    Raises DistraceError like `read_rows`.
    """
    if not path.is_file():
        raise DistraceError(f"{path}: no such file (paths in the config start at the folder the workflow runs in)")
    kind, compression = kind_of(path)
    if kind not in _KNOWN or (compression and kind in (".parquet", ".arrow")):
        unpacked = [known for known in _KNOWN if known not in (".parquet", ".arrow")]
        raise DistraceError(
            f"{path}: cannot read {''.join(path.suffixes[-2:])!r}; known: {', '.join(_KNOWN)}, "
            f"and {', '.join(unpacked)} with .gz or .zst behind"
        )
    try:
        if kind in _LINES:
            yield from _line_pieces(path, compression)
        else:
            rows = _OTHERS[kind](path)
            while some := list(islice(rows, ROWS_AT_ONCE)):
                yield some
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        raise DistraceError(f"{path}: cannot be read: {error}") from error


def kind_of(path: Path) -> tuple[str, str | None]:
    """Return the suffix that says what a file holds, and how the file is compressed."""
    compression = _COMPRESSIONS.get(path.suffix)
    return (path.with_suffix("") if compression else path).suffix, compression


def numbered_rows(piece: Piece) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield the rows of a piece, each with its line in the piece, from 1 and counting blank ones; 0 without lines."""
    if not isinstance(piece, bytes):
        yield from ((0, row) for row in piece)
        return
    for number, line in enumerate(piece.split(b"\n"), start=1):
        if line.strip():
            yield number, _parsed(line)


def text_columns(piece: bytes, columns: list[str]) -> pa.Table | None:
    """Return columns of some JSON Lines, parsed outside of Python's lock, if each line is an object with text in all.

    None if it is not so, or cannot be said for certain: then `numbered_rows` says what the lines hold.
    """
    lines = _lines_in_braces(piece)
    if len(piece) >= 2**30 or not lines or not _is_utf8(piece):
        return None
    schema = pa.schema([(column, pa.string()) for column in columns])
    try:
        table = pj.read_json(
            pa.BufferReader(piece),
            pj.ReadOptions(use_threads=False, block_size=len(piece)),
            pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    # Objects end and begin at the ends of lines: as many as lines are one in each.
    if table.num_rows != lines or any(column.null_count for column in table.columns):
        return None
    return table.select(columns).combine_chunks()


def _lines_in_braces(piece: bytes) -> int:
    """Return how many lines there are if each begins and ends with a brace: no object goes on in the next; else 0."""
    content = np.frombuffer(piece, np.uint8)
    breaks = np.flatnonzero(content == ord("\n"))
    begins, ends = content[np.append(0, breaks[:-1] + 1)], content[breaks - 1]
    return len(breaks) if np.all(begins == ord("{")) and np.all(ends == ord("}")) else 0


def _is_utf8(piece: bytes) -> bool:
    places = pa.py_buffer(np.array([0, len(piece)], np.int64))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, places, pa.py_buffer(piece)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def raw_rows(path: Path) -> Iterator[bytes]:
    """Yield the rows of a file in order, as bytes that change if the row does; JSON Lines are not parsed for it.

    Raises DistraceError like `read_rows`.
    """
    for piece in read_pieces(path):
        if isinstance(piece, bytes):
            yield from (line.strip() for line in piece.split(b"\n") if line.strip())
        else:
            yield from (repr(row).encode() for row in piece)


def with_lines(rejects: list[Reject], path: Path) -> list[Reject]:
    """Return the rejects of a file; of JSON Lines, the reasons name the line, from 1, as editors count them."""
    if not rejects or kind_of(path)[0] not in _LINES:
        return rejects
    last = max(reject.row for reject in rejects)
    every = chain.from_iterable(piece.split(b"\n")[:-1] for piece in _line_pieces(path, kind_of(path)[1]))
    filled = (number for number, line in enumerate(every, start=1) if line.strip())
    lines = list(islice(filled, last + 1))
    return [dataclasses.replace(one, reason=f"line {lines[one.row]}: {one.reason}") for one in rejects]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def text_reader(column: str) -> Callable[[Row], str]:
    """Return a function from a row to its text: a column, a path (`paths.py`), or a Jinja template with "{{" or "{%".

    A template knows columns by their names and, whatever these are, as `row["NAME"]`; `shuffled(TEXT)` is a filter that
    puts a list into an order drawn by the text: the same on every machine, another one for another text.

    The function raises BadRow if the column is missing, empty, null or a list, or if the template fails. Raises
    DistraceError if the template cannot be read.
    """
    if "{{" not in column and "{%" not in column:
        follow = path_reader(column)
        return lambda row: _text(row, column, follow)
    try:
        template = _TEMPLATES.from_string(column)
    except TemplateError as error:
        raise DistraceError(f"the template {column!r} cannot be read: {error}") from error

    def render(row: Row) -> str:
        try:
            text = template.render({"row": row, **row})
        except (BadRow, TemplateError, TypeError, AttributeError, ValueError, LookupError, ArithmeticError) as error:
            raise BadRow(f"{column!r}: {error}") from error
        return _not_empty(text, column)

    return render


def refuse_surrogates(text: str, column: str) -> None:
    """Raise BadRow if the text holds a lone surrogate: JSON's escapes allow it, but UTF-8 does not."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(f"{column!r} holds a lone surrogate at character {error.start}") from error


def _parsed(line: bytes) -> Row | BadRow:
    try:
        return _object(json.loads(line))
    except ValueError as error:
        return BadRow(f"not JSON: {error}")
    except RecursionError:
        return BadRow("JSON nested too deeply to be read")


def _object(value: object) -> Row | BadRow:
    return value if isinstance(value, dict) else BadRow(f"not a JSON object: {str(value)[:40]!r}")


def _line_pieces(path: Path, compression: str | None) -> Iterator[bytes]:
    """Yield whole lines, some BYTES_AT_ONCE of them; each piece ends in a line break."""
    plain = compression is None
    with path.open("rb") if plain else io.BufferedReader(pa.input_stream(str(path), compression=compression)) as source:
        while piece := source.read(BYTES_AT_ONCE):
            if not piece.endswith(b"\n"):
                piece += source.readline()
            yield piece if piece.endswith(b"\n") else piece + b"\n"


def _json_rows(path: Path) -> Iterator[Row | BadRow]:
    with pa.input_stream(str(path), compression=kind_of(path)[1]) as source:
        content = source.read()
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DistraceError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        raise DistraceError(f"{path}: not a JSON array of objects; name it .jsonl if each line holds an object")
    yield from map(_object, values)


def _csv_rows(path: Path) -> Iterator[Row]:
    # Columns stay text: 007 is not the number 7.
    table = pl.scan_csv(path, separator=_SEPARATORS[kind_of(path)[0]], infer_schema=False)
    for batch in table.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
        yield from batch.iter_rows(named=True)


def _parquet_rows(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(ROWS_AT_ONCE):
            yield from _frame(batch).iter_rows(named=True)


def _arrow_rows(path: Path) -> Iterator[Row]:
    with pa.memory_map(str(path)) as source:
        try:
            opened = pa.ipc.open_file(source)
            batches: Iterable[pa.RecordBatch] = map(opened.get_batch, range(opened.num_record_batches))
        except pa.ArrowInvalid:
            batches = pa.ipc.open_stream(source)  # as `datasets` writes them
        for batch in batches:
            batch.validate(full=True)  # a damaged file may point beyond its end, where nothing can be read
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                yield from _frame(batch.slice(start, ROWS_AT_ONCE)).iter_rows(named=True)


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(batch))


_OTHERS: dict[str, Callable[[Path], Iterator[Row | BadRow]]] = {
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}


def _not_null(value: object) -> object:
    if value is None:
        raise BadRow("a value is null")
    return value


def _shuffled(items: Iterable[object], by: str) -> list[object]:
    return sorted(items, key=lambda item: short_id("order", by, str(item)))


_TEMPLATES = SandboxedEnvironment(undefined=StrictUndefined, finalize=_not_null, keep_trailing_newline=True)
_TEMPLATES.filters["shuffled"] = _shuffled


def _text(row: Row, column: str, follow: Callable[[Row], Any]) -> str:
    if column not in row and column.isidentifier():
        raise BadRow(f"no column {column!r}; the row has {sorted(row)}")
    value = one_of(follow(row), column)
    if value is None:
        raise BadRow(f"column {column!r} is null")
    if isinstance(value, list | dict | bytes):
        raise BadRow(f"column {column!r} holds a {type(value).__name__}, not text; a template can make text of it")
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise BadRow(f"column {column!r} holds {value!r}, not text; a template can make text of it")
    return _not_empty(str(value), column)


def _not_empty(text: str, column: str) -> str:
    if not text.strip():
        raise BadRow(f"{column!r} is empty")
    refuse_surrogates(text, column)
    return text
