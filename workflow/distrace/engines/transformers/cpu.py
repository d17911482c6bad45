"""A model's own forward pass on a CPU, in less time and memory, without changing what it computes (but for rounding).

Two things are slow there. A tensor of tens of megabytes costs as much to get from the operating system, page by page,
as to compute; so feed-forward layers, whose tensors are the widest, run on some hundred tokens at a time. And the MKL
that torch calls for linear layers in float32 leaves half of the speed of AMD processors unused; so these run in oneDNN.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

FEED_FORWARD_TOKENS = 512
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@contextmanager
def faster_on_cpu(model: torch.nn.Module, tokens: int | None = None) -> Iterator[None]:
    """Run the model, within this context, in less time and memory; for a model on a CPU, without gradients.

    Feed-forward layers see `tokens` at once, by default `FEED_FORWARD_TOKENS`.
    """
    layers = feed_forward_layers(model)
    for layer in layers:
        layer.forward = partial(_in_parts, layer.forward, tokens or FEED_FORWARD_TOKENS)
    try:
        with _OneDnnLinear():
            yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own is seen again


def feed_forward_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the layers that can run on some tokens at a time: each token's output follows from its own state alone.

    They are told by what they do, since every architecture names them in its own way.
    """
    return [module for module in model.modules() if _widens_and_narrows(module) and _takes_states_only(module)]


def _widens_and_narrows(module: torch.nn.Module) -> bool:
    """Return whether a module is made of linear layers, one from the width of states to a larger one, and one back.

    Whatever else has parameters might mix tokens (a convolution) or choose among them (experts, routers).
    """
    linears = [child for child in module.children() if isinstance(child, torch.nn.Linear)]
    known = {id(parameter) for linear in linears for parameter in linear.parameters()}
    if any(id(parameter) not in known for parameter in module.parameters()):
        return False
    return any(
        wide.in_features == narrow.out_features < min(wide.out_features, narrow.in_features)
        for wide in linears
        for narrow in linears
    )


def _takes_states_only(module: torch.nn.Module) -> bool:
    """Return whether `forward` takes one argument: attention takes masks, too, and MPT's feed-forward the residual."""
    if "forward" in vars(module):  # replaced on this very object, as accelerate does: `del` would lose it
        return False
    parameters = list(inspect.signature(module.forward).parameters.values())
    return len(parameters) == 1 and parameters[0].kind in _POSITIONAL


def _in_parts(forward: Callable[..., Any], tokens: int, /, *given: Any, **named: Any) -> Any:
    """Return the output of `forward` for its one argument, states [..., tokens, width], from some tokens at a time."""
    [states] = [*given, *named.values()]
    first, *others = torch.split(states, tokens, -2)
    if not others:
        return forward(states)
    found = forward(first)
    if not isinstance(found, torch.Tensor) or found.shape != first.shape:
        return forward(states)  # it gives more than states, as routers do
    output = found.new_empty(states.shape)
    place, *places = torch.split(output, tokens, -2)
    place.copy_(found)
    for part, place in zip(others, places, strict=True):
        place.copy_(forward(part))
    return output


class _OneDnnLinear(TorchFunctionMode):
    """Within it, `torch.nn.functional.linear` runs in oneDNN for float32, as it does for bfloat16 anyway."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        chosen = _linear if func is linear else func
        return chosen(*args, **(kwargs or {}))


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    one_dnn = torch.backends.mkldnn.is_available()  # torch leaves it untyped
    if not one_dnn or not input.dtype == weight.dtype == torch.float32:
        return linear(input, weight, bias)
    # A private operation of torch, whose version is therefore pinned (pyproject.toml).
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output
