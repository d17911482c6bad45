"""Generating responses side by side, each with a random stream of its own.

The uniform number at which a token is drawn follows from the response's seed and the token's position alone. So a
response does not depend on what it was batched with, but for rounding in the model itself. Finished responses leave
the batch.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel

from distrace.engines.requests import Generated, GenerateRequest, Tick, token_limit
from distrace.engines.transformers.continuations import Continuations
from distrace.engines.transformers.logits import Head
from distrace.engines.transformers.sampling import draw
from distrace.settings import Sampling

FINISHED_SHARE = 1 / 8  # of the rows, before those that remain are copied together


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    head: Head,
    requests: list[GenerateRequest],
    sampling: Sampling,
    context_length: int,
    ends: set[int],
    tick: Tick | None = None,
) -> list[Generated]:
    """Return a sampled response to each request, up to its `max_tokens`, the context length or a token of `ends`."""
    drafts = [
        _Draft(token_limit(request, context_length), np.random.Generator(np.random.Philox(key=request.seed)))
        for request in requests
    ]
    rows = drafts  # the draft that each row of the batch belongs to
    continuations = Continuations(model, [request.prompt for request in requests])
    while True:
        uniforms = np.array([draft.stream.random() for draft in rows])
        chosen, logprobs = draw(head(continuations.states).float(), sampling, uniforms)
        ended = _extend(rows, chosen.tolist(), logprobs.tolist(), ends)
        if tick:
            tick(len(ended), sum(ended))
        if all(draft.finish_reason for draft in rows):
            return [Generated(d.token_ids, np.array(d.logprobs, np.float32), d.finish_reason) for d in drafts]
        keep = _remaining(rows)
        rows = [rows[row] for row in keep]
        continuations.advance(chosen, keep)


@dataclass
class _Draft:
    """A response that is being written; `finish_reason` is empty as long as it is."""

    limit: int  # tokens
    stream: np.random.Generator
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""

    def add(self, token: int, logprob: float, ends: set[int]) -> None:
        """Append a token, or finish at one of `ends`."""
        if token in ends:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        if len(self.token_ids) == self.limit:
            self.finish_reason = "length"


def _extend(rows: list[_Draft], tokens: list[int], logprobs: list[float], ends: set[int]) -> list[bool]:
    """Add to each unfinished draft its token; return for each of these drafts whether that was its end."""
    ended = []
    for draft, token, logprob in zip(rows, tokens, logprobs, strict=True):
        if not draft.finish_reason:
            draft.add(token, logprob, ends)
            ended.append(bool(draft.finish_reason))
    return ended


def _remaining(rows: list[_Draft]) -> list[int]:
    """Return the rows to go on with: the unfinished, or all while so few are finished that copying costs more."""
    unfinished = [row for row, draft in enumerate(rows) if not draft.finish_reason]
    return unfinished if len(rows) - len(unfinished) >= FINISHED_SHARE * len(rows) else list(range(len(rows)))
