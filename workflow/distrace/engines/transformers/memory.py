"""How many tokens fit into memory at once, and what is done when they do not."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from distrace.errors import DistraceError

log = logging.getLogger(__name__)

CPU_TOKEN_BUDGET = 4096  # fixed, so that a rerun has the same batches and thus the same bits; more is slower
CPU_CACHE_BYTES = 2**31  # of keys and values

Request = TypeVar("Request")
Result = TypeVar("Result")


def score_budget(config: Any, dtype: torch.dtype, device: torch.device, context_length: int) -> int:
    """Return how many tokens to score at once, padding counted; on a GPU, at least one longest sequence."""
    if device.type == "cpu":
        return CPU_TOKEN_BUDGET
    # Some twenty activations of the widest layer live at once; a third of the free memory leaves room for kernels.
    width: int = max(getattr(config, "intermediate_size", 0) or 0, 4 * config.hidden_size)
    return max(context_length, _free_memory() // 3 // (20 * width * dtype.itemsize))


def generate_budget(config: Any, dtype: torch.dtype, device: torch.device) -> int:
    """Return of how many tokens keys and values may be held at once."""
    memory = CPU_CACHE_BYTES if device.type == "cpu" else _free_memory() // 2
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes: int = 2 * config.num_hidden_layers * heads * head_size * dtype.itemsize  # 2: keys and values
    return memory // token_bytes


def _free_memory() -> int:
    """Return the bytes that are free on the fullest GPU."""
    return min(torch.cuda.mem_get_info(device)[0] for device in range(torch.cuda.device_count()))


def halving(compute: Callable[[list[Request]], list[Result]], requests: list[Request], name: str) -> list[Result]:
    """Return what `compute` gives for a batch; when memory runs out, for its halves one after the other.

    Raises DistraceError, with the model's name, if one request alone does not fit.
    """
    try:
        return compute(requests)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        if len(requests) == 1:
            raise DistraceError(f"model {name!r}: out of memory on one response alone; use a bigger machine") from error
    # Outside the handler, so that the failed attempt's tensors are free by now.
    log.warning("out of memory on %d responses: trying halves", len(requests))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(requests) // 2
    return halving(compute, requests[:middle], name) + halving(compute, requests[middle:], name)


def fewer_at_once(compute: Callable[[int], None], at_once: int, name: str) -> None:
    """Call `compute` with the number of responses to write side by side; when memory runs out, again with half of it.

    `compute` goes on where it stopped. Raises DistraceError, with the model's name, if one response does not fit.
    """
    try:
        return compute(at_once)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        if at_once == 1:
            raise DistraceError(f"model {name!r}: out of memory on one response alone; use a bigger machine") from error
    # Outside the handler, as above.
    log.warning("out of memory on %d responses side by side: going on with half as many", at_once)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    fewer_at_once(compute, at_once // 2, name)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
