import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_model

from distrace.engines import cpu
from distrace.engines.cpu import faster_on_cpu


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


class OddMLP(torch.nn.Module):
    """A feed-forward layer that is called with more than states, as Zamba2's and MPT's are."""

    def __init__(self):
        super().__init__()
        self.down_proj = torch.nn.Linear(3, 3)

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.down_proj(states) + residual


class Router(torch.nn.Module):
    """A layer with a `down_proj` that gives more than states, as Zaya's router and Doge's experts do."""

    def __init__(self):
        super().__init__()
        self.down_proj = torch.nn.Linear(3, 3)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, int]:
        return self.down_proj(states), 7


@pytest.mark.parametrize(("layer", "inputs"), [(OddMLP(), 2), (Router(), 1)])
def test_layers_that_take_or_give_more_than_states_run_whole(layer, inputs, monkeypatch):
    monkeypatch.setattr(cpu, "FEED_FORWARD_TOKENS", 2)
    given_states = [torch.ones(5, 3)] * inputs
    with torch.inference_mode():
        expected = layer(*given_states)
        with faster_on_cpu(layer):
            torch.testing.assert_close(layer(*given_states), expected)


def test_states_given_by_name_are_taken(llama):
    layer = llama.base_model.layers[0].mlp
    with torch.inference_mode(), faster_on_cpu(llama):
        assert torch.equal(layer(x=torch.ones(2, 24)), layer(torch.ones(2, 24)))
