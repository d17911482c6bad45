"""The logprobs node: how likely a scorer finds each token of the responses of a part.

Responses are written in the scorer's own prompt format and tokenised by its own tokenizer; only the author itself,
asked for its own responses in the format it wrote them in, sees the very tokens it sampled. The context of a token is

- `full`: the question and the response so far,
- `window-K`: the question and, of the response so far, the sentence that the token belongs to and the K before it,
- `alone`: the response so far without the question; the first token follows the tokenizer's BOS token, or its EOS token
  where there is no BOS.

An author's own log-probs in context `full` can also be those that were recorded when it wrote (`--log-probs recorded`).
The format's glue stays in every context, since it tells a model which part of a response it is in. Tokens are the same
in all contexts.
Run by the workflow as `python -m distrace.logprobs --rollouts FILE --questions FILE --sentences FILE --model FILE
--settings JSON --execution JSON --context full --out FILE`; only `window-K` reads `--sentences`.
"""

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from distrace import artifacts, command
from distrace.alignment import Aligned, AlignmentError, encode_prompt, encode_response, owners
from distrace.batches import Progress, forget_batches, run_batches
from distrace.engines import load_engine
from distrace.engines.requests import ScoreRequest
from distrace.errors import DistraceError
from distrace.identity import NODE_VERSIONS
from distrace.models import Card, load_tokenizer, read_card
from distrace.prompts import Format, align_own, load_format, prompt_text, response_pieces
from distrace.recorded import recorded_rows
from distrace.rows import BadRow
from distrace.settings import Execution, ModelSettings

log = logging.getLogger(__name__)

_BATCH_COLUMNS = ("logprobs", "ranks")


@dataclass(frozen=True)
class Scorer:
    """A loaded model with its format; `own`: it wrote the responses itself, in this format."""

    engine: object
    form: Format
    own: bool


def score_rollouts(
    rollouts: Path,
    questions: Path,
    model: Path,
    settings: ModelSettings,
    execution: Execution,
    context: str,
    out: Path,
    sentences: Path | None = None,
    log_probs: str = "computed",
) -> None:
    """Write the log-probs and ranks of all tokens that carry text; what cannot be aligned or is too long, reject.

    With `log_probs` "recorded", those of the author's own responses in context `full` are taken from the rollouts.
    """
    artifacts.require_made_from(rollouts, "questions", questions)
    card = read_card(model)
    if log_probs not in ("computed", "recorded"):
        raise DistraceError(f"log-probs are computed or recorded, not {log_probs!r}")
    if log_probs == "recorded":
        _take_recorded(rollouts, card, settings, context, out)
        return
    own = _wrote(card, settings, rollouts)
    identity = _identity(rollouts, card, settings, context, sentences)
    engine = load_engine(card, settings, execution)
    scorer = Scorer(engine, load_format(settings, engine.tokenizer), own)
    responses = _responses(rollouts, questions, sentences if _window(context) is not None else None)
    kept, rejects = requested(responses, scorer, context)
    scores = _score(
        engine, [r for _, _, part in kept for r in part], out, artifacts.fingerprint_of("logprobs", identity)
    )
    rows = _rows(kept, scores)
    artifacts.write_with_rejects(out, "logprobs", rows, rejects, identity, len(responses))
    forget_batches(out)


def _take_recorded(rollouts: Path, card: Card, settings: ModelSettings, context: str, out: Path) -> None:
    if context != "full":
        raise DistraceError(f"log-probs were recorded in context 'full', none in {context!r}: compute them")
    written = artifacts.metadata(rollouts, "rollouts").identity
    if not _wrote(card, settings, rollouts) or written["settings"] != asdict(settings):
        raise DistraceError(
            f"{rollouts} does not hold log-probs of model {card.name!r} ({card.fingerprint}) in the settings "
            f"{asdict(settings)}: it was written by {written.get('model')} in {written.get('settings')}; run the "
            "author again, or set own_log_probs: computed"
        )
    identity = _identity(rollouts, card, settings, context, None) | {"log_probs": "recorded"}
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    responses = artifacts.read(rollouts, "rollouts", ["rollout_id", "text", "token_ids", "logprobs"])
    rows, rejects = recorded_rows(responses, load_format(settings, tokenizer), tokenizer)
    log.info("%d responses with recorded log-probs, %d rejected", len(rows), len(rejects))
    artifacts.write_with_rejects(out, "logprobs", rows, rejects, identity, len(responses))


def _wrote(card: Card, settings: ModelSettings, rollouts: Path) -> bool:
    author = artifacts.metadata(rollouts, "rollouts").identity
    written = author.get("settings") or {}
    same_format = all(written.get(key) == getattr(settings, key) for key in ("format", "instruction"))
    return same_format and author.get("model") == card.fingerprint


