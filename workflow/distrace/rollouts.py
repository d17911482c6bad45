"""The rollouts node: an author answers each question of a part, `samples` times.

Every response has a seed of its own, which follows from the run's seed, the question and the number of the sample; so
more questions, or other parts, do not change the responses there are.
Run by the workflow as
`python -m distrace.rollouts --questions FILE --model FILE --settings JSON --sampling JSON --execution JSON --out FILE`.
"""

import logging
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pyarrow as pa

from distrace import artifacts, command
from distrace.alignment import AlignmentError, decode_generated, encode_prompt
from distrace.batches import Progress, forget_batches, run_batches
from distrace.engines import load_engine
from distrace.engines.requests import GenerateRequest
from distrace.identity import NODE_VERSIONS, short_id
from distrace.models import Card, read_card
from distrace.prompts import Format, load_format, parse_response, prompt_text
from distrace.rows import BadRow
from distrace.settings import Execution, ModelSettings, Sampling

log = logging.getLogger(__name__)

_BATCH_COLUMNS = ("token_ids", "logprobs", "finish_reason")


def sample_rollouts(
    questions: Path, model: Path, settings: ModelSettings, sampling: Sampling, execution: Execution, out: Path
) -> None:
    """Write the responses of a model to a part of questions; a prompt that leaves no room to answer is rejected."""
    asked = artifacts.read(questions, "questions", ["question_id", "question"])
    card = read_card(model)
    identity = {
        "version": NODE_VERSIONS["rollouts"],
        "questions": artifacts.metadata(questions).fingerprint,
        "model": card.fingerprint,
        "settings": asdict(settings),
        "sampling": asdict(sampling),
    }
    engine = load_engine(card, settings, execution)
    form = load_format(settings, engine.tokenizer)
    wanted, requests, rejects = requested(asked, engine, form, sampling)
    generated = _generate(engine, requests, sampling, out, artifacts.fingerprint_of("rollouts", identity))
    rows = [
        rollout(card, engine.tokenizer, form, question_id, sample, found)
        for (question_id, sample), found in zip(wanted, generated, strict=True)
    ]
    artifacts.write_with_rejects(out, "rollouts", rows, rejects, identity, len(asked) * sampling.samples)
    forget_batches(out)


def requested(
    asked: pl.DataFrame, engine, form: Format, sampling: Sampling
) -> tuple[list[tuple[str, int]], list[GenerateRequest], list[dict]]:
    """Give question and sample of each response to generate, its request, and the rejects."""
    wanted, requests, rejects = [], [], []
    for row, (question_id, question) in enumerate(asked.select("question_id", "question").iter_rows()):
        try:
            text = prompt_text(form, question)
            prompt = encode_prompt(engine.tokenizer, text)
            if len(prompt) >= engine.window:
                raise BadRow(f"the prompt has {len(prompt)} tokens, the model's window {engine.window}")
        except (AlignmentError, BadRow) as error:
            rejects += [{"source": question_id, "row": row, "reason": str(error)}] * sampling.samples
            continue
        if not requests:
            log.info("the first prompt, as the model sees it:\n%s", text)
        for sample in range(sampling.samples):
            wanted.append((question_id, sample))
            seed = int(short_id(sampling.seed, question_id, sample), 16)
            requests.append(GenerateRequest(prompt, sampling.max_tokens, seed))
    return wanted, requests, rejects


def _generate(engine, requests: list[GenerateRequest], sampling: Sampling, out: Path, fingerprint: str) -> list[dict]:
    schema = artifacts.SCHEMAS["rollouts"]
    progress = Progress(len(requests), "responses")
    return run_batches(
        out,
        fingerprint,
        engine.generate_plan(requests),
        pa.schema([schema.field(name) for name in _BATCH_COLUMNS]),
        lambda batch: [asdict(g) for g in engine.generate([requests[i] for i in batch], sampling, progress.add)],
        lambda batch: progress.skip(len(batch)),
    )


def rollout(card: Card, tokenizer, form: Format, question_id: str, sample: int, found: dict) -> dict:
    """Give the row of a response: the text without the format's glue, and the tokens with it."""
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
    command.run(sample_rollouts)
