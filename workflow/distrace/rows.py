"""Rows of the user's data: read from common file formats, and turned into text by a column's name or a template."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.rejects import Reject

Row = Mapping[str, Any]

# Columns of a CSV file stay text: 007 is not the number 7.
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": partial(pl.read_csv, infer_schema=False),
    ".parquet": pl.read_parquet,
    ".arrow": pl.read_ipc,
}


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a file in order; a BadRow in place of a row that is not a JSON object.

    Raises DistraceError if the file is missing, of an unknown type, or cannot be read at all.
    """
    if not path.is_file():
        raise DistraceError(f"{path}: no such file (paths in the config start at the folder the workflow runs in)")
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            yield from (_parsed(line) for line in lines if line.strip())
    elif path.suffix == ".json":
        yield from map(_object, _array(path))
    elif path.suffix in _READERS:
        yield from _frame(path).iter_rows(named=True)
    else:
        raise DistraceError(f"{path}: cannot read {path.suffix!r}; known: .jsonl, .json, {', '.join(_READERS)}")


def raw_rows(path: Path) -> Iterator[bytes]:
    """Yield the rows of a file in order, as bytes that change if the row does; JSON Lines are not parsed for it.

    Raises DistraceError like `read_rows`.
    """
    if path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as lines:
            yield from (line.strip() for line in lines if line.strip())
        return
    for row in read_rows(path):
        yield repr(row).encode()


def with_lines(rejects: list[Reject], path: Path) -> list[Reject]:
    """Return the rejects of a file; of JSON Lines, the reasons name the line, from 1, as editors count them."""
    if path.suffix != ".jsonl" or not rejects:
        return rejects
    last = max(reject.row for reject in rejects)
    with path.open("rb") as source:
        filled = (number for number, line in enumerate(source, start=1) if line.strip())
        lines = list(islice(filled, last + 1))
    return [dataclasses.replace(one, reason=f"line {lines[one.row]}: {one.reason}") for one in rejects]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def text_reader(column: str) -> Callable[[Row], str]:
    """Return a function from a row to its text: a column, or a Jinja template if `column` holds "{{" or "{%".

    A template knows columns by their names and, whatever these are, as `row["NAME"]`; `shuffled(TEXT)` is a filter that
    puts a list into an order drawn by the text: the same on every machine, another one for another text.

    The function raises BadRow if the column is missing, empty, null or a list, or if the template fails. Raises
    DistraceError if the template cannot be read.
    """
    if "{{" not in column and "{%" not in column:
        return lambda row: _text(row, column)
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


def _array(path: Path) -> list[Any]:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DistraceError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        raise DistraceError(f"{path}: not a JSON array of objects; name it .jsonl if each line holds an object")
    return values


def _frame(path: Path) -> pl.DataFrame:
    try:
        return _READERS[path.suffix](path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:  # a panic is one of Rust
        raise DistraceError(f"{path}: cannot be read: {error}") from error


def _not_null(value: object) -> object:
    if value is None:
        raise BadRow("a value is null")
    return value


def _shuffled(items: Iterable[object], by: str) -> list[object]:
    return sorted(items, key=lambda item: short_id("order", by, str(item)))


_TEMPLATES = SandboxedEnvironment(undefined=StrictUndefined, finalize=_not_null, keep_trailing_newline=True)
_TEMPLATES.filters["shuffled"] = _shuffled


def _text(row: Row, column: str) -> str:
    if column not in row:
        raise BadRow(f"no column {column!r}; the row has {sorted(row)}")
    value = row[column]
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
