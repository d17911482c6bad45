"""The imported rollouts node: ready-made responses of an author, from a file, in the parts of the questions.

The file is read once, in bounded memory: responses wait for their part in a folder beside it.

The file may also hold the tokens that the author sampled, and their log-probs. Then imported responses are used like
those that the workflow samples itself, as written in the author's prompt format and settings in the config.
Run by the workflow as `python -m distrace.nodes.imported_rollouts --author NAME --questions PARTS --settings JSON
--out PARTS`, with `--model FILE --model-settings JSON` of the author where tokens are imported.
"""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distrace import command, kinds
from distrace.artifacts import Artifact, write_with_rejects
from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.models import load_tokenizer, read_card
from distrace.parts import Parts, open_parts, write_list
from distrace.rejects import Reject, kept_and_rejected
from distrace.rows import Row, file_digest, read_rows, refuse_surrogates, text_reader, with_lines
from distrace.settings import ModelSettings
from distrace.text.alignment import AlignmentError
from distrace.text.prompts import align_own, load_format
from distrace.versions import NODE_VERSIONS

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 1000
NOT_ASKED = "its question is not in the set"


@dataclass(frozen=True)
class Responses:
    """The file, and its columns: the question, the response (or a list of them), the reasoning before it, its tokens.

    `token_ids` are all tokens that the author sampled for a response, glue included, without the token that ends it;
    `logprobs` are their natural-log probabilities at temperature 1.
    """

    file: str
    question: str = "question"
    response: str = "response"
    reasoning: str | None = None
    token_ids: str | None = None
    logprobs: str | None = None


# A response: its text, where its answer starts, and its tokens with their log-probs.
Response = tuple[str, int, list[int] | None, list[float] | None]


def write_imported(
    author: str,
    questions: Path,
    settings: Responses,
    out: Path,
    model: Path | None = None,
    model_settings: ModelSettings | None = None,
) -> None:
    """Write the responses to each part of the questions beside `out`, and the list of the parts.

    A row that cannot be read, or whose question is not in the set, is a reject of the first part, since nothing says
    which part it belongs to. A question without a response in the file is rejected, too, and a row whose tokens do not
    decode to its text in the format of the author's `model_settings`. Raises DistraceError if no row has a question of
    the set, or if tokens are imported without `model` and `model_settings`.
    """
    asked = open_parts(questions, kinds.QUESTIONS)
    part_of = {
        question_id: number
        for number, part in enumerate(asked)
        for question_id in part.read("question_id")["question_id"]
    }
    described = {
        "version": NODE_VERSIONS["rollouts"],
        "author": author,
        "file": file_digest(Path(settings.file)),
    } | _described(settings, model, model_settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".import.", dir=out.parent) as folder:
        waiting = [Path(folder, part.path.stem) for part in asked]
        own = _own_tokens(author, settings, model, model_settings)
        strays, answered = _lay_out(settings, own, part_of, waiting)
        if not answered:
            raise DistraceError(_why_none(settings, strays, asked))
        for part, path in zip(asked, waiting, strict=True):
            identity = described | {"questions": part.fingerprint}
            _write_part(author, part, path, strays, identity, out.with_name(part.path.name))
            strays = []  # counted once
    write_list([out.with_name(part.path.name) for part in asked], out)


def _lay_out(
    settings: Responses, require_own: Callable[[Response], None], part_of: dict[str, int], waiting: list[Path]
) -> tuple[list[Reject], set[str]]:
    """Append the rows with a known question to the file of their part, as JSON Lines.

    Returns the rejects, and the questions of the set that the file holds a row for.
    """
    question_of = text_reader(settings.question)
    answered: set[str] = set()

    def answer(row: Row | BadRow) -> tuple[str, list[Response]]:
        if isinstance(row, BadRow):
            raise row
        question = question_of(row)
        question_id = short_id(question)
        if question_id not in part_of:
            near = short_id(question.strip()) in part_of
            raise BadRow(
                f"{NOT_ASKED}{', but is there without the space around it' if near else ''}: {question[:80]!r}"
            )
        answered.add(question_id)
        responses = _responses(row, settings)
        for response in responses:
            require_own(response)
        return question_id, responses

    rejects: list[Reject] = []
    rows = enumerate(read_rows(Path(settings.file)))
    while some := list(islice(rows, ROWS_AT_ONCE)):
        found, rejected = kept_and_rejected(some, answer, lambda _: settings.response)
        rejects += rejected
        lines: defaultdict[int, list[str]] = defaultdict(list)
        for question_id, responses in found:
            lines[part_of[question_id]].append(json.dumps([question_id, responses]) + "\n")
        for number, added in lines.items():
            with waiting[number].open("a", encoding="utf-8") as file:
                file.writelines(added)
    return with_lines(rejects, Path(settings.file)), answered


def _why_none(settings: Responses, rejects: list[Reject], asked: Parts) -> str:
    """Return what to say of a file without a row to any question of the set."""
    first = f"; the first: {rejects[0].reason}" if rejects else ""
    [question] = next(iter(asked)).read("question")["question"].head(1).to_list() or [""]
    return (
        f"{settings.file}: none of its {len(rejects)} rows is a response to a question of {asked.path}{first}; "
        f"that set begins with {question[:80]!r}"
    )


