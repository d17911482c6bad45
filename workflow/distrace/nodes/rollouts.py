"""The rollouts node: an author answers each question of a part, `samples` times.

Every response has its own seed, which follows from the config's seed, the question and the number of the sample. So
more questions, or other parts, do not change existing responses.
Run by the workflow as `python -m distrace.nodes.rollouts --questions FILE --model FILE --settings JSON --sampling JSON
--execution JSON --out FILE`, with `--source JSON --cut JSON --made-from DIGEST` where it may be the first to need the
questions of its part.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from distrace import command, kinds
from distrace.artifacts import fingerprint_of, open_artifact, write_with_rejects
from distrace.batches import Progress, forget_batches, run_batches
from distrace.engines import Engine, load_engine
from distrace.engines.requests import GenerateRequest
from distrace.errors import BadRow
from distrace.identity import digest, short_id
from distrace.kept import keep, kept_artifacts, put_back
from distrace.models import Card, read_card
from distrace.questions import Cut, Questions, is_made_from, write_parts
from distrace.rejects import Reject, kept_and_rejected
from distrace.settings import Execution, ModelSettings, Sampling
from distrace.text.alignment import decode_generated, encode_prompt
from distrace.text.prompts import Format, load_format, parse_response, prompt_text
from distrace.versions import NODE_VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_BATCH_COLUMNS = ("token_ids", "logprobs", "finish_reason")


def sample_rollouts(
    questions: Path,
    model: Path,
    settings: ModelSettings,
    sampling: Sampling,
    execution: Execution,
    out: Path,
    source: Questions | None = None,
    cut: Cut | None = None,
    made_from: str = "",
) -> None:
    """Write the responses of a model to a part of questions; prompts that leave no room for an answer are rejected.

    With `source` and `cut`, the part of questions is written first, unless it is there and `made_from` what it should.
    """
    if source and cut and not is_made_from(questions, made_from):
        write_parts(source, cut, questions.parent, wanted=questions.stem)
    asked = open_artifact(questions, kinds.QUESTIONS)
    card = read_card(model)
    identity = {
        "version": NODE_VERSIONS["rollouts"],
        "questions": asked.fingerprint,
        "author": card.name,  # part of the rollouts' ids
        "model": card.fingerprint,
        "settings": asdict(settings),
        "sampling": asdict(sampling),
    }
    fingerprint = fingerprint_of(kinds.ROLLOUTS, identity)
    if put_back(out, fingerprint):
        return
    engine = load_engine(card, settings, execution, "generate")
    form = load_format(settings, engine.tokenizer)
    wanted, rejects = requested(asked.read("question_id", "question"), engine, form, sampling)
    rows = _drawn_before(out, identity)
    missing = [asking for asking in wanted if asking[:2] not in rows]
    log.info("%d responses to draw, %d were drawn before", len(missing), len(wanted) - len(missing))
    batches_of = digest([fingerprint, [asking[:2] for asking in missing]])
    generated = _generate(engine, [request for _, _, request in missing], sampling, out, batches_of)
    for (question_id, sample, _), found in zip(missing, generated, strict=True):
        rows[question_id, sample] = rollout(card, engine.tokenizer, form, question_id, sample, found)
    found_rows = [rows[asking[:2]] for asking in wanted]
    write_with_rejects(out, kinds.ROLLOUTS, found_rows, rejects, identity, asked.rows * sampling.samples)
    keep(out, fingerprint)
    forget_batches(out)


def _drawn_before(out: Path, identity: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the responses, by question and sample, that an earlier job drew in the same way for this part.

    A response depends on its question, its sample's number and how it is drawn, not on how many others there are.
    """

    def without_numbers(identity: dict[str, Any]) -> dict[str, Any]:
        # No other author wrote here, and older identities do not say who did.
        fixed = {"questions": None, "author": None}
        return identity | fixed | {"sampling": identity["sampling"] | {"samples": None}}

    found: dict[tuple[str, int], dict[str, Any]] = {}
    for kept in kept_artifacts(out, kinds.ROLLOUTS):
        if without_numbers(kept.identity) == without_numbers(identity):
            found |= {(row["question_id"], row["sample"]): row for row in kept.read().iter_rows(named=True)}
    return found


def requested(
    asked: pl.DataFrame, engine: Engine, form: Format, sampling: Sampling
) -> tuple[list[tuple[str, int, GenerateRequest]], list[Reject]]:
    """Return question, sample and request of each response to generate, and a reject for each that is impossible."""

    def prompt_of(row: tuple[str, str]) -> tuple[str, list[int]]:
        question_id, question = row
        prompt = encode_prompt(engine.tokenizer, prompt_text(form, question))
        if len(prompt) >= engine.context_length:
            raise BadRow(f"the prompt has {len(prompt)} tokens, the model's context length is {engine.context_length}")
        return question_id, prompt

    rows = asked.select("question_id", "question").rows()
    prompts, rejects = kept_and_rejected(enumerate(rows), prompt_of, lambda row: row[0])
    if prompts:
        first = next(question for question_id, question in rows if question_id == prompts[0][0])
        log.info("the first prompt, as the model sees it:\n%s", prompt_text(form, first))
    wanted = []
    for question_id, prompt in prompts:
        for sample in range(sampling.samples):
            seed = int(short_id(sampling.seed, question_id, sample), 16)
            wanted.append((question_id, sample, GenerateRequest(prompt, sampling.max_tokens, seed)))
    return wanted, [reject for reject in rejects for _ in range(sampling.samples)]


def _generate(
    engine: Engine, requests: list[GenerateRequest], sampling: Sampling, out: Path, fingerprint: str
) -> list[dict[str, Any]]:
    progress = Progress(len(requests), "responses")
    return run_batches(
        out,
        fingerprint,
        engine.generate_batches(requests),
        pa.schema([kinds.ROLLOUTS.schema.field(name) for name in _BATCH_COLUMNS]),
        lambda batch: [asdict(g) for g in engine.generate([requests[i] for i in batch], sampling, progress.add)],
        lambda batch: progress.skip(len(batch)),
    )


def rollout(
    card: Card,
    tokenizer: "PreTrainedTokenizerBase",
    form: Format,
    question_id: str,
    sample: int,
    found: dict[str, Any],
) -> dict[str, Any]:
    """Return the row of a response: its text without the format's glue, its tokens with it."""
    text, answer_start = parse_response(form, decode_generated(tokenizer, found["token_ids"]))
    return {
        "rollout_id": short_id(card.name, question_id, sample, text),
        "question_id": question_id,
        "sample": sample,
        "text": text,
        "answer_start": answer_start,
        **found,
    }


if __name__ == "__main__":
    command.run(sample_rollouts, alone=True)
