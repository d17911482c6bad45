"""The logprobs node: the log-probs that a scorer gives to the tokens of the responses of a part.

Responses are written in the scorer's own prompt format and tokenised by its own tokenizer. Only an author that scores
its own responses, in the format that it wrote them in, is given the tokens that it sampled. The context of a token is

- `full`: the question and the response so far,
- `window-K`: the question and, of the response so far, the sentence that the token belongs to and the K before it,
- `alone`: the response so far without the question; the first token follows the tokenizer's BOS token, or its EOS token
  where there is no BOS.

The format's glue is in every context, since it tells a model which part of a response it is in. Tokens are the same in
all contexts. With `--own-logprobs recorded`, an author's log-probs of its own responses in context `full` are those
recorded at sampling. With `--top-probabilities N`, two more columns say for each token what the N most probable tokens
of the vocabulary have together (`engines/requests.py`), from the same forward pass.

Run by the workflow as `python -m distrace.nodes.logprobs --rollouts FILE --questions FILE --sentences FILE --model FILE
--settings JSON --execution JSON --context full --out FILE`; only `window-K` reads `--sentences`.
"""

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from distrace import command, kinds
from distrace.ahead import ahead, kept_in_threads
from distrace.artifacts import Artifact, fingerprint_of, open_artifact, write_with_rejects
from distrace.batches import Progress, forget_batches, run_batches
from distrace.engines import Engine, load_engine
from distrace.engines.requests import ScoreRequest
from distrace.errors import BadRow, DistraceError
from distrace.identity import digest
from distrace.kept import keep, kept_artifacts, put_back
from distrace.kinds import Kind
from distrace.models import Card, load_tokenizer, read_card
from distrace.rejects import Reject
from distrace.settings import Execution, ModelSettings
from distrace.text.alignment import Aligned, encode_prompt, encode_response, owners
from distrace.text.prompts import Format, align_own, load_format, prompt_text, response_pieces
from distrace.text.recorded import recorded_rows
from distrace.versions import NODE_VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Of the responses that are tokenised together, ahead of their batches: about a million tokens, so dozens of batches.
# With another number, batches are others, and a killed job begins anew.
CHUNK_CHARACTERS = 4_000_000

_PLACES = ("token_ids", "starts", "ends")
_TOP = [pa.field(name, pa.large_list(pa.float32())) for name in ("top_masses", "top_squares")]
_WITH_TOP = replace(kinds.LOGPROBS, schema=pa.schema([*kinds.LOGPROBS.schema, *_TOP]))


@dataclass(frozen=True)
class Scorer:
    """A loaded model with its format; `own` if it wrote the responses itself, in this format.

    It tells the probabilities of the `top` most probable tokens.
    """

    engine: Engine
    form: Format
    own: bool
    top: int = 0


@dataclass(frozen=True)
class Asked:
    """What the engine computes for one response: `requests` score its tokens that carry text, in order."""

    rollout_id: str
    aligned: Aligned
    requests: list[ScoreRequest]


