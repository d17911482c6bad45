"""Batches from examples: packs joined to one row, or rows padded on the right."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

Collator = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]


def collator_for(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, packed: bool) -> Collator:
    """Return what makes a batch of examples, or of packs: one row then, whose positions begin anew at each example.

    Examples are padded on the right, where no token before attends to. So a batch has positions in place of a mask,
    with which attention would take a slower kernel, unless the model needs the mask.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if packed:
        return DataCollatorForLanguageModeling(pad_token_id=pad, padding_free=True)
    padded = DataCollatorForLanguageModeling(pad_token_id=pad)
    return padded if _needs_mask(model) else partial(_without_mask, padded)


def _needs_mask(model: PreTrainedModel) -> bool:
    """Return whether the model counts tokens by the mask, as a router's loss does, or takes no positions."""
    routed = hasattr(model.config.get_text_config(), "output_router_logits")
    return routed or "position_ids" not in inspect.signature(model.forward).parameters


def _without_mask(padded: Collator, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    batch = padded(examples)
    rows, length = batch.pop("attention_mask").shape
    return batch | {"position_ids": torch.arange(length).repeat(rows, 1)}