def _identity(rollouts: Path, card: Card, settings: ModelSettings, context: str, sentences: Path | None) -> dict:
    identity = {
        "version": NODE_VERSIONS["logprobs"],
        "rollouts": artifacts.metadata(rollouts).fingerprint,
        "model": card.fingerprint,
        "settings": asdict(settings),
        "context": context,
    }
    if _window(context) is None:
        return identity
    if sentences is None:
        raise DistraceError(f"context {context!r} needs the sentences of {rollouts}: give --sentences")
    artifacts.require_made_from(sentences, "rollouts", rollouts)
    return identity | {"sentences": artifacts.metadata(sentences).fingerprint}


def _window(context: str) -> int | None:
    """Give the K of `window-K`, None for the other contexts."""
    if context in ("full", "alone"):
        return None
    if found := re.fullmatch(r"window-(\d+)", context):
        return int(found[1])
    raise DistraceError(f"no context {context!r}; there are full, alone, and window-K with a number K of sentences")


def _responses(rollouts: Path, questions: Path, sentences: Path | None) -> pl.DataFrame:
    columns = ["rollout_id", "question_id", "text", "answer_start", "token_ids"]
    asked = artifacts.read(questions, "questions", ["question_id", "question"])
    responses = artifacts.read(rollouts, "rollouts", columns)
    found = responses.join(asked, on="question_id", how="left", maintain_order="left", validate="m:1")
    if found["question"].has_nulls():
        stray = found.filter(pl.col("question").is_null())["question_id"][0]
        raise DistraceError(f"{rollouts}: question {stray} is not in {questions}")
    if sentences is None:
        return found.with_columns(sentence_starts=pl.lit(None))
    starts = (
        artifacts.read(sentences, "sentences").group_by("rollout_id", maintain_order=True).agg(sentence_starts="start")
    )
    return found.join(starts, on="rollout_id", how="left", maintain_order="left", validate="m:1")


def requested(
    responses: pl.DataFrame, scorer: Scorer, context: str
) -> tuple[list[tuple[str, Aligned, list[ScoreRequest]]], list[dict]]:
    """Give each response's id, its aligned tokens and what to ask of the engine; and the rejects."""
    kept, rejects = [], []
    for row, response in enumerate(responses.iter_rows(named=True)):
        try:
            aligned = _aligned(response, scorer)
            requests = _in_context(response, aligned, scorer, context)
            _require_room(requests, scorer.engine.window)
        except (AlignmentError, BadRow) as error:
            rejects.append({"source": response["rollout_id"], "row": row, "reason": str(error)})
            continue
        kept.append((response["rollout_id"], aligned, requests))
    return kept, rejects


def _aligned(response: dict, scorer: Scorer) -> Aligned:
    tokenizer, text, tokens = scorer.engine.tokenizer, response["text"], response["token_ids"]
    if scorer.own and tokens is not None:
        return align_own(scorer.form, tokenizer, tokens, text)
    return encode_response(tokenizer, response_pieces(scorer.form, text, response["answer_start"]))


def _in_context(response: dict, aligned: Aligned, scorer: Scorer, context: str) -> list[ScoreRequest]:
    """Give the requests that score all scored tokens of a response, in order: one, or one for each sentence."""
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


def _first_token(tokenizer) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise DistraceError("context 'alone' needs a tokenizer with a BOS or an EOS token")


def _require_room(requests: list[ScoreRequest], window: int) -> None:
    longest = max((len(request.prompt) + len(request.response) for request in requests), default=0)
    if longest > window:
        raise BadRow(f"too long: {longest} tokens with the prompt, the model's window has {window}")


def _score(engine, requests: list[ScoreRequest], out: Path, fingerprint: str) -> list[dict]:
    def tokens(batch: list[int]) -> int:
        return sum(len(requests[i].response) for i in batch)

    def compute(batch: list[int]) -> list[dict]:
        rows = [asdict(score) for score in engine.score([requests[i] for i in batch])]
        progress.add(tokens(batch), tokens(batch))
        return rows

    schema = artifacts.SCHEMAS["logprobs"]
    plan = engine.score_plan(requests)
    progress = Progress(sum(map(tokens, plan)), "response tokens")
    return run_batches(
        out,
        fingerprint,
        plan,
        pa.schema([schema.field(name) for name in _BATCH_COLUMNS]),
        compute,
        lambda batch: progress.skip(tokens(batch)),
    )


def _rows(kept: list[tuple[str, Aligned, list[ScoreRequest]]], scores: list[dict]) -> list[dict]:
    rows, remaining = [], iter(scores)
    for rollout_id, aligned, requests in kept:
        parts = [next(remaining) for _ in requests]
        row = {"rollout_id": rollout_id}
        row |= {name: getattr(aligned, name)[aligned.scored] for name in ("token_ids", "starts", "ends")}
        row |= {name: _joined([part[name] for part in parts]) for name in _BATCH_COLUMNS}
        rows.append(row)
    return rows


def _joined(parts: list) -> np.ndarray | None:
    """Give the values of all parts, None where an engine could not tell those of a part."""
    return None if any(part is None for part in parts) else np.concatenate(parts or [[]])


if __name__ == "__main__":
    command.run(score_rollouts)
