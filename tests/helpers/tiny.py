"""Tiny random models of many architectures, and a tokenizer, for tests: nothing is downloaded."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from distrace.engines import Purpose
from distrace.engines.transformers import TransformersEngine, checked_engine
from distrace.models import folder_card, write_card
from distrace.nodes.fresh import Fresh, train_tokenizer
from distrace.settings import Execution

TEXTS = ["Four and three make seven. So the answer is 7.", "First, add 4 and 3.\n\nThen we have 7 apples in all."]
SIZE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "max_position_embeddings": 96,
    "initializer_range": 0.4,  # large, so that each token of the context matters
    "pad_token_id": None,
    "bos_token_id": None,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 3,
    "long_factor": [4.0] * 3,
    "original_max_position_embeddings": 24,
}
ARCHITECTURES = {
    "llama": {},
    "qwen2": {"use_sliding_window": False},
    "mistral": {"sliding_window": 5},
    "gemma2": {"attention": "eager", "final_logit_softcapping": 3.0, "sliding_window": 5, "query_pre_attn_scalar": 6},
    "gemma3_text": {"final_logit_softcapping": 3.0, "sliding_window": 5, "query_pre_attn_scalar": 6},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 3.0},
    "phi3": {"rope_parameters": LONGROPE, "original_max_position_embeddings": 24},
    "mixtral": {"num_local_experts": 3, "sliding_window": None},
    "phi": {"hidden_size": 32, "head_dim": 8},
    "gpt_neox": {"hidden_size": 32, "head_dim": 8},
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 96},
    "mamba": {"state_size": 4, "expand": 2, "num_hidden_layers": 2},
}


def tiny_tokenizer():
    """Return a byte-level tokenizer without BOS that can hold any text."""
    return train_tokenizer(TEXTS, Fresh(vocabulary=300))


def tiny_model(architecture: str = "llama", **settings: object):
    """Return a random model in float32, the same every time."""
    settings = SIZE | ARCHITECTURES[architecture] | settings
    attention = settings.pop("attention", "sdpa" if architecture != "mamba" else None)
    tokenizer = tiny_tokenizer()
    config = AutoConfig.for_model(
        architecture, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **settings
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32).eval()


def tiny_engine(architecture: str = "llama", purpose: Purpose = "score", **settings: object) -> TransformersEngine:
    """Return an engine around a tiny model of 96 tokens, checked as one that is loaded."""
    return engine_of(tiny_model(architecture, **settings), name=architecture, purpose=purpose)


def engine_of(
    model, name: str = "tiny", context_length: int = 96, faster_on_cpu: bool = True, purpose: Purpose = "score"
) -> TransformersEngine:
    """Return an engine around a model with the tiny tokenizer, checked as one that is loaded."""
    execution = Execution(faster_on_cpu=faster_on_cpu)
    return checked_engine(model, tiny_tokenizer(), name, context_length, execution, purpose)


@torch.inference_mode()
def plain_scores(model, prompt: list[int], response: list[int]) -> tuple[list[float], list[int]]:
    """Return log-probs and ranks of a response the plain way: one sequence, all logits."""
    logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    targets = torch.tensor(response)[:, None]
    logprobs = logits.log_softmax(1).gather(1, targets)[:, 0]
    ranks = 1 + (logits > logits.gather(1, targets)).sum(1)
    return logprobs.tolist(), ranks.tolist()


@torch.inference_mode()
def plain_top(model, prompt: list[int], response: list[int], top: int) -> tuple[list[float], list[float]]:
    """Return, for each token of a response, the mass of the most probable tokens, and the sum of their squares."""
    logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0, len(prompt) - 1 : -1].double()
    kept = logits.softmax(1).sort(descending=True).values[:, :top]
    masses = kept.sum(1)
    return masses.tolist(), ((kept / masses[:, None]) ** 2).sum(1).tolist()


def write_author(folder: Path) -> Path:
    """Write a tiny model and its card into a folder; return the card's path."""
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    write_card(folder / "model.json", folder_card("author", str(folder)))
    return folder / "model.json"
