"""Drawing tokens from logits.

A token is drawn by inverting the cumulative distribution, in vocabulary order and float64, at a uniform number. The
log-probs kept are those of the model: at temperature 1, before top-k and top-p.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from distrace.settings import Sampling

_CANDIDATES = 1024  # tokens looked at first for top-p; more where these do not hold enough


def draw(logits: torch.Tensor, sampling: Sampling, uniforms: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token for each row of logits [rows, vocabulary] (float32) at its uniform number in [0, 1).

    Temperature comes first, then top-k, then top-p (the fewest tokens that hold at least `top_p`), as transformers and
    vLLM do. Returns the tokens [rows] and their natural-log probabilities [rows] at temperature 1, without top-k and
    top-p.
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(1, keepdim=True)
    elif sampling.top_k or sampling.top_p < 1:
        candidates, weights = _candidates(logits, sampling)
        chosen = candidates.gather(1, _invert(weights, uniforms))
    else:
        chosen = _invert((logits.double() / sampling.temperature).softmax(1), uniforms)
    logprobs = logits.gather(1, chosen)[:, 0] - logits.logsumexp(1)
    return chosen[:, 0], logprobs


def _invert(weights: torch.Tensor, uniforms: NDArray[np.float64]) -> torch.Tensor:
    """Return the column [rows, 1] at which the cumulative weight of each row first exceeds its uniform share."""
    cumulative = weights.cumsum(1)
    targets = torch.from_numpy(uniforms).to(weights.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).clamp(max=weights.shape[1] - 1)


def _candidates(logits: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens [rows, n] that top-k and top-p may leave, in vocabulary order, and their weights (0: left out).

    Vocabulary order, since the order of near-equal probabilities turns on rounding.
    """
    vocabulary = logits.shape[1]
    width = min(sampling.top_k or _CANDIDATES, vocabulary)
    total = None if sampling.top_k else (logits.double() / sampling.temperature).logsumexp(1, keepdim=True)
    while True:
        top, tokens = logits.topk(width)
        top = top.double() / sampling.temperature
        weights = (top - (top.logsumexp(1, keepdim=True) if total is None else total)).exp()
        if sampling.top_k or width == vocabulary or bool((weights.sum(1) >= sampling.top_p).all()):
            break
        width = min(8 * width, vocabulary)
    # Weights fall along a row: a token is left out where those before it hold `top_p` already.
    weights = weights.masked_fill(weights.cumsum(1) - weights >= sampling.top_p, 0)
    order = tokens.argsort(1)
    return tokens.gather(1, order), weights.gather(1, order)
