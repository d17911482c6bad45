"""Many sequences in one row, without padding, each shared beginning once.

Responses to one question begin with the same prompt, and often with the same words. `pack` lays sequences out as a
tree: in sorted order, each begins where it parts from the one before. Of [1 2 3 4], [1 2 3 5 6] and [1 2 7]:

    1 - 2 - 3 - 4             row        1 2 3 4 5 6 7     token ids
        |   +-- 5 - 6         positions  0 1 2 3 3 4 2     of each token in its own sequence
        +-- 7                 paths      0 1 2 3           where in the row the tokens of each sequence lie
                                         0 1 2   4 5
                                         0 1         6
                              owned      0-3, 4-5, 6       the end of each path, which no path before it has

All that a model does token by token then runs once per distinct token. Only attention looks at more than one token, so
it alone needs to know the tree: `packed_attention` gathers each sequence from the row and attends within it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

PACKED = "distrace_packed"
CPU_QUERIES = 128  # tokens that attend at once on a CPU: its kernel looks at all keys up to the last of them


@dataclass(frozen=True)
class Packed:
    """A row of tokens that holds several sequences, and for each, in the order given, where its tokens lie in it."""

    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]  # each token's position in its own sequence
    paths: list[NDArray[np.int64]]  # one index into the row for each token of the sequence
    owned: list[slice]  # where the tokens lie, at the end of each path, that no path before it has


def pack(sequences: list[list[int]]) -> Packed:
    """Return the sequences in one row, each common beginning once."""
    token_ids: list[int] = []
    positions: list[int] = []
    paths = [np.empty(0, np.int64)] * len(sequences)
    owned = [slice(0)] * len(sequences)
    previous: list[int] = []
    path = np.empty(0, np.int64)
    for index in sorted(range(len(sequences)), key=sequences.__getitem__):
        sequence = sequences[index]
        shared = common_prefix(previous, sequence)
        owned[index] = slice(len(token_ids), len(token_ids) + len(sequence) - shared)
        path = np.concatenate([path[:shared], np.arange(owned[index].start, owned[index].stop)])
        token_ids += sequence[shared:]
        positions += range(shared, len(sequence))
        paths[index], previous = path, sequence
    return Packed(np.array(token_ids), np.array(positions), paths, owned)


def common_prefix(one: list[int], other: list[int]) -> int:
    """Return the number of tokens with which both sequences begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed_paths: list[tuple[torch.Tensor | slice, slice]],
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return [1, tokens, heads, head size], what each token of a packed row attends to within its sequence.

    `query`, `key` and `value` are [1, heads, tokens, head size]; `packed_paths` are of `attention_paths`. A shared
    token attends once, as part of the first sequence that has it: what it attends to comes before it, and is shared.
    transformers calls this with each layer's own `options` and wants a pair; None stands for the attention weights.
    """
    output = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
    for path, owned in packed_paths:
        queries, keys, values = (tensor[:, :, path] for tensor in (query, key, value))
        attended = _attended(module, queries, keys, values, owned.stop - owned.start, options)
        if len(packed_paths) == 1:
            return attended, None
        output[:, owned] = attended
    return output, None


def _attended(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    own: int,
    options: dict[str, Any],
) -> torch.Tensor:
    """Return [1, own, heads, head size], what the last `own` tokens of one sequence attend to.

    `query`, `key` and `value` are [1, heads, length, head size], of the whole sequence.
    """
    length = key.shape[2]
    window = min(options.get("sliding_window") or length, length)
    on_cpu = query.device.type == "cpu"
    if window == length and 2 * own >= length and (length <= CPU_QUERIES or not on_cpu):
        # Most tokens are own: to let all attend and keep the last is faster than a mask.
        attended, _ = sdpa_attention_forward(module, query, key, value, None, **options)
        return attended[:, -own:]
    if not on_cpu:  # kernels of GPUs that take a mask want as many heads of keys as of queries
        key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], 1) for tensor in (key, value))
    at_once = min(window, CPU_QUERIES) if on_cpu else window
    parts = [
        _attended_by(slice(start, min(start + at_once, length)), query, key, value, window, options.get("scaling"))
        for start in range(length - own, length, at_once)
    ]
    return torch.cat(parts, 2).transpose(1, 2)


def _attended_by(
    queries: slice, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int, scale: float | None
) -> torch.Tensor:
    """Return [1, heads, queries, head size], what these tokens of a sequence attend to under a sliding window.

    Keys before the window of the first of the queries are left out:

        tokens    0 ..... first ........ start ........ stop ...
        queries                          [             )
        keys              [                            )         first = start - window + 1
    """
    first = max(0, queries.start - window + 1)
    places = torch.arange(first, queries.stop, device=query.device)
    behind = places[queries.start - first :, None] - places  # [queries, keys]: how far each key lies behind each query
    return scaled_dot_product_attention(
        query[:, :, queries],
        key[:, :, first : queries.stop],
        value[:, :, first : queries.stop],
        attn_mask=(behind >= 0) & (behind < window),
        scale=scale,
        enable_gqa=query.device.type == "cpu",
    )


def attention_paths(packed: Packed, device: torch.device) -> list[tuple[torch.Tensor | slice, slice]]:
    """Return for each sequence that has tokens of its own where all its tokens lie in the row, and where its own do.

    Where all are its own, they lie together, and a slice says so without a copy.
    """
    return [
        (owned if len(path) == owned.stop - owned.start else torch.from_numpy(path).to(device), owned)
        for path, owned in zip(packed.paths, packed.owned, strict=True)
        if owned.stop > owned.start
    ]


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Run the model, within this context, with another implementation of attention."""
    before = model.config._attn_implementation
    model.config._attn_implementation = implementation
    try:
        yield
    finally:
        model.config._attn_implementation = before


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda **_: None)