def score_rollouts(
    rollouts: Path,
    questions: Path,
    model: Path,
    settings: ModelSettings,
    execution: Execution,
    context: str,
    out: Path,
    sentences: Path | None = None,
    own_logprobs: str = "computed",
    top_probabilities: int = 0,
    threads: int = 1,
) -> None:
    """Write log-probs and ranks of all tokens that carry text; reject responses that cannot be aligned or are too long.

    With `top_probabilities`, write what so many most probable tokens have together, too. Responses are tokenised in so
    many `threads` while the model scores those before them. With `own_logprobs` "recorded", the log-probs are taken
    from the rollouts. Raises DistraceError if then the context is not `full`, if top probabilities are asked for, or if
    another model, or the same in other settings, wrote the rollouts.
    """
    if own_logprobs not in ("computed", "recorded"):
        raise DistraceError(f"a model's own log-probs are computed or recorded, not {own_logprobs!r}")
    if own_logprobs == "recorded" and top_probabilities:
        raise DistraceError("no probabilities of other tokens were recorded with the log-probs: compute them")
    asked = open_artifact(questions, kinds.QUESTIONS)
    written = open_artifact(rollouts, kinds.ROLLOUTS, made_from=asked)
    card = read_card(model)
    if own_logprobs == "recorded":
        _take_recorded(written, card, settings, context, out)
        return
    cut = _sentences(written, context, sentences)
    kind = _WITH_TOP if top_probabilities else kinds.LOGPROBS
    identity = _identity(written, card, settings, context) | ({"sentences": cut.fingerprint} if cut else {})
    identity |= {"top_probabilities": top_probabilities} if top_probabilities else {}
    fingerprint = fingerprint_of(kind, identity)
    if put_back(out, fingerprint):
        return
    engine = load_engine(card, settings, execution, "score")
    form = load_format(settings, engine.tokenizer)
    scorer = Scorer(engine, form, _wrote(card, settings, written), top_probabilities)
    before = _scored_before(out, kind, identity)
    progress = Progress(0, "response tokens")
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    tokens = 0
    for share, kept, dropped in ahead(_requested_in_chunks(_responses(written, asked, cut), scorer, context, threads)):
        known = _known(before, kept)
        missing = [response for response in kept if response.rollout_id not in known]
        log.info("%d responses to score, %d were scored before", len(missing), len(known))
        tokens += sum(len(request.response) for response in missing for request in response.requests)
        progress.total = round(tokens / share)
        found = known | _scored(scorer, missing, kind, out, fingerprint, progress)
        rows += [found[response.rollout_id] for response in kept]
        rejects += dropped
    write_with_rejects(out, kind, rows, rejects, identity, written.rows)
    keep(out, fingerprint)
    forget_batches(out)


def _scored_before(out: Path, kind: Kind, identity: dict[str, Any]) -> list[pl.DataFrame]:
    """Return what earlier jobs scored for this part, in the same context and settings, and with no fewer columns.

    A response's id follows from its author, question, sample and text; in contexts `full` and `alone`, a model sees
    the same where the tokens are the same, too.
    """
    if _window(identity["context"]) is not None:
        return []
    beside = {"rollouts": None} | ({} if "top_probabilities" in identity else {"top_probabilities": None})
    same = [kept for kept in kept_artifacts(out, kind) if kept.identity | beside == identity | beside]
    return [kept.read(*kind.schema.names) for kept in same]


def _known(before: list[pl.DataFrame], asked: list[Asked]) -> dict[str, dict[str, Any]]:
    """Return the rows of responses whose very tokens were scored before, by id."""
    wanted = {response.rollout_id: response.aligned for response in asked}
    found = [frame.filter(pl.col("rollout_id").is_in(wanted.keys())).iter_rows(named=True) for frame in before]
    return {row["rollout_id"]: row for row in chain(*found) if _has_tokens(row, wanted[row["rollout_id"]])}


def _has_tokens(row: dict[str, Any], aligned: Aligned) -> bool:
    return all(np.array_equal(row[name], getattr(aligned, name)[aligned.scored]) for name in _PLACES)


def _take_recorded(written: Artifact, card: Card, settings: ModelSettings, context: str, out: Path) -> None:
    if context != "full":
        raise DistraceError(f"log-probs were recorded in context 'full', none in {context!r}: compute them")
    author = written.identity
    if not _wrote(card, settings, written) or author["settings"] != asdict(settings):
        raise DistraceError(
            f"{written.path} does not hold log-probs of model {card.name!r} ({card.fingerprint}) in the settings "
            f"{asdict(settings)}: it was written by {author.get('model')} in {author.get('settings')}; run the "
            "author again, or set own_logprobs: computed"
        )
    identity = _identity(written, card, settings, context) | {"own_logprobs": "recorded"}
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    responses = written.read("rollout_id", "text", "token_ids", "logprobs")
    rows, rejects = recorded_rows(responses, load_format(settings, tokenizer), tokenizer)
    log.info("%d responses with recorded log-probs, %d rejected", len(rows), len(rejects))
    write_with_rejects(out, kinds.LOGPROBS, rows, rejects, identity, written.rows)


