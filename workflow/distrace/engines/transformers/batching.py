"""Which sequences are computed together. All functions return lists of indices into the sequences given."""

from typing import Any

from distrace.engines.requests import GenerateRequest
from distrace.engines.transformers.packing import common_prefix

MAX_ROWS = 256  # responses generated side by side
# A batch that is refilled holds this many times the responses that are side by side: the larger, the less time is spent
# on the last few, and the more is lost when a job is killed.
ROUNDS = 4
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


def score_batches(sequences: list[list[int]], budget: int, packs: bool, steady_length: float) -> list[list[int]]:
    """Divide sequences into batches within a budget of tokens, the longest first.

    A sequence longer than `steady_length` is alone in its batch, whose longest it would be.
    """
    steady = [i for i, sequence in enumerate(sequences) if len(sequence) <= steady_length]
    alone = [[i] for i, sequence in enumerate(sequences) if len(sequence) > steady_length]
    divide = packed_batches if packs else padded_batches
    batches = [[steady[i] for i in batch] for batch in divide([sequences[i] for i in steady], budget)]
    return sorted(alone + batches, key=lambda batch: -max(len(sequences[i]) for i in batch))


def packed_batches(sequences: list[list[int]], budget: int) -> list[list[int]]:
    """Fill batches with sequences in sorted order, counting the tokens that each adds to the one before it."""
    batches: list[list[int]] = []
    previous: list[int] = []
    room = 0
    for index in sorted(range(len(sequences)), key=sequences.__getitem__):
        sequence = sequences[index]
        added = len(sequence) - common_prefix(previous, sequence)
        if not batches or added > room:
            batches.append([])
            room, added = budget, len(sequence)
        batches[-1].append(index)
        previous, room = sequence, room - added
    return batches


def padded_batches(sequences: list[list[int]], budget: int) -> list[list[int]]:
    """Fill batches with sequences from the longest on, counting each as long as the first of its batch."""
    batches: list[list[int]] = []
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        if not batches or (len(batches[-1]) + 1) * len(sequences[batches[-1][0]]) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def generate_batches(
    requests: list[GenerateRequest], budget: int, context_length: int, rounds: int = 1
) -> list[list[int]]:
    """Divide requests into batches, the longest prompts first.

    A batch has as many requests as `rows_at_once` allows side by side, times `rounds`.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), requests[i].prompt)):
        length = longest_becoming([requests[index]], context_length)
        longest = max(longest, length)
        if not batches or len(batches[-1]) >= rounds * max(1, min(MAX_ROWS, budget // longest)):
            batches.append([])
            longest = length
        batches[-1].append(index)
    return batches


def rows_at_once(requests: list[GenerateRequest], budget: int, context_length: int) -> int:
    """Return how many requests to generate side by side: at most `MAX_ROWS`, within a budget of tokens, at least one.

    Each counts as long as the longest can become.
    """
    return max(1, min(MAX_ROWS, len(requests), budget // longest_becoming(requests, context_length)))


def longest_becoming(requests: list[GenerateRequest], context_length: int) -> int:
    """Return the most tokens that a prompt and its response can have together."""
    return max(min(len(request.prompt) + request.max_tokens, context_length) for request in requests)


def steady_length(config: Any) -> float:
    """Return the tokens up to which position embeddings do not depend on the longest sequence of a batch."""
    parameters = getattr(config, "rope_parameters", None) or {}
    groups = [parameters, *(group for group in parameters.values() if isinstance(group, dict))]
    lengths = [
        group.get("original_max_position_embeddings") or config.max_position_embeddings
        for group in groups
        if group.get("rope_type") in _LENGTH_DEPENDENT_ROPE
    ]
    return min(lengths, default=float("inf"))
