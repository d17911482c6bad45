"""From final hidden states to logits, and from logits to log-probs and ranks.

Logits are the largest tensors of all: a row is as long as the vocabulary. So they are computed for the states that
predict a scored token only, a bounded number of rows at a time, and memory does not grow with the response's length
times the vocabulary.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distrace.engines.requests import MAX_RANK

CPU_LOGITS_BYTES = 24 * 2**20  # of logits held at once; from 32 MiB on, glibc returns them to the system
GPU_LOGITS_BYTES = 128 * 2**20
CPU_BLOCK_BYTES = 2 * 2**20  # of logits read at once on CPU, so that they stay in its cache: four times as fast

Head = Callable[[torch.Tensor], torch.Tensor]


def head_of(model: PreTrainedModel) -> Head:
    """Return the function from final hidden states [rows, hidden size] to logits [rows, vocabulary].

    It is the model's own forward with the part below the head taken out, so that whatever an architecture does to its
    logits (Gemma's soft cap, Cohere's and Granite's scales) is done here, too.
    """
    shell = copy.copy(model)
    shell._modules = model._modules | {model.base_model_prefix: _Echo()}
    forward = type(model).forward  # not the instance's, which accelerate binds to the whole model

    def head(states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = forward(shell, inputs_embeds=states[None], use_cache=False).logits
        return logits[0]

    return head


class _Echo(torch.nn.Module):
    """A stand-in for the layers below the head: its final states are those that it is given."""

    def forward(self, input_ids: None = None, inputs_embeds: torch.Tensor | None = None, **_: object) -> "_States":
        return _States(inputs_embeds)


class _States:
    """Final states, and None for all else that an architecture passes on (caches, attentions, router logits...)."""

    def __init__(self, states: torch.Tensor | None):
        self.last_hidden_state = states

    def __getattr__(self, name: str) -> None:
        return None

    def __getitem__(self, index: int) -> torch.Tensor | None:
        return (self.last_hidden_state,)[index]


def rows_at_once(vocabulary: int, dtype: torch.dtype, device: torch.device) -> int:
    """Return on how many states the head is run at once."""
    held = CPU_LOGITS_BYTES if device.type == "cpu" else GPU_LOGITS_BYTES
    return max(1, held // (dtype.itemsize * vocabulary))


def read_logprobs(
    head: Head, hidden: torch.Tensor, places: NDArray[np.int64], targets: NDArray[np.int64], rows: int, top: int = 0
) -> list[NDArray[Any]]:
    """Return log-probs and ranks of target tokens, each under the logits of the hidden state at its place.

    `hidden` is [rows of the batch, hidden size]; `places` index its rows, `targets` are token ids, both [tokens]. With
    `top`, two more arrays follow: the mass of so many most probable tokens, and their squares (`requests.Score`).
    """
    types = (np.float32, np.int16, np.float32, np.float32) if top else (np.float32, np.int16)
    columns: list[NDArray[Any]] = [np.empty(len(places), dtype) for dtype in types]
    for start in range(0, len(places), rows):
        part = slice(start, start + rows)
        states = hidden[torch.from_numpy(places[part]).to(hidden.device)]
        found = _read_rows(head(states), torch.from_numpy(targets[part])[:, None], top)
        for column, values in zip(columns, found, strict=True):
            column[part] = values
    return columns


def _read_rows(logits: torch.Tensor, targets: torch.Tensor, top: int) -> list[NDArray[Any]]:
    """Return what `read_logprobs` does for targets [rows, 1] and logits [rows, vocabulary], in blocks of rows."""
    rows = len(logits) if logits.is_cuda else max(1, CPU_BLOCK_BYTES // (4 * logits.shape[1]))
    blocks = zip(torch.split(logits, rows), torch.split(targets.to(logits.device), rows), strict=True)
    columns = zip(*(_read_block(block.float(), target, top) for block, target in blocks), strict=True)
    return [torch.cat(values).cpu().numpy() for values in columns]


def _read_block(logits: torch.Tensor, targets: torch.Tensor, top: int) -> list[torch.Tensor]:
    above = torch.gt(logits, logits.gather(1, targets), out=torch.empty_like(logits))  # 1.0 where above, else 0.0
    ranks = (1 + above.sum(1)).clamp(max=MAX_RANK)
    logprobs = logits.log_softmax(1)
    found = [logprobs.gather(1, targets)[:, 0], ranks]
    if top:
        kept = logprobs.topk(min(top, logprobs.shape[1])).values.exp()
        masses = kept.sum(1)
        found += [masses, (kept / masses[:, None]).square().sum(1)]
    return found
