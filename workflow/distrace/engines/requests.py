"""What an engine is asked and what it answers: token ids in, natural-log probabilities out."""

from dataclasses import dataclass

import numpy as np

MAX_RANK = 100


@dataclass(frozen=True)
class ScoreRequest:
    """A response to score given a prompt; `scored` marks the response tokens whose log-probs are wanted."""

    prompt: list[int]
    response: list[int]
    scored: np.ndarray  # bool, one for each token of the response


def scored_places(request: ScoreRequest) -> np.ndarray:
    """Give the places of the scored tokens in prompt and response together."""
    return len(request.prompt) + np.flatnonzero(request.scored)


@dataclass(frozen=True)
class Score:
    """Of the scored tokens, in order: natural-log probabilities and ranks.

    A rank is 1 + the number of vocabulary logits strictly above the token's own, clipped at `MAX_RANK`; None where an
    engine cannot tell.
    """

    logprobs: np.ndarray  # float32
    ranks: np.ndarray | None  # int16


@dataclass(frozen=True)
class GenerateRequest:
    """A prompt to answer with at most `max_tokens` tokens; what is drawn follows from `seed`, not from its batch."""

    prompt: list[int]
    max_tokens: int
    seed: int


def limit(request: GenerateRequest, window: int) -> int:
    """Give the most tokens of a response: what is asked for, or what the window leaves."""
    return min(request.max_tokens, window - len(request.prompt))


@dataclass(frozen=True)
class Generated:
    """A response without its end token; log-probs are those of the model itself, at temperature 1, unprocessed."""

    token_ids: list[int]
    logprobs: np.ndarray  # float32, one for each token
    finish_reason: str  # "stop": the model ended it; "length": it was cut
