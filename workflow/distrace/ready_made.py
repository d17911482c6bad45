"""Ready-made responses: where they come from, which columns hold what, and what a row says.

A row of a published data set, of a batch of requests or of an evaluation holds one response or a list of them. Columns
are named by paths (`paths.py`). What belongs to a row but lies in another file (log-probs, the requests of a batch) is
joined by an id; the other file waits in a database on disk, so it may be larger than memory.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from distrace.errors import BadRow, DistraceError
from distrace.paths import leads_to_list, one_of, path_reader
from distrace.rejects import Reject
from distrace.rows import (
    ROWS_AT_ONCE,
    Piece,
    Row,
    file_digest,
    numbered_rows,
    read_pieces,
    refuse_surrogates,
    text_reader,
)
from distrace.text.prompts import cut_reasoning

JOINED = "joined"


@dataclass(frozen=True)
class Responses:
    """The file or hub data set, and paths to what is read of a row; `config.schema.yaml` describes each field."""

    file: str | None = None
    hub: str | None = None
    revision: str | None = None
    subset: str | None = None
    split: str = "train"
    question: str = "question"
    response: str = "response"
    reasoning: str | None = None
    format: str | None = None
    token_ids: str | None = None
    logprobs: str | None = None
    glue_in_tokens: bool = True
    correct: str | None = None
    id: str | None = None
    once: str | None = None
    join: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The source, as messages call it."""
        return self.file or str(self.hub)


class Response(NamedTuple):
    """A response: its text, where its answer starts, its tokens with their log-probs, and what else the row says of it.

    `source_id` and `source_correct` are the id and the verdict that came with it.
    """

    text: str
    answer_start: int
    token_ids: list[int] | None = None
    logprobs: list[float | None] | None = None
    source_id: str | None = None
    source_correct: bool | None = None


def source_pieces(settings: Responses) -> Iterator[Piece]:
    """Yield the rows of the source piece by piece; raise DistraceError if it cannot be read."""
    return _pieces(asdict(settings))


def source_identity(settings: Responses) -> dict[str, Any]:
    """Return what the responses depend on, the content of files in place of their names; they are read for it."""
    values = asdict(settings)
    if settings.join:
        values["join"] = settings.join | {"file": _content(settings.join)}
    return values | {"file": _content(values)}


def response_reader(settings: Responses) -> Callable[[Row], list[Response]]:
    """Return a function from a row to the responses in it; it raises BadRow if one of them cannot be used."""
    readers = {
        name: path_reader(path)
        for name in ("response", "reasoning", "token_ids", "logprobs", "correct", "id")
        if (path := getattr(settings, name))
    }
    return lambda row: _responses(settings, {name: reader(row) for name, reader in readers.items()})


def first_only(path: str) -> Callable[[Row], None]:
    """Return a function that raises BadRow for a row if an earlier one had the same value at the path."""
    read, seen = path_reader(path), set[str]()

    def check(row: Row) -> None:
        value = str(read(row))
        if value in seen:
            raise BadRow(f"{path!r} is {value[:40]!r}, as in an earlier row")
        seen.add(value)

    return check


def joined(join: dict[str, Any], database: Path) -> tuple[Callable[[Row], Row], list[Reject]]:
    """Return a function that adds to a row, as column `joined`, the row of another source with its id; and rejects.

    The function raises BadRow if there is none. The rejects are rows of the other source that cannot be read, or whose
    id an earlier one has. `database` is the path of a file to keep the rows in.
    """
    rows = sqlite3.connect(database, check_same_thread=False)
    rows.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, row TEXT) WITHOUT ROWID")
    id_of = _id_reader(join["other_id"] or join["id"])
    rejects = []
    for number, row in enumerate(row for piece in _pieces(join) for _, row in numbered_rows(piece)):
        try:
            rows.execute("INSERT INTO rows VALUES (?, ?)", (id_of(row), json.dumps(row, default=str)))
        except (BadRow, sqlite3.IntegrityError) as error:
            reason = str(error) if isinstance(error, BadRow) else f"an earlier row has the id {id_of(row)!r}, too"
            rejects.append(Reject(_name(join), number, reason))
    rows.commit()
    own_id = _id_reader(join["id"])

    def add(row: Row) -> Row:
        wanted = own_id(row)
        found = rows.execute("SELECT row FROM rows WHERE id = ?", (wanted,)).fetchone()
        if found is None:
            raise BadRow(f"no row of {_name(join)} has the id {wanted!r}")
        return {**row, JOINED: json.loads(found[0])}

    return add, rejects


def _id_reader(path: str) -> Callable[[Row | BadRow], str]:
    text_of = text_reader(path)

    def read(row: Row | BadRow) -> str:
        if isinstance(row, BadRow):
            raise row
        return text_of(row)

    return read


def _name(source: dict[str, Any]) -> str:
    return str(source.get("file") or source.get("hub"))


def _content(source: dict[str, Any]) -> str | None:
    return file_digest(Path(source["file"])) if source.get("file") else None


