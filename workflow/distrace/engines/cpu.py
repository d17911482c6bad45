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
    layers = [module for module in model.modules() if _is_feed_forward(module)]
    for module in layers:
        module.forward = partial(_in_parts, module.forward)
    try:
        with _OneDnnLinear():
            yield
    finally:
        for module in layers:
            del module.forward


def _is_feed_forward(module: torch.nn.Module) -> bool:
    # Routers and mixtures of experts have a `down_proj`, too, but give more than states.
    return type(module).__name__.endswith("MLP") and isinstance(getattr(module, "down_proj", None), torch.nn.Linear)


def _in_parts(forward: Callable[..., torch.Tensor], *given: object, **named: object) -> torch.Tensor:
    if named or len(given) > 1 or given[0].shape[-2] <= FEED_FORWARD_TOKENS:
        return forward(*given, **named)  # what comes beside states, as the residual in MPT, may go with them
    [states] = given
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