def _wrote(card: Card, settings: ModelSettings, written: Artifact) -> bool:
    """Return whether the model wrote these rollouts, in the format it now scores in."""
    author = written.identity.get("settings") or {}
    same_format = all(author.get(key) == getattr(settings, key) for key in ("format", "instruction"))
    return same_format and written.identity.get("model") == card.fingerprint


def _identity(written: Artifact, card: Card, settings: ModelSettings, context: str) -> dict[str, Any]:
    return {
        "version": NODE_VERSIONS["logprobs"],
        "rollouts": written.fingerprint,
        "model": card.fingerprint,
        "settings": asdict(settings),
        "context": context,
    }


def _sentences(written: Artifact, context: str, sentences: Path | None) -> Artifact | None:
    """Return the sentences of the rollouts if the context needs them."""
    if _window(context) is None:
        return None
    if sentences is None:
        raise DistraceError(f"context {context!r} needs the sentences of {written.path}: give --sentences")
    return open_artifact(sentences, kinds.SENTENCES, made_from=written)


def _window(context: str) -> int | None:
    """Return the K of `window-K`; None for the other contexts."""
    if context in ("full", "alone"):
        return None
    if found := re.fullmatch(r"window-(\d+)", context):
        return int(found[1])
    raise DistraceError(f"no context {context!r}; there are full, alone, and window-K with a number K of sentences")


def _responses(written: Artifact, asked: Artifact, cut: Artifact | None) -> pl.DataFrame:
    """Return the responses with their question and, if `cut` is given, the starts of their sentences."""
    responses = written.read("rollout_id", "question_id", "text", "answer_start", "token_ids")
    questions = asked.read("question_id", "question")
    found = responses.join(questions, on="question_id", how="left", maintain_order="left", validate="m:1")
    if found["question"].has_nulls():
        stray = found.filter(pl.col("question").is_null())["question_id"][0]
        raise DistraceError(f"{written.path}: question {stray} is not in {asked.path}")
    if cut is None:
        return found.with_columns(sentence_starts=pl.lit(None))
    starts = cut.read().group_by("rollout_id", maintain_order=True).agg(sentence_starts="start")
    return found.join(starts, on="rollout_id", how="left", maintain_order="left", validate="m:1")


def _requested_in_chunks(
    responses: pl.DataFrame, scorer: Scorer, context: str, threads: int
) -> Iterator[tuple[float, list[Asked], list[Reject]]]:
    """Yield what `requested` returns for one chunk after the other, and the share of all characters so far.

    A chunk is some `CHUNK_CHARACTERS` of whole questions: what shares its beginning is scored together, and the same
    rollouts have the same chunks, and so the same batches, in any job.
    """
    size = pl.col("text").str.len_chars()
    numbered = responses.with_columns(before=size.cum_sum() - size, asked=pl.col("question_id").rle_id())
    chunk_of = pl.col("before").first().over("asked") // CHUNK_CHARACTERS
    chunks = numbered.with_columns(chunk=chunk_of).partition_by("chunk", maintain_order=True)
    characters = [int(chunk["text"].str.len_chars().sum()) + 1 for chunk in chunks]  # 1: not all may be empty
    first = 0
    with ThreadPoolExecutor(threads) as pool:
        for chunk, so_far in zip(chunks, accumulate(characters), strict=True):
            kept, rejects = requested(chunk, scorer, context, pool, first)
            first += len(chunk)
            yield so_far / sum(characters), kept, rejects


def requested(
    responses: pl.DataFrame, scorer: Scorer, context: str, pool: ThreadPoolExecutor, first: int
) -> tuple[list[Asked], list[Reject]]:
    """Return the requests for each response, and a reject for each, numbered from `first`, that cannot be scored."""

    def asked(response: dict[str, Any]) -> Asked:
        aligned = _aligned(response, scorer)
        requests = _in_context(response, aligned, scorer, context)
        _require_room(requests, scorer.engine.context_length)
        return Asked(response["rollout_id"], aligned, requests)

    return kept_in_threads(responses.iter_rows(named=True), asked, lambda row: row["rollout_id"], pool, first)