def _pieces(source: dict[str, Any]) -> Iterator[Piece]:
    if source.get("file"):
        yield from read_pieces(Path(source["file"]))
        return
    rows: Iterator[Row | BadRow] = iter(_streamed(source))
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield some


def _streamed(source: dict[str, Any]) -> Iterable[Row]:
    from datasets import load_dataset  # takes seconds, and only hub data needs it

    try:
        rows: Iterable[Row] = load_dataset(
            source["hub"], source.get("subset"), split=source["split"], revision=source["revision"], streaming=True
        )
        yield from rows
    except (OSError, ValueError, RuntimeError) as error:
        raise DistraceError(f"{source['hub']}: cannot be read: {error}") from error


def _responses(settings: Responses, found: dict[str, Any]) -> list[Response]:
    """Return the responses in what the paths of a row lead to."""
    # A response that was cut off while it reasoned has none.
    texts = _texts(found["response"], settings.response, null="" if settings.reasoning else None)
    count, is_list = len(texts), isinstance(found["response"], list)
    parts = _with_reasoning(settings, texts, found)
    if not all(text.strip() for text, _ in parts):
        raise BadRow(f"column {settings.response!r} holds an empty response")
    tokens = _numbers(found, settings.token_ids, "token_ids", count, is_list)
    logprobs = _numbers(found, settings.logprobs, "logprobs", count, is_list)
    for ids, values in zip(tokens, logprobs, strict=True):
        _check_tokens(settings, ids, values)
    verdicts = _verdicts(found.get("correct"), settings.correct, count)
    ids = _ids(found.get("id"), settings.id, count)
    return [
        Response(text, start, *rest)
        for (text, start), *rest in zip(parts, tokens, logprobs, ids, verdicts, strict=True)
    ]


def _with_reasoning(settings: Responses, texts: list[str], found: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the text of each response, reasoning first, and where its answer starts."""
    if settings.format:
        return [cut_reasoning(settings.format, text) for text in texts]
    if not settings.reasoning:
        return [(text, 0) for text in texts]
    reasonings = _texts(found["reasoning"], settings.reasoning, null="")
    if len(reasonings) != len(texts):
        raise BadRow(f"{len(texts)} responses but {len(reasonings)} reasonings")
    return [(reasoning + text, len(reasoning)) for reasoning, text in zip(reasonings, texts, strict=True)]


def _texts(value: Any, path: str, null: str | None = None) -> list[str]:
    texts = [null if text is None else text for text in (value if isinstance(value, list) else [value])]
    for text in texts:
        if not isinstance(text, str):
            raise BadRow(f"column {path!r} holds no text but {str(text)[:40]!r}")
        refuse_surrogates(text, path)
    return list(map(str, texts))


def _numbers(found: dict[str, Any], path: str | None, name: str, count: int, is_list: bool) -> list[Any]:
    """Return the list of numbers that a path leads to for each response; without a path, None for each."""
    if path is None:
        return [None] * count
    lists = found[name] if is_list else [found[name]]
    if not isinstance(lists, list) or len(lists) != count or not all(map(_is_numbers, lists)):
        raise BadRow(f"column {path!r} holds no list of numbers for each response but {str(found[name])[:40]!r}")
    return lists


def _is_numbers(value: object) -> bool:
    # An integer beyond 64 bits is no number that Arrow knows.
    return isinstance(value, list) and all(
        type(number) is float or (type(number) is int and abs(number) < 2**63) for number in value
    )


def _check_tokens(settings: Responses, ids: list[int] | None, values: list[float] | None) -> None:
    if ids is not None and not all(type(i) is int and 0 <= i < 2**31 for i in ids):
        raise BadRow(f"column {settings.token_ids!r} holds no token ids but {str(ids)[:40]!r}")
    if ids is not None and values is not None and len(values) != len(ids):
        raise BadRow(f"{len(ids)} tokens but {len(values)} log-probs")


def _verdicts(value: Any, path: str | None, count: int) -> list[bool | None]:
    """Return for each response whether it is right, as the row says: true, false, 1, 0 or null."""
    values = _for_each(value, path, count)
    for verdict in values:
        if not (verdict is None or verdict in (0, 1)):
            raise BadRow(f"column {path!r} holds no verdict (true, false, 1, 0 or null) but {str(verdict)[:40]!r}")
    return [None if verdict is None else bool(verdict) for verdict in values]


def _ids(value: Any, path: str | None, count: int) -> list[str | None]:
    if path and not isinstance(value, list) and not leads_to_list(path):
        value = [value] * count  # of the row
    return [None if one is None else str(one) for one in _for_each(value, path, count)]


def _for_each(value: Any, path: str | None, count: int) -> list[Any]:
    """Return a value for each response: the list itself, or one value if there is one response."""
    if path is None:
        return [None] * count
    values = value if isinstance(value, list) else [one_of(value, path)]
    if len(values) != count:
        raise BadRow(f"{count} responses but {len(values)} values in column {path!r}")
    return values
