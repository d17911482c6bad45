"""Rows of the user's data: read from any common file, and turned into text by a column's name or a template."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from distrace.errors import DistraceError

_TEMPLATES = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

_READERS = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".arrow": pl.read_ipc, ".json": pl.read_json}


class BadRow(ValueError):
    """A row that cannot be used, with the reason."""


def read_rows(path: Path) -> Iterator[Mapping | BadRow]:
    """Give the rows of a file in order; a line that is not a JSON object comes as the BadRow that says so."""
    if not path.is_file():
        raise DistraceError(f"{path}: no such file (paths in the config start at the folder the workflow runs in)")
    if path.suffix == ".jsonl":
        yield from map(_parsed, filter(None, path.read_text("utf-8").split("\n")))
        return
    if path.suffix not in _READERS:
        raise DistraceError(f"{path}: cannot read {path.suffix!r}; known: .jsonl, {', '.join(sorted(_READERS))}")
    yield from _READERS[path.suffix](path).iter_rows(named=True)


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def text_reader(column: str) -> Callable[[Mapping], str]:
    """Give a function that reads a row's text: a column, or a Jinja template when `column` holds "{{" or "{%".

    The function raises BadRow when the column is missing, empty or null, or the template fails.
    """
    if "{{" not in column and "{%" not in column:
        return lambda row: _text(row, column)
    try:
        template = _TEMPLATES.from_string(column)
    except TemplateError as error:
        raise DistraceError(f"the template {column!r} cannot be read: {error}") from error

    def render(row: Mapping) -> str:
        try:
            return _not_empty(template.render(row), column)
        except (TemplateError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise BadRow(f"{column!r}: {error}") from error

    return render


def _parsed(line: str) -> Mapping | BadRow:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return BadRow(f"not JSON: {error}")
    return row if isinstance(row, dict) else BadRow(f"not a JSON object: {line[:40]!r}")


def _text(row: Mapping, column: str) -> str:
    if column not in row:
        raise BadRow(f"no column {column!r}; the row has {sorted(row)}")
    if row[column] is None:
        raise BadRow(f"column {column!r} is null")
    return _not_empty(str(row[column]), column)


def _not_empty(text: str, column: str) -> str:
    if not text.strip():
        raise BadRow(f"{column!r} is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(f"{column!r} holds a lone surrogate at character {error.start}") from error
    return text
