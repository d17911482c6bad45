"""Batches: padding that changes nothing, and the models that need a mask for that."""

import pytest
import torch

from distrace.training.collators import collator_for
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer
from trainings import UNLIKE, example

EXAMPLES = [example(*pair) for pair in UNLIKE[:4]]


def loss_and_gradients(model, batches: list[dict]) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the summed loss of the batches, in nats, and what it says of the weights."""
    model.zero_grad()
    losses = [model(**batch, num_items_in_batch=1).loss for batch in batches]
    sum(losses).backward()
    gradients = {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}
    return float(sum(losses)), gradients


# phi3's positions (longrope) follow from the longest row of a batch, whatever is padded.
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES.keys() - {"phi3"}))
def test_padded_examples_teach_what_they_teach_by_themselves(architecture):
    model = tiny_model(architecture)
    collate = collator_for(model, tiny_tokenizer(), packed=False)
    alone, expected = loss_and_gradients(model, [collate([row]) for row in EXAMPLES])
    together, found = loss_and_gradients(model, [collate(EXAMPLES)])
    assert together == pytest.approx(alone, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("architecture", "masked"), [("llama", False), ("mixtral", True), ("mamba", True)])
def test_only_a_model_with_a_router_or_without_positions_is_given_a_mask(architecture, masked):
    batch = collator_for(tiny_model(architecture), tiny_tokenizer(), packed=False)(EXAMPLES)
    assert ("attention_mask" in batch, "position_ids" in batch) == (masked, not masked)
    assert batch["input_ids"].shape == batch["labels"].shape == (4, max(len(row["input_ids"]) for row in EXAMPLES))


def test_each_row_of_a_batch_has_memory_of_its_own_which_can_be_pinned_for_a_gpu():
    batch = collator_for(tiny_model(), tiny_tokenizer(), packed=False)(EXAMPLES)
    for values in batch.values():
        assert values.untyped_storage().nbytes() >= values.numel() * values.itemsize


def test_examples_of_packs_lie_in_one_row_with_positions_of_their_own():
    packs = [{**EXAMPLES[0], "seq_lengths": [2, 4]}, {**EXAMPLES[2], "seq_lengths": [5]}]
    batch = collator_for(tiny_model(), tiny_tokenizer(), packed=True)(packs)
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2, 3, 0, 1, 2, 3, 4]]
    assert "attention_mask" not in batch
