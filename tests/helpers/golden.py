"""Real responses of a real pretrained model, for tests of engines."""

import json
import os
from pathlib import Path

import pytest

from distrace.engines.requests import Score, ScoreRequest
from distrace.settings import ModelSettings
from distrace.text.alignment import Aligned, encode_prompt, encode_response
from distrace.text.prompts import load_format, prompt_text, response_pieces

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples/smollm2-gsm8k/model"
GOLDEN = ROOT / "tests/golden/smollm2_gsm8k.jsonl"

needs_model = pytest.mark.skipif(
    not MODEL.is_dir() and os.environ.get("CI") != "true",
    reason="needs SmolLM2: python examples/smollm2-gsm8k/fetch.py",
)


def golden_rows() -> list[dict]:
    """Return question, text and the probabilities of the text's sentences, by the plain loop."""
    return [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]


def golden_requests(tokenizer) -> tuple[list[Aligned], list[ScoreRequest]]:
    """Return the aligned tokens of each row's response, and the request that scores them."""
    form = load_format(ModelSettings(format="chat"), tokenizer)
    rows = golden_rows()
    aligned = [encode_response(tokenizer, response_pieces(form, row["text"], 0)) for row in rows]
    prompts = [encode_prompt(tokenizer, prompt_text(form, row["question"])) for row in rows]
    requests = [
        ScoreRequest(prompt, tokens.token_ids.tolist(), tokens.scored)
        for prompt, tokens in zip(prompts, aligned, strict=True)
    ]
    return aligned, requests


def score_all(engine, requests: list[ScoreRequest]) -> list[Score]:
    """Return the scores of all requests, in order, batch by batch as the engine divides them."""
    scores = {
        i: score
        for batch in engine.score_batches(requests)
        for i, score in zip(batch, engine.score([requests[i] for i in batch]), strict=True)
    }
    return [scores[i] for i in range(len(requests))]
