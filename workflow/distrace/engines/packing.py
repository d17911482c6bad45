"""Many sequences in one row, without padding, each shared beginning once.

Candidates of one question begin with the same prompt, and often with the same words; windows of one response overlap.
`pack` lays sequences out as a tree: sorted, each begins where it parts from the one before. All that a model does token
by token then runs once per distinct token. Only attention looks at more than one token, so it alone needs to know the
tree: `packed_attention` gathers each sequence from the row and attends within it.
"""

from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

PACKED = "distrace_packed"
CPU_QUERIES = 128  # tokens that attend at once on a CPU: its kernel looks at all keys up to the last of them


@dataclass(frozen=True)
class Packed:
    """A row of tokens that holds several sequences, and for each, in the order given, where its tokens lie in it."""

    token_ids: np.ndarray  # int64
    positions: np.ndarray  # int64, each token's position in its own sequence
    paths: list[np.ndarray]  # int64, one index into the row for each token of the sequence
    owned: list[slice]  # where the tokens lie, at the end of each path, that no path before it has


def pack(sequences: list[list[int]]) -> Packed:
    """Lay sequences out in one row, each common beginning once."""
    token_ids: list[int] = []
    positions: list[int] = []
    paths: list[np.ndarray] = [np.empty(0, np.int64)] * len(sequences)
    owned = [slice(0)] * len(sequences)
    previous, path = [], np.empty(0, np.int64)
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
    """Give the number of tokens with which both sequences begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed_paths: list[tuple[torch.Tensor | slice, slice]],
    **options: object,
) -> tuple[torch.Tensor, None]:
    """Attend within each sequence of a packed row; tensors are [1, heads, tokens, head size].

    `packed_paths` are of `attention_paths`.
    """
    output = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
    for path, owned in packed_paths:
        parts = [tensor[:, :, path] for tensor in (query, key, value)]
        attended = _attended(module, *parts, owned.stop - owned.start, options)
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
    options: dict[str, object],
) -> torch.Tensor:
    """Give [1, own, heads, head size], what the last `own` tokens of one sequence attend to."""
    length = key.shape[2]
    window = min(options.get("sliding_window") or length, length)
    on_cpu = query.device.type == "cpu"
    if window == length and 2 * own >= length and (length <= CPU_QUERIES or not on_cpu):
        attended, _ = sdpa_attention_forward(module, query, key, value, None, **options)
        return attended[:, -own:]
    if not on_cpu:  # kernels of GPUs that take a mask want as many heads of keys as of queries
        key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], 1) for tensor in (key, value))
    at_once = min(window, CPU_QUERIES) if on_cpu else window
    parts = []
    for start in range(length - own, length, at_once):
        stop, first = min(start + at_once, length), max(0, start - window + 1)
        places = torch.arange(first, stop, device=query.device)
        behind = places[start - first :, None] - places
        parts.append(
            scaled_dot_product_attention(
                query[:, :, start:stop],
                key[:, :, first:stop],
                value[:, :, first:stop],
                attn_mask=(behind >= 0) & (behind < window),
                scale=options.get("scaling"),
                enable_gqa=on_cpu,
            )
        )
    return torch.cat(parts, 2).transpose(1, 2)


def attention_paths(packed: Packed, device: torch.device) -> list[tuple[torch.Tensor | slice, slice]]:
    """Give for each sequence with tokens of its own where all its tokens lie (if together, as a slice) and its own."""
    return [
        (owned if len(path) == owned.stop - owned.start else torch.from_numpy(path).to(device), owned)
        for path, owned in zip(packed.paths, packed.owned, strict=True)
        if owned.stop > owned.start
    ]


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda **_: None)
