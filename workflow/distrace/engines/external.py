"""What engines share that hand sequences to another program (vLLM, a server) and read what it answers."""

import numpy as np
from transformers import GenerationConfig, PreTrainedTokenizerBase

from distrace.engines.requests import MAX_RANK, Generated, GenerateRequest, Score, ScoreRequest, scored_places
from distrace.errors import DistraceError
from distrace.models import Card

# Of one batch, so that what comes back for each token is never held for all responses at once.
BATCH_TOKENS = 2**16
BATCH_ROWS = 256
IMPOSSIBLE = -9999.0  # what vLLM's server writes for minus infinity, which JSON cannot hold


def sent(request: ScoreRequest) -> list[int]:
    """Return the tokens to send: all up to the last scored one, none where nothing is scored.

    Raises ValueError if the first of all tokens is to be scored.
    """
    places = scored_places(request)
    if not len(places):
        return []
    if places[0] == 0:
        raise ValueError("a scored token needs at least one token before it")
    return (request.prompt + request.response)[: places[-1] + 1]


def require_no_top(name: str, top: int) -> None:
    """Raise DistraceError, with the model's name, if the probabilities of the most probable tokens are asked for."""
    if top:
        raise DistraceError(
            f"model {name!r}: only engine 'transformers' tells the probabilities of the {top} most probable tokens"
        )


def score_of(name: str, request: ScoreRequest, logprobs: list[float | None], ranks: list[int] | None) -> Score:
    """Return the score of a request from the log-probs and ranks of all tokens sent, in order.

    Raises DistraceError, with the model's name, if a scored token has no log-prob, or an infinite one.
    """
    places = scored_places(request)
    found = np.array([logprobs[place] for place in places], np.float32)  # null becomes NaN
    wrong = np.flatnonzero(~(found > IMPOSSIBLE) | (found == np.inf))
    if len(wrong):
        raise DistraceError(
            f"model {name!r}: token {places[wrong[0]]} of a sequence of {len(logprobs)} has the log-prob "
            f"{logprobs[places[wrong[0]]]}; a token of a response cannot be impossible"
        )
    if ranks is None:
        return Score(found, None)
    return Score(found, np.minimum([ranks[place] for place in places], MAX_RANK).astype(np.int16).reshape(-1))


def score_batches(requests: list[ScoreRequest]) -> list[list[int]]:
    """Return the indices of the requests in batches within `BATCH_TOKENS` and `BATCH_ROWS`, the longest first.

    A request longer than that is a batch of its own.
    """
    lengths = [len(sent(request)) for request in requests]
    found: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not found or lengths[index] > room or len(found[-1]) == BATCH_ROWS:
            found.append([])
            room = BATCH_TOKENS
        found[-1].append(index)
        room -= lengths[index]
    return found


def generate_batches(requests: list[GenerateRequest]) -> list[list[int]]:
    """Return the indices of the requests in batches of `BATCH_ROWS`, longest prompts first.

    Many, so that the other program has enough to do at once.
    """
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), requests[i].prompt))
    return [order[start : start + BATCH_ROWS] for start in range(0, len(order), BATCH_ROWS)]


def seed_of(request: GenerateRequest) -> int:
    """Return the request's seed as a number of 63 bits: vLLM and the servers take signed ones of 64."""
    return request.seed % 2**63


def end_tokens(card: Card, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens that end a response: those of the generation config, if there is one, and of the tokenizer."""
    try:
        ends = GenerationConfig.from_pretrained(card.location, revision=card.revision or "main").eos_token_id
    except OSError:  # the model has no generation config
        ends = None
    ends = ends if isinstance(ends, list) else [ends]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def generated(name: str, token_ids: list[int], logprobs: list[float], reason: object, ends: set[int]) -> Generated:
    """Return a response without its end token, from all tokens drawn and their log-probs.

    Raises DistraceError, with the model's name, if the response neither ended by itself nor was cut at its limit, or
    if a token has no finite log-prob.
    """
    if reason not in ("stop", "length"):
        raise DistraceError(f"model {name!r}: a response ended with {reason!r}, neither by itself nor at its limit")
    if len(logprobs) != len(token_ids):
        raise DistraceError(f"model {name!r}: a response of {len(token_ids)} tokens has {len(logprobs)} log-probs")
    length = len(token_ids) - (reason == "stop" and token_ids[-1:] != [] and token_ids[-1] in ends)
    found = np.array(logprobs[:length], np.float32)
    if not np.isfinite(found).all() or (found <= IMPOSSIBLE).any():
        raise DistraceError(f"model {name!r}: a token that it drew has no finite log-prob")
    return Generated(list(token_ids[:length]), found, str(reason))