def _aligned(response: dict[str, Any], scorer: Scorer) -> Aligned:
    tokenizer, text, tokens = scorer.engine.tokenizer, response["text"], response["token_ids"]
    if scorer.own and tokens is not None:
        return align_own(scorer.form, tokenizer, tokens, text)
    return encode_response(tokenizer, response_pieces(scorer.form, text, response["answer_start"]))


def _in_context(response: dict[str, Any], aligned: Aligned, scorer: Scorer, context: str) -> list[ScoreRequest]:
    """Return the requests that score all scored tokens of a response, in order: one, or one for each sentence."""
    tokens = aligned.token_ids.tolist()
    if not aligned.scored.any():
        return []
    tokenizer = scorer.engine.tokenizer
    if context == "alone":
        return [ScoreRequest([_first_token(tokenizer)], tokens, aligned.scored)]
    prompt = encode_prompt(tokenizer, prompt_text(scorer.form, response["question"]))
    window = _window(context)
    if window is None:
        return [ScoreRequest(prompt, tokens, aligned.scored)]
    owner = owners(aligned.starts, aligned.ends, [*response["sentence_starts"], len(response["text"])])
    requests = []
    for sentence in np.unique(owner[aligned.scored]):
        mine = np.flatnonzero(owner == sentence)
        seen = [tokens[i] for i in range(mine[0]) if owner[i] < 0 or owner[i] >= sentence - window]
        part = slice(mine[0], mine[-1] + 1)
        requests.append(ScoreRequest(prompt + seen, tokens[part], aligned.scored[part]))
    return requests


def _first_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise DistraceError("context 'alone' needs a tokenizer with a BOS or an EOS token")


def _require_room(requests: list[ScoreRequest], context_length: int) -> None:
    longest = max((len(request.prompt) + len(request.response) for request in requests), default=0)
    if longest > context_length:
        raise BadRow(f"too long: {longest} tokens with the prompt, the model's context length is {context_length}")


def _scored(
    scorer: Scorer, missing: list[Asked], kind: Kind, out: Path, fingerprint: str, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Return the row of each response, by id, from batches of them alone."""
    columns = [name for name in kind.schema.names if name not in ("rollout_id", *_PLACES)]
    requests = [request for response in missing for request in response.requests]

    def tokens(batch: list[int]) -> int:
        return sum(len(requests[i].response) for i in batch)

    def compute(batch: list[int]) -> list[dict[str, Any]]:
        rows = [asdict(score) for score in scorer.engine.score([requests[i] for i in batch], scorer.top)]
        progress.add(tokens(batch), tokens(batch))
        return rows

    scores = run_batches(
        out,
        digest([fingerprint, [response.rollout_id for response in missing]]),
        scorer.engine.score_batches(requests),
        pa.schema([kind.schema.field(name) for name in columns]),
        compute,
        lambda batch: progress.skip(tokens(batch)),
    )
    return {row["rollout_id"]: row for row in _rows(missing, scores, columns)}


def _rows(kept: list[Asked], scores: list[dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    """Return a row for each response; `scores` holds the scores of all requests, in order, with these columns."""
    rows, remaining = [], iter(scores)
    for response in kept:
        aligned, parts = response.aligned, [next(remaining) for _ in response.requests]
        row: dict[str, Any] = {"rollout_id": response.rollout_id}
        row |= {name: getattr(aligned, name)[aligned.scored] for name in _PLACES}
        row |= {name: _joined([part[name] for part in parts]) for name in columns}
        rows.append(row)
    return rows


def _joined(parts: list[Any]) -> NDArray[Any] | None:
    """Return the values of all parts; None if the engine did not return those of a part."""
    return None if any(part is None for part in parts) else np.concatenate(parts or [[]])


if __name__ == "__main__":
    command.run(score_rollouts, alone=True)
