"""What is checked before an engine is used: its log-probs against the model's own full forward pass.

Scoring takes a model apart (layers without the head, another attention, feed-forward layers in parts), and generation
relies on the cache it is given. An architecture that any of this does not suit computes other numbers without failing.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distrace.engines import Purpose
from distrace.engines.requests import ScoreRequest, scored_places
from distrace.engines.transformers.cpu import faster_on_cpu
from distrace.engines.transformers.engine import TransformersEngine
from distrace.errors import DistraceError
from distrace.settings import Execution

log = logging.getLogger(__name__)

# The largest mean difference of a log-prob (nats per token) that counts as rounding. The mean, since the largest of a
# few tokens is that of one token and depends on which tokens they are, while a wrong computation moves them all. In
# float32 the mean must keep what we promise of each token; rounding makes about 1e-6. Rounding to bfloat16 makes 0.04
# (measured), so 16-bit formats are allowed 0.1. A wrong computation is off by far more: packed, Mamba is off by 0.9.
FLOAT32_TOLERANCE = 1e-4
SIXTEEN_BIT_TOLERANCE = 0.1
CHECKED_PART = 5  # tokens that feed-forward layers see at once, so that the few tokens of the check make several parts
_PACKABLE_LAYERS = {"full_attention", "sliding_attention"}


def checked_engine(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    context_length: int,
    execution: Execution,
    purpose: Purpose,
) -> TransformersEngine:
    """Return an engine that computes the model's own log-probs: one that packs sequences, or else one that pads them.

    Raises DistraceError if padded sequences do not get the log-probs of the model's own forward pass or, where the
    purpose is to generate, if tokens run one by one do not.
    """
    build = partial(
        TransformersEngine,
        model,
        tokenizer,
        name=name,
        context_length=context_length,
        token_budget=execution.token_budget,
        faster=execution.faster_on_cpu,
    )
    engine = build(packs=False)
    _require(engine, "log-probs computed in parts", score_gap(engine))
    if _may_pack(model) and _works(packing := build(packs=True), "packed", score_gap):
        engine = packing
    if purpose == "score":
        return engine
    if engine.packs and _works(refilling := build(packs=True, refills=True), "with refilled rows", step_gap):
        return refilling
    _require(engine, "log-probs computed token by token", step_gap(engine))
    return engine


def _require(engine: TransformersEngine, what: str, gap: float) -> None:
    """Raise DistraceError if a difference from the model's own forward pass is more than rounding."""
    if gap <= tolerance(engine.model.dtype):
        return
    hint = " (perhaps it does with faster_on_cpu: false)" if engine.faster else ""
    raise DistraceError(
        f"model {engine.name!r} ({type(engine.model).__name__}): {what} differ by {gap:.2g} from the model's own "
        f"forward pass; the transformers engine does not support this architecture{hint}"
    )


def _may_pack(model: PreTrainedModel) -> bool:
    """Return whether the attention of all layers is one that `packed_attention` can stand in for."""
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or [])
    return model.config._attn_implementation == "sdpa" and layers <= _PACKABLE_LAYERS


def _works(engine: TransformersEngine, how: str, gap_of: Callable[[TransformersEngine], float]) -> bool:
    """Return whether an engine that replaces attention computes, but for rounding, what the model itself does."""
    try:
        gap = gap_of(engine)
    except Exception as error:  # an architecture's own code may fail in any way when its attention is replaced
        log.info("model %r cannot be run %s (%s): padding instead", engine.name, how, error)
        return False
    if gap > tolerance(engine.model.dtype):
        log.info("model %r %s differs by %.2g from its own forward pass: padding instead", engine.name, how, gap)
        return False
    return True


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest mean difference, in nats per token, that is taken for rounding in a number format."""
    return FLOAT32_TOLERANCE if dtype in (torch.float32, torch.float64) else SIXTEEN_BIT_TOLERANCE


@torch.inference_mode()
def score_gap(engine: TransformersEngine) -> float:
    """Return the mean difference, in nats per token, of an engine's scores from the model's own full forward pass.

    Three short sequences are scored, with a common prompt longer than the responses, so that `packed_attention` takes
    both of its ways.
    """
    vocabulary = engine.model.get_input_embeddings().get_parameter("weight").shape[0]
    tokens = np.random.default_rng(0).integers(0, vocabulary, 24).tolist()
    prompt, *responses = tokens[:12], tokens[12:15], tokens[15:19], tokens[19:]
    requests = [ScoreRequest(prompt, response, np.ones(len(response), bool)) for response in responses]
    # Inside, the engine leaves layers alone that run in parts already.
    with faster_on_cpu(engine.model, CHECKED_PART) if engine.faster else nullcontext():
        scores = engine.score_at_once(requests)
    gaps = []
    for request, score in zip(requests, scores, strict=True):
        ids = torch.tensor([prompt + request.response], device=engine.device)
        logits = engine.model(input_ids=ids, use_cache=False).logits[0].float()
        # Row p - 1 of the logits predicts the token at place p.
        expected = logits.log_softmax(1)[scored_places(request) - 1, request.response]
        gaps.append(np.abs(score.logprobs - expected.cpu().numpy()))
    return float(np.concatenate(gaps).mean())


@torch.inference_mode()
def step_gap(engine: TransformersEngine) -> float:
    """Return the mean difference in log-prob, in nats, between tokens run one by one, as in `write`, and run at once.

    Some architectures keep their state elsewhere than in the cache they are given, and would see one token at a time.
    """
    prompts, steps = [[1, 2, 3, 4], [5, 6]], torch.tensor([[7, 8], [9, 10]])
    sequences, keep = [[*prompts[1], *steps[:, 1].tolist()]], [1]  # the second row alone goes on
    continuations = engine.reader(len(prompts[0]) + len(steps))(prompts)
    continuations.advance(steps[0], [0, 1])
    if engine.refills:
        continuations.refill([0], [[11, 12, 13]])
        sequences, keep = [[11, 12, 13, 9], *sequences], [0, 1]
    continuations.advance(steps[1], keep)
    at_once, paths = engine.hidden(sequences)
    one_by_one, expected = (
        engine.head(states).float().log_softmax(1)
        for states in (continuations.states, at_once[[path[-1] for path in paths]])
    )
    return float((one_by_one - expected).abs().mean())
