import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.engines.requests import ScoreRequest
from distrace.engines.transformers import cpu
from distrace.engines.transformers.cpu import faster_on_cpu, feed_forward_layers
from tiny import engine_of, tiny_model


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama")


def logits(model, tokens: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=tokens, use_cache=False).logits


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 3), length=st.integers(1, 20), at_once=st.integers(1, 21), seed=st.integers(0, 9))
def test_a_model_computes_the_same_as_without(llama, rows, length, at_once, seed):
    tokens = torch.randint(0, 299, (rows, length), generator=torch.Generator().manual_seed(seed))
    expected = logits(llama, tokens)
    with pytest.MonkeyPatch.context() as patch, faster_on_cpu(llama):
        patch.setattr(cpu, "FEED_FORWARD_TOKENS", at_once)
        torch.testing.assert_close(logits(llama, tokens), expected, atol=1e-5, rtol=0)


def test_feed_forward_layers_see_some_tokens_at_a_time(llama, monkeypatch):
    monkeypatch.setattr(cpu, "FEED_FORWARD_TOKENS", 8)
    seen = []
    layer = llama.base_model.layers[0].mlp.down_proj
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2]))
    with faster_on_cpu(llama):
        logits(llama, torch.arange(20)[None])
    hook.remove()
    assert seen == [8, 8, 4]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_linear_layers_in_float32_run_in_one_dnn(llama):
    with torch.profiler.profile() as profile, faster_on_cpu(llama):
        logits(llama, torch.arange(20)[None])
    names = {event.name for event in profile.events()}
    assert "mkldnn::_linear_pointwise" in names
    assert "aten::linear" not in names


def test_in_other_dtypes_every_bit_is_as_without(llama):
    model = tiny_model("llama").to(torch.bfloat16)
    expected = logits(model, torch.arange(20)[None])
    with faster_on_cpu(model):
        assert torch.equal(logits(model, torch.arange(20)[None]), expected)


def test_the_model_is_left_as_it_was(llama):
    before = [dict(vars(module)) for module in llama.modules()]
    with pytest.raises(ZeroDivisionError), faster_on_cpu(llama):
        raise ZeroDivisionError
    assert [dict(vars(module)) for module in llama.modules()] == before


class FeedForward(torch.nn.Module):
    """A feed-forward layer with names that no architecture has."""

    def __init__(self):
        super().__init__()
        self.there, self.back = torch.nn.Linear(3, 8), torch.nn.Linear(8, 3)
        self.between = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Dropout())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.back(self.between(self.there(states)))


class WithResidual(FeedForward):
    """A feed-forward layer that is called with more than states, as Zamba2's and MPT's are."""

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return super().forward(states) + residual


class WithAnything(FeedForward):
    def forward(self, *states: torch.Tensor, **_: object) -> torch.Tensor:
        return super().forward(*states)


class Scaled(FeedForward):
    """A layer with a parameter of its own, which might be anything."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))


class Experts(FeedForward):
    """A layer that chooses between others, as mixtures of experts do."""

    def __init__(self):
        super().__init__()
        self.experts = torch.nn.ModuleList([FeedForward()])


class Narrow(torch.nn.Module):
    """A router: nothing is wider than the states."""

    def __init__(self):
        super().__init__()
        self.down_proj = torch.nn.Linear(3, 3)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(states)


class Router(FeedForward):
    """A layer that gives more than states, as Zaya's router and Doge's experts do."""

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, int]:
        return super().forward(states), 7


def test_feed_forward_layers_are_found_by_what_they_do():
    layer = FeedForward()
    assert feed_forward_layers(torch.nn.Sequential(layer, torch.nn.Linear(3, 3))) == [layer]


@pytest.mark.parametrize("architecture", ["llama", "phi3", "phi", "gpt_neox"])
def test_of_each_layer_of_a_model_the_feed_forward_part_alone_is_found(architecture):
    found = feed_forward_layers(tiny_model(architecture))
    assert [type(layer).__name__[-3:] for layer in found] == ["MLP", "MLP"]


@pytest.mark.parametrize("layer", [WithResidual(), WithAnything(), Scaled(), Narrow()], ids=lambda x: type(x).__name__)
def test_what_may_be_no_feed_forward_layer_runs_whole(layer):
    assert feed_forward_layers(layer) == []


def test_mixtures_of_experts_and_their_routers_run_whole():
    layer = Experts()
    assert feed_forward_layers(layer) == [layer.experts[0]]
    assert feed_forward_layers(tiny_model("mixtral")) == []


def test_a_layer_that_already_runs_in_parts_is_left_alone():
    layer = FeedForward()
    with faster_on_cpu(layer):
        assert feed_forward_layers(layer) == []
        with faster_on_cpu(layer):
            pass
        assert "forward" in vars(layer)


@pytest.mark.parametrize(("layer", "inputs"), [(WithResidual(), 2), (Router(), 1)])
def test_layers_that_take_or_give_more_than_states_compute_the_same(layer, inputs):
    layer.eval()
    states = [torch.ones(5, 3)] * inputs
    with torch.inference_mode():
        expected = layer(*states)
        with faster_on_cpu(layer, 2):
            torch.testing.assert_close(layer(*states), expected)


def test_a_feed_forward_layer_with_other_names_computes_the_same_in_parts():
    layer, states, seen = FeedForward().eval(), torch.randn(2, 5, 3), []
    layer.there.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2]))
    with torch.inference_mode():
        expected = layer(states)
        with faster_on_cpu(layer, 2):
            torch.testing.assert_close(layer(states), expected, atol=1e-6, rtol=0)
    assert seen == [5, 2, 2, 1]


def test_the_engine_leaves_the_model_alone_where_it_is_told_to(monkeypatch):
    monkeypatch.setattr(cpu, "FEED_FORWARD_TOKENS", 8)
    request = ScoreRequest([1, 2, 3], list(range(20)), np.ones(20, bool))
    lengths, scores = {}, {}
    for faster in (True, False):
        engine = engine_of(tiny_model("llama"), faster_on_cpu=faster)
        seen = lengths[faster] = []
        layer = engine.model.base_model.layers[0].mlp.down_proj
        layer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].shape[-2]))
        with torch.profiler.profile() as profile:
            (scores[faster],) = engine.score([request])
        one_dnn = "mkldnn::_linear_pointwise" in {event.name for event in profile.events()}
        assert one_dnn == (faster and torch.backends.mkldnn.is_available())
    assert lengths == {True: [8, 8, 6], False: [22]}
    np.testing.assert_allclose(scores[True].logprobs, scores[False].logprobs, atol=1e-5)
    np.testing.assert_array_equal(scores[True].ranks, scores[False].ranks)


def test_states_given_by_name_are_taken(llama):
    layer = llama.base_model.layers[0].mlp
    with torch.inference_mode(), faster_on_cpu(llama):
        assert torch.equal(layer(x=torch.ones(2, 24)), layer(torch.ones(2, 24)))
