"""The imported rollouts node: ready-made responses of an author, from a file or the hub, in the parts of the questions.

The source is read once, in bounded memory: responses wait for their part in a file beside it (`spool.py`). JSON Lines
of which text columns alone are read are parsed outside of Python, several pieces at once; the rows are the same.

The source may also hold the tokens that the author sampled, and their log-probs. Then imported responses are used like
those that the workflow samples itself, as written in the author's prompt format and settings in the config.
Run by the workflow as `python -m distrace.nodes.imported_rollouts --author NAME --questions PARTS --settings JSON
--out PARTS`, with `--model FILE --model-settings JSON` of the author where tokens are imported.
"""

import hashlib
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from distrace import command, kinds
from distrace.artifacts import Artifact, write_with_rejects
from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.models import load_tokenizer, read_card
from distrace.parts import Parts, open_parts, write_list
from distrace.ready_made import (
    Response,
    Responses,
    first_only,
    joined,
    response_reader,
    source_identity,
    source_pieces,
)
from distrace.rejects import Reject
from distrace.rows import Piece, Row, numbered_rows, text_columns, text_reader
from distrace.settings import ModelSettings
from distrace.spool import Pieces, Spool, pieces_of
from distrace.text.own_tokens import with_own_tokens
from distrace.text.prompts import load_format
from distrace.versions import NODE_VERSIONS

Item = TypeVar("Item")
Done = TypeVar("Done")

log = logging.getLogger(__name__)

NOT_ASKED = "its question is not in the set"
COMPRESSION_LEVEL = 3  # of zstd: a third of the time of the usual level, and a sixth more room
_ALWAYS = {"question_id": pa.large_string(), "text": pa.large_string(), "answer_start": pa.int32()}
_ASKED_FOR = {  # if a column of `Responses` says where they are
    "token_ids": ("token_ids", pa.large_list(pa.int32())),
    "logprobs": ("logprobs", pa.large_list(pa.float32())),
    "id": ("source_id", pa.large_string()),
    "correct": ("source_correct", pa.bool_()),
}
# What Python's `strip` leaves, for Arrow's expressions: any character that is no white space.
_NOT_BLANK = "[^" + "".join(rf"\x{{{code:x}}}" for code in range(sys.maxunicode) if chr(code).isspace()) + "]"

Places = dict[str, tuple[str, int]]  # id and part of each question that is asked
Made = tuple[int, list[dict[str, Any]]]  # the part of a row's question, and its responses


@dataclass(frozen=True)
class Parsed:
    """What a piece of the source holds: responses by part, the questions answered, and rejects by row and line.

    Questions that `make` was called for are not in `answered`.
    """

    responses: Pieces
    answered: set[str]
    rejects: list[tuple[int, int, str]]
    rows: int
    lines: int


def write_imported(
    author: str,
    questions: Path,
    settings: Responses,
    out: Path,
    model: Path | None = None,
    model_settings: ModelSettings | None = None,
    threads: int = 1,
) -> None:
    """Write the responses to each part of the questions beside `out`, and the list of the parts.

    A row that cannot be read, or whose question is not in the set, is a reject of the first part, since nothing says
    which part it belongs to. A question without a response in the source is rejected, too, and a row whose tokens do
    not decode to its text in the format of the author's `model_settings`. Raises DistraceError if no row has a question
    of the set, or if tokens are imported without `model` and `model_settings`.
    """
    listed = open_parts(questions, kinds.QUESTIONS)
    asked: list[tuple[Artifact, pl.Series]] = []  # each part with its question ids
    places: Places = {}
    for number, part in enumerate(listed):
        table = part.read("question_id", "question")
        places |= {question: (question_id, number) for question_id, question in table.iter_rows()}
        asked.append((part, table["question_id"]))
    own = _own_tokens(author, settings, model, model_settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".import.", dir=out.parent) as folder,
        Spool(Path(folder, "spool"), _columns(settings)) as spool,
        ThreadPoolExecutor(1) as beside,
    ):
        described = beside.submit(_described, author, settings, model, model_settings)
        strays, answered = _lay_out(settings, own, places, spool, Path(folder), threads)
        if not answered:
            raise DistraceError(_why_none(settings, strays, listed))

        def write_part(number: int) -> Path:
            (part, wanted), first = asked[number], strays if number == 0 else []
            path, identity = out.with_name(part.path.name), described.result() | {"questions": part.fingerprint}
            _write_part(author, wanted, spool.take(number), first, identity, path)
            return path

        parts = list(_in_order(range(len(asked)), write_part, threads))
    write_list(parts, out)


