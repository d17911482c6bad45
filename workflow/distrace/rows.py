"""Rows of the user's data: read from any common file, and turned into text by a column's name or a template."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from distrace.errors import DistraceError

# Columns of a CSV file stay the text that they are: 007 is no 7.
_READERS = {".csv": partial(pl.read_csv, infer_schema=False), ".parquet": pl.read_parquet, ".arrow": pl.read_ipc}


class BadRow(ValueError):
    """A row that cannot be used, with the reason."""


def read_rows(path: Path) -> Iterator[Mapping | BadRow]:
    """Give the rows of a file in order; what is not a JSON object comes as the BadRow that says so.

    Raises DistraceError when the file is missing, of an unknown kind, or cannot be read at all.
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


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def text_reader(column: str) -> Callable[[Mapping], str]:
    """Give a function that reads a row's text: a column, or a Jinja template when `column` holds "{{" or "{%".

    The function raises BadRow when the column is missing, empty, null or a list, or the template fails.
    """
    if "{{" not in column and "{%" not in column:
        return lambda row: _text(row, column)
    try:
        template = _TEMPLATES.from_string(column)
    except TemplateError as error:
        raise DistraceError(f"the template {column!r} cannot be read: {error}") from error

    def render(row: Mapping) -> str:
        try:
            text = template.render(row)
        except (TemplateError, TypeError, AttributeError, ValueError, LookupError, ArithmeticError) as error:
            raise BadRow(f"{column!r}: {error}") from error
        return _not_empty(text, column)

    return render


def refuse_surrogates(text: str, column: str) -> None:
    """Raise BadRow if the text cannot be written as UTF-8, which JSON's escapes allow."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(f"{column!r} holds a lone surrogate at character {error.start}") from error


def _parsed(line: bytes) -> Mapping | BadRow:
    try:
        return _object(json.loads(line))
    except ValueError as error:
        return BadRow(f"not JSON: {error}")


def _object(value: object) -> Mapping | BadRow:
    return value if isinstance(value, dict) else BadRow(f"not a JSON object: {str(value)[:40]!r}")


def _array(path: Path) -> list:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise DistraceError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        raise DistraceError(f"{path}: not a JSON array of objects; name it .jsonl if each line holds an object")
    return values


def _frame(path: Path) -> pl.DataFrame:
    try:
        return _READERS[path.suffix](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DistraceError(f"{path}: cannot be read: {error}") from error


def _not_null(value: object) -> object:
    if value is None:
        raise BadRow("a value is null")
    return value


_TEMPLATES = SandboxedEnvironment(undefined=StrictUndefined, finalize=_not_null, keep_trailing_newline=True)


def _text(row: Mapping, column: str) -> str:
    if column not in row:
        raise BadRow(f"no column {column!r}; the row has {sorted(row)}")
    value = row[column]
    if value is None:
        raise BadRow(f"column {column!r} is null")
    if isinstance(value, list | dict | bytes):
        raise BadRow(f"column {column!r} holds a {type(value).__name__}, not text; a template can make text of it")
    return _not_empty(str(value), column)


def _not_empty(text: str, column: str) -> str:
    if not text.strip():
        raise BadRow(f"{column!r} is empty")
    refuse_surrogates(text, column)
    return text
