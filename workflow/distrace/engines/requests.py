"""What goes into an engine and what comes out: token ids in, natural-log probabilities out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_RANK = 100

# Called while a batch is generated: with the tokens that are new, and with the responses that have ended, since the
# last call.
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoreRequest:
    """A response to score given a prompt; `scored` marks the response tokens whose log-probs are wanted."""

    prompt: list[int]
    response: list[int]
    scored: NDArray[np.bool_]  # one for each token of the response


def scored_places(request: ScoreRequest) -> NDArray[np.int64]:
    """Return the places of the scored tokens in prompt and response together, counted from 0."""
    return len(request.prompt) + np.flatnonzero(request.scored)


@dataclass(frozen=True)
class Score:
    """Natural-log probabilities and ranks of the scored tokens, in order.

    A rank is 1 + the number of vocabulary logits strictly above the token's own, at most `MAX_RANK`; None where an
    engine cannot tell. `top_masses` is the probability that the most probable tokens of the vocabulary have together,
    and `top_squares` the sum of their squared probabilities once these are scaled to add up to 1; None where they were
    not asked for.
    """

    logprobs: NDArray[np.float32]
    ranks: NDArray[np.int16] | None
    top_masses: NDArray[np.float32] | None = None
    top_squares: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class GenerateRequest:
    """A prompt to answer with at most `max_tokens` tokens; what is drawn follows from `seed`, not from its batch."""

    prompt: list[int]
    max_tokens: int
    seed: int


def token_limit(request: GenerateRequest, context_length: int) -> int:
    """Return the most tokens that a response may have: what is asked for, or what the context length leaves."""
    return min(request.max_tokens, context_length - len(request.prompt))


@dataclass(frozen=True)
class Generated:
    """A response without its end token.

    Its log-probs are natural logs of the model's own probabilities: at temperature 1, before top-k and top-p.
    """

    token_ids: list[int]
    logprobs: NDArray[np.float32]  # one for each token
    finish_reason: str  # "stop": the model ended it; "length": it was cut