def _write_part(
    author: str, asked: Artifact, waiting: Path, strays: list[Reject], identity: dict[str, Any], out: Path
) -> None:
    """Write the responses that wait for a part, with the `strays` of the file and the questions without any."""
    samples: Counter[str] = Counter()
    rows = []
    for line in waiting.open(encoding="utf-8") if waiting.is_file() else ():
        question_id, responses = json.loads(line)
        for response in responses:
            rows.append(_rollout(author, question_id, samples[question_id], response))
            samples[question_id] += 1
    wanted = asked.read("question_id")["question_id"]
    rejects = strays + [
        Reject(question_id, row, "no response to this question in the file")
        for row, question_id in enumerate(wanted)
        if not samples[question_id]
    ]
    log.info("%s: %d responses to %d of %d questions", out, len(rows), len(samples), len(wanted))
    write_with_rejects(out, kinds.ROLLOUTS, rows, rejects, identity, len(rows) + len(rejects))


def _described(settings: Responses, model: Path | None, model_settings: ModelSettings | None) -> dict[str, Any]:
    """Return the part of the identity that holds the columns read and, with tokens, the author's model and settings."""
    read = asdict(settings) | {"file": None}
    if settings.token_ids and model and model_settings:
        return {"responses": read, "model": read_card(model).fingerprint, "settings": asdict(model_settings)}
    return {"settings": {key: value for key, value in read.items() if key not in ("token_ids", "logprobs")}}


def _own_tokens(
    author: str, settings: Responses, model: Path | None, model_settings: ModelSettings | None
) -> Callable[[Response], None]:
    """Return a function that raises BadRow unless a response's tokens decode to its text."""
    if settings.logprobs and not settings.token_ids:
        raise DistraceError("logprobs need token_ids, the tokens that they belong to")
    if not settings.token_ids:
        return lambda response: None
    if model is None or model_settings is None:
        raise DistraceError(f"token_ids of {author!r} can only be read with its --model and --model-settings")
    tokenizer = load_tokenizer(read_card(model), model_settings.trust_remote_code)
    form = load_format(model_settings, tokenizer)

    def check(response: Response) -> None:
        text, _, token_ids, _ = response
        token_ids = token_ids or []
        try:
            align_own(form, tokenizer, token_ids, text)
        except AlignmentError as error:
            found = tokenizer.decode(token_ids)
            raise BadRow(f"{error} The tokens end in {found[-30:]!r}, the text in {text[-30:]!r}") from error

    return check


def _responses(row: Row, settings: Responses) -> list[Response]:
    """Return the responses in a row."""
    texts = _as_list(row, settings.response)
    reasonings = _as_list(row, settings.reasoning) if settings.reasoning else [""] * len(texts)
    if len(reasonings) != len(texts):
        raise BadRow(f"{len(texts)} responses but {len(reasonings)} reasonings")
    if not all((reasoning + text).strip() for reasoning, text in zip(reasonings, texts, strict=True)):
        raise BadRow(f"column {settings.response!r} holds an empty response")
    tokens = _numbers(row, settings, settings.token_ids, len(texts))
    logprobs = _numbers(row, settings, settings.logprobs, len(texts))
    for ids, values in zip(tokens, logprobs, strict=True):
        if ids is not None and not all(type(i) is int and 0 <= i < 2**31 for i in ids):
            raise BadRow(f"column {settings.token_ids!r} holds no token ids but {str(ids)[:40]!r}")
        if ids is not None and values is not None and len(values) != len(ids):
            raise BadRow(f"{len(ids)} tokens but {len(values)} log-probs")
    parts = zip(reasonings, texts, tokens, logprobs, strict=True)
    return [(reasoning + text, len(reasoning), ids, values) for reasoning, text, ids, values in parts]


def _numbers(row: Row, settings: Responses, column: str | None, count: int) -> list[Any]:
    """Return the list of numbers that a column holds for each response; without a column, None for each."""
    if column is None:
        return [None] * count
    value = row.get(column)
    lists = value if isinstance(row.get(settings.response), list) else [value]
    if not isinstance(lists, list) or len(lists) != count or not all(map(_is_numbers, lists)):
        raise BadRow(f"column {column!r} holds no list of numbers for each response but {str(value)[:40]!r}")
    return lists


def _as_list(row: Row, column: str) -> list[str]:
    value = row.get(column)
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise BadRow(f"column {column!r} holds no text but {str(text)[:40]!r}")
        refuse_surrogates(text, column)
    return list(map(str, texts))


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)


def _rollout(author: str, question_id: str, sample: int, response: Response) -> dict[str, Any]:
    text, answer_start, token_ids, logprobs = response
    return {
        "rollout_id": short_id(author, question_id, sample, text),
        "question_id": question_id,
        "sample": sample,
        "text": text,
        "answer_start": answer_start,
        "token_ids": token_ids,
        "logprobs": logprobs,
        "finish_reason": "imported",
    }


if __name__ == "__main__":
    command.run(write_imported)
