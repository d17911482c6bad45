"""Golden sentence probabilities of a real pretrained model, computed by a plain loop (benchmarks/plain_loop.py)."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from distrace.alignment import encode_prompt, encode_response, owners
from distrace.engines import load_engine
from distrace.engines.requests import ScoreRequest
from distrace.models import folder_card
from distrace.prompts import load_format, prompt_text, response_pieces
from distrace.settings import Execution, ModelSettings
from distrace.splitting import split

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples/smollm2-gsm8k/model"
GOLDEN = ROOT / "tests/golden/smollm2_gsm8k.jsonl"

needs_model = pytest.mark.skipif(
    not MODEL.is_dir() and os.environ.get("CI") != "true",
    reason="needs SmolLM2: python examples/smollm2-gsm8k/fetch.py",
)


@needs_model
def test_sentence_probabilities_of_real_responses_equal_the_plain_loop():
    rows = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    settings = ModelSettings(format="chat")
    engine = load_engine(folder_card("smollm2", str(MODEL)), settings, Execution())
    form = load_format(settings, engine.tokenizer)
    aligned = [encode_response(engine.tokenizer, response_pieces(form, row["text"], 0)) for row in rows]
    requests = [
        ScoreRequest(
            encode_prompt(engine.tokenizer, prompt_text(form, row["question"])), a.token_ids.tolist(), a.scored
        )
        for row, a in zip(rows, aligned, strict=True)
    ]
    scores = {
        i: s
        for batch in engine.score_plan(requests)
        for i, s in zip(batch, engine.score([requests[i] for i in batch]), strict=True)
    }
    assert len(rows) == 20
    for number, (row, tokens) in enumerate(zip(rows, aligned, strict=True)):
        bounds = split(row["text"], "sentences")
        owner = owners(tokens.starts[tokens.scored], tokens.ends[tokens.scored], np.array(bounds))
        found = [
            np.exp(scores[number].logprobs[owner == sentence].mean()) for sentence, _ in enumerate(pairwise(bounds))
        ]
        assert found == pytest.approx(row["probabilities"], abs=1e-4)
