"""Generating responses side by side, each with a random stream of its own.

The uniform number at which a token is drawn follows from the response's seed and the token's position alone. So a
response does not depend on what it was batched with, but for rounding in the model itself. Where the model allows it
(`slots.py`), responses that wait take the rows of those that have ended; otherwise these leave the batch.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from distrace.engines.requests import Generated, GenerateRequest, Tick, token_limit
from distrace.engines.transformers.continuations import Continuations
from distrace.engines.transformers.logits import Head
from distrace.engines.transformers.sampling import draw
from distrace.engines.transformers.slots import Slots
from distrace.settings import Sampling

FINISHED_SHARE = 1 / 8  # of the rows, before those that remain are copied together
REFILLED_SHARE = 1 / 16  # of the rows, before they are refilled: prompts are read faster together

Read = Callable[[list[list[int]]], Continuations | Slots]
Step = Callable[["list[Draft]", torch.Tensor], torch.Tensor]


@dataclass
class Draft:
    """A response that is being written; `finish_reason` is empty as long as it is."""

    request: GenerateRequest
    limit: int  # tokens
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""
    stream: np.random.Generator = field(init=False)

    def begin(self) -> list[int]:
        """Return the tokens to go on from, and put the random stream where the next token needs it."""
        self.stream = np.random.Generator(np.random.Philox(key=self.request.seed))
        self.stream.random(len(self.token_ids))
        return self.request.prompt + self.token_ids

    def add(self, token: int, logprob: float, ends: set[int]) -> None:
        """Append a token, or finish at one of `ends`."""
        if token in ends:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        if len(self.token_ids) == self.limit:
            self.finish_reason = "length"

    def generated(self) -> Generated:
        """Return the finished response."""
        return Generated(self.token_ids, np.array(self.logprobs, np.float32), self.finish_reason)


def drafts_of(requests: list[GenerateRequest], context_length: int) -> list[Draft]:
    """Return an empty draft for each request, to be written up to its `max_tokens` or the context length."""
    return [Draft(request, token_limit(request, context_length)) for request in requests]


@torch.inference_mode()
def write(
    drafts: list[Draft],
    at_once: int,
    read: Read,
    head: Head,
    sampling: Sampling,
    ends: set[int],
    tick: Tick | None = None,
) -> None:
    """Write each draft that is not finished up to its limit or to a token of `ends`, `at_once` of them side by side."""
    step = partial(_step, head=head, sampling=sampling, ends=ends, tick=tick)
    waiting = deque(draft for draft in drafts if not draft.finish_reason)
    while waiting:
        rows = _next(waiting, at_once)
        # Not bound to a name, so that its memory is free before the next prompts are read.
        _write_rows(rows, waiting, read([draft.begin() for draft in rows]), step)


def _write_rows(rows: list[Draft], waiting: deque[Draft], continuations: Continuations | Slots, step: Step) -> None:
    """Write drafts, one in each row, to their ends; where rows are refilled, also those that wait."""
    while True:
        chosen = step(rows, continuations.states)
        if all(draft.finish_reason for draft in rows):
            return
        refilling = continuations.refills and bool(waiting)
        keep = list(range(len(rows))) if refilling else _remaining(rows)
        rows = [rows[row] for row in keep]
        continuations.advance(chosen, keep)
        if refilling:
            _refill(rows, waiting, continuations)


def _step(
    rows: list[Draft], states: torch.Tensor, head: Head, sampling: Sampling, ends: set[int], tick: Tick | None
) -> torch.Tensor:
    """Draw a token for each row from its state [rows, hidden size], and add it to its draft; return the tokens."""
    uniforms = np.array([draft.stream.random() for draft in rows])
    chosen, logprobs = draw(head(states).float(), sampling, uniforms)
    ended = _extend(rows, chosen.tolist(), logprobs.tolist(), ends)
    if tick:
        tick(len(ended), sum(ended))
    return chosen


def _next(waiting: deque[Draft], count: int) -> list[Draft]:
    """Remove up to `count` drafts from those that wait, and return them."""
    return [waiting.popleft() for _ in range(min(count, len(waiting)))]


def _extend(rows: list[Draft], tokens: list[int], logprobs: list[float], ends: set[int]) -> list[bool]:
    """Add to each unfinished draft its token; return for each of these drafts whether that was its end."""
    ended = []
    for draft, token, logprob in zip(rows, tokens, logprobs, strict=True):
        if not draft.finish_reason:
            draft.add(token, logprob, ends)
            ended.append(bool(draft.finish_reason))
    return ended


def _remaining(rows: list[Draft]) -> list[int]:
    """Return the rows to go on with: the unfinished, or all while so few are finished that copying costs more."""
    unfinished = [row for row, draft in enumerate(rows) if not draft.finish_reason]
    return unfinished if len(rows) - len(unfinished) >= FINISHED_SHARE * len(rows) else list(range(len(rows)))


def _refill(rows: list[Draft], waiting: deque[Draft], continuations: Continuations | Slots) -> None:
    """Replace finished drafts in `rows` by drafts that wait, once enough are finished."""
    finished = [row for row, draft in enumerate(rows) if draft.finish_reason]
    if len(finished) < REFILLED_SHARE * len(rows):
        return
    fresh = _next(waiting, len(finished))
    for row, draft in zip(finished, fresh, strict=False):
        rows[row] = draft
    continuations.refill(finished[: len(fresh)], [draft.begin() for draft in fresh])