def _columns(settings: Responses) -> pa.Schema:
    """Return what is kept of each response on its way to its part."""
    return pa.schema(_ALWAYS | {column: kind for name, (column, kind) in _ASKED_FOR.items() if getattr(settings, name)})


def _lay_out(
    settings: Responses,
    own: Callable[[Response], Response],
    places: Places,
    spool: Spool,
    folder: Path,
    threads: int,
) -> tuple[list[Reject], set[str]]:
    """Append the responses to the questions that are asked to the spool.

    Returns the rejects, and the questions that the source holds a row for.
    """
    prepare, rejects = joined(settings.join, folder / "joined") if settings.join else (lambda row: row, [])
    once = first_only(settings.once) if settings.once else lambda row: None
    near = {question.strip() for question in places}
    question_of, responses_of = text_reader(settings.question), response_reader(settings)
    answered: set[str] = set()

    def make(row: Row) -> Made:
        once(row)
        row = prepare(row)
        question = question_of(row)
        if question not in places:
            hint = ", but is there with other space around it" if question.strip() in near else ""
            raise BadRow(f"{NOT_ASKED}{hint}: {question[:80]!r}")
        question_id, part = places[question]
        answered.add(question_id)
        return part, [{"question_id": question_id} | own(response)._asdict() for response in responses_of(row)]

    def parsed(piece: Piece) -> Parsed:
        return _parsed_plainly(piece, plain, make, places) if plain else _parsed(piece, make, columns)

    plain, columns = _plain_columns(settings), _columns(settings)
    rows = lines = 0
    # Without plain columns nothing is gained by threads, and what is seen or joined is kept in one.
    for found in _in_order(source_pieces(settings), parsed, threads if plain else 1):
        spool.append(found.responses)
        answered |= found.answered
        for row, line, reason in found.rejects:
            where = f"line {lines + line}: " if line else ""
            rejects.append(Reject(settings.response, rows + row, where + reason))
        rows, lines = rows + found.rows, lines + found.lines
    return rejects, answered


def _in_order(items: Iterable[Item], work: Callable[[Item], Done], threads: int) -> Iterator[Done]:
    """Yield `work(item)` of the items in order; so many threads are at work, and no more than that is done ahead."""
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _parsed(piece: Piece, make: Callable[[Row], Made], columns: pa.Schema) -> Parsed:
    """Return what `make` makes of the rows of a piece."""
    made: list[dict[str, Any]] = []
    parts: list[int] = []
    rejects: list[tuple[int, int, str]] = []
    count = 0
    for number, (line, row) in enumerate(numbered_rows(piece)):
        count = number + 1
        try:
            if isinstance(row, BadRow):
                raise row
            part, responses = make(row)
        except BadRow as error:
            rejects.append((number, line, str(error)))
            continue
        made += responses
        parts += [part] * len(responses)
    lines = piece.count(b"\n") if isinstance(piece, bytes) else 0
    return Parsed(pieces_of(pa.Table.from_pylist(made, columns), parts), set(), rejects, count, lines)


def _plain_columns(settings: Responses) -> list[str]:
    """Return the columns that are read, if they hold a text each and nothing else is read of a row; else none."""
    columns = [settings.question, settings.response, *filter(None, [settings.reasoning])]
    plain = Responses(question=columns[0], response=columns[1], reasoning=settings.reasoning)
    source = {name: getattr(settings, name) for name in ("file", "hub", "revision", "subset", "split")}
    if replace(plain, **source) != settings or not all(column.isidentifier() for column in columns):
        return []
    return columns if len(set(columns)) == len(columns) else []


def _parsed_plainly(piece: Piece, columns: list[str], make: Callable[[Row], Made], places: Places) -> Parsed:
    """Return what `_parsed` does of a piece; rows that hold a text in each column are parsed outside of Python."""
    schema = pa.schema(_ALWAYS)
    table = text_columns(piece, columns) if isinstance(piece, bytes) else None
    if table is None:
        return _parsed(piece, make, schema)
    found = [places.get(question, ("", -1)) for question in table[columns[0]].to_pylist()]
    reasoning = table[columns[2]] if columns[2:] else None
    text = table[columns[1]] if reasoning is None else pc.binary_join_element_wise(reasoning, table[columns[1]], "")
    filled = pc.match_substring_regex(text, _NOT_BLANK).to_numpy()
    parts = np.where(filled, np.array([part for _, part in found], np.int64), -1)
    [bad] = np.nonzero(parts < 0)
    rejects = _parsed(table.take(pa.array(bad)).to_pylist(), make, schema).rejects
    assert len(rejects) == len(bad)  # since `make` sees them alike
    made = {
        "question_id": pa.array([question_id for question_id, _ in found], pa.large_string()),
        "text": text.cast(pa.large_string()),
        "answer_start": pa.array(np.zeros(len(parts), np.int32)) if reasoning is None else pc.utf8_length(reasoning),
    }
    answered = {question_id for (question_id, _), part in zip(found, parts.tolist(), strict=True) if part >= 0}
    numbered = [(int(row), int(row) + 1, reason) for row, (_, _, reason) in zip(bad, rejects, strict=True)]
    return Parsed(pieces_of(pa.table(made, schema), parts), answered, numbered, len(parts), len(parts))


