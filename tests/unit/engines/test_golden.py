"""Golden sentence probabilities of a real pretrained model, computed by a plain loop (benchmarks/plain_loop.py)."""

from itertools import pairwise

import numpy as np
import pytest

from distrace.engines import load_engine
from distrace.models import folder_card
from distrace.settings import Execution, ModelSettings
from distrace.text.alignment import owners
from distrace.text.splitting import split
from golden import MODEL, golden_requests, golden_rows, needs_model, score_all


@needs_model
def test_sentence_probabilities_of_real_responses_equal_the_plain_loop():
    engine = load_engine(folder_card("smollm2", str(MODEL)), ModelSettings(), Execution(), "score")
    aligned, requests = golden_requests(engine.tokenizer)
    scores, rows = score_all(engine, requests), golden_rows()
    assert len(rows) == 20
    for row, tokens, score in zip(rows, aligned, scores, strict=True):
        bounds = split(row["text"], "sentences")
        owner = owners(tokens.starts[tokens.scored], tokens.ends[tokens.scored], np.array(bounds))
        found = [np.exp(score.logprobs[owner == sentence].mean()) for sentence, _ in enumerate(pairwise(bounds))]
        assert found == pytest.approx(row["probabilities"], abs=1e-4)
