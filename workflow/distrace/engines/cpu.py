"""What makes a model's own forward pass faster on a CPU, and its memory smaller, without changing what it computes.

A tensor of tens of megabytes costs as much to get from the operating system, page by page, as to compute. So
feed-forward layers, whose tensors are the widest, run on some hundred tokens at a time. And linear layers in float32
run in oneDNN: the MKL that torch calls otherwise leaves half of the speed of AMD processors unused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

FEED_FORWARD_TOKENS = 512


@contextmanager
def faster_on_cpu(model: torch.nn.Module) -> Iterator[None]:
    """Within it, a model on a CPU computes the same (but for rounding) in less time and memory; without gradients."""
    gated = [module for module in model.modules() if isinstance(getattr(module, "down_proj", None), torch.nn.Linear)]
    for module in gated:
        module.forward = partial(_in_parts, module.forward)
    try:
        with _OneDnnLinear():
            yield
    finally:
        for module in gated:
            del module.forward


def _in_parts(forward: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    output = torch.empty_like(states)
    for part, place in zip(states.split(FEED_FORWARD_TOKENS, -2), output.split(FEED_FORWARD_TOKENS, -2), strict=True):
        place.copy_(forward(part))
    return output


class _OneDnnLinear(TorchFunctionMode):
    """Within it, `torch.nn.functional.linear` runs in oneDNN for float32, as it does for bfloat16 anyway."""

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        chosen = _linear if func is linear else func
        return chosen(*args, **(kwargs or {}))


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    if not torch.backends.mkldnn.is_available() or not input.dtype == weight.dtype == torch.float32:
        return linear(input, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