def _why_none(settings: Responses, rejects: list[Reject], asked: Parts) -> str:
    """Return what to say of a source without a row to any question of the set."""
    first = f"; the first: {rejects[0].reason}" if rejects else ""
    [question] = next(iter(asked)).read("question")["question"].head(1).to_list() or [""]
    return (
        f"{settings.name}: none of its {len(rejects)} rows is a response to a question of {asked.path}{first}; "
        f"that set begins with {question[:80]!r}"
    )


def _write_part(
    author: str,
    wanted: pl.Series,
    responses: pa.Table,
    strays: list[Reject],
    identity: dict[str, Any],
    out: Path,
) -> None:
    """Write the responses to the questions `wanted`, with the `strays` of the source and the questions without any."""
    rollouts = _rollouts(author, responses)
    answered = set(responses["question_id"].unique().to_pylist())
    rejects = strays + [
        Reject(question_id, row, "no response to this question in the file")
        for row, question_id in enumerate(wanted)
        if question_id not in answered
    ]
    log.info("%s: %d responses to %d of %d questions", out, len(rollouts), len(answered), len(wanted))
    write_with_rejects(
        out, kinds.ROLLOUTS, rollouts, rejects, identity, len(rollouts) + len(rejects), COMPRESSION_LEVEL
    )


def _rollouts(author: str, responses: pa.Table) -> pa.Table:
    """Return responses as rollouts; those to a question are numbered as they came."""
    question_ids = responses["question_id"].to_pylist()
    seen: Counter[str] = Counter()
    samples, rollout_ids = [], []
    for question_id, text in zip(question_ids, _digests(responses["text"].combine_chunks()), strict=True):
        samples.append(seen[question_id])
        rollout_ids.append(short_id(author, question_id, seen[question_id], text))
        seen[question_id] += 1
    added = {
        "rollout_id": pa.array(rollout_ids, pa.large_string()),
        "sample": pa.array(samples, pa.int32()),
        "finish_reason": pa.array(["imported"] * len(samples), pa.large_string()),
    }
    for name in ("token_ids", "logprobs"):
        if name not in responses.column_names:
            added[name] = pa.nulls(len(samples), kinds.ROLLOUTS.schema.field(name).type)
    for name, values in added.items():
        responses = responses.append_column(name, values)
    return responses


def _digests(texts: pa.LargeStringArray) -> Iterator[str]:
    """Yield the SHA-256 of each text, of its bytes as they lie in memory."""
    _, offsets, content = texts.buffers()
    if not len(texts):
        return
    places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    held = memoryview(content)
    for start, end in pairwise(places):
        yield hashlib.sha256(held[start:end]).hexdigest()


def _described(
    author: str, settings: Responses, model: Path | None, model_settings: ModelSettings | None
) -> dict[str, Any]:
    """Return the identity of the parts: author, source, columns and, with tokens, the author's model and settings."""
    found = {
        "version": NODE_VERSIONS["imported_rollouts"],
        "author": author,
        "responses": source_identity(settings),
    }
    if settings.token_ids and model and model_settings:
        return found | {"model": read_card(model).fingerprint, "settings": asdict(model_settings)}
    return found


def _own_tokens(
    author: str, settings: Responses, model: Path | None, model_settings: ModelSettings | None
) -> Callable[[Response], Response]:
    """Return a function that checks and completes a response's tokens; it raises BadRow if they are not its text's."""
    if settings.logprobs and not settings.token_ids:
        raise DistraceError("logprobs need token_ids, the tokens that they belong to")
    if not settings.token_ids:
        return lambda response: response
    if model is None or model_settings is None:
        raise DistraceError(f"token_ids of {author!r} can only be read with its --model and --model-settings")
    tokenizer = load_tokenizer(read_card(model), model_settings.trust_remote_code)
    form = load_format(model_settings, tokenizer)
    return lambda response: with_own_tokens(form, tokenizer, response, settings.glue_in_tokens)


if __name__ == "__main__":
    # Arrow's own allocator gives memory back between the pieces; fresh pages took an eighth of the time.
    pa.set_memory_pool(pa.system_memory_pool())
    command.run(write_imported)
