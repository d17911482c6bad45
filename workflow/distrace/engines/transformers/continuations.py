"""Prompts that a model has read, and the tokens that follow them one by one."""

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

_ROOM = 128  # tokens that a cache grows by, at least


def input_device(model: PreTrainedModel) -> torch.device:
    """Return the device that takes token ids: that of the first layers, where a model lies on several."""
    return model.get_input_embeddings().get_parameter("weight").device


class Continuations:
    """Prompts that a model has read, a row for each, and the tokens that have been appended to them since.

    `states` [rows, hidden size] are the final hidden states of the last tokens: the head turns them into
    the logits of the next ones. Equal prompts are read once. Use it in inference mode: gradients would fill the memory.
    """

    states: torch.Tensor
    refills = False

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]]):
        self._model = model.base_model
        self._device = input_device(model)
        self._cache = _growing_cache(model.config)
        distinct = sorted(map(list, set(map(tuple, prompts))))
        width = max(map(len, distinct))
        # Padded on the left, so that the next token of every row goes to the same place.
        padded = self._tensor([[0] * (width - len(prompt)) + prompt for prompt in distinct])
        self._mask = self._tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in distinct])
        last = self._run(padded, (self._mask.cumsum(1) - 1).clamp(min=0))  # padding has no position: any will do
        numbers = {tuple(prompt): number for number, prompt in enumerate(distinct)}
        of_row = self._tensor([numbers[tuple(prompt)] for prompt in prompts])
        self._select(of_row)
        self.states = last[of_row.to(last.device)]

    def refill(self, rows: list[int], prompts: list[list[int]]) -> None:
        """Raise NotImplementedError: all rows have the length of the longest, and go on together to their end."""
        raise NotImplementedError("these rows cannot be refilled")

    def advance(self, chosen: torch.Tensor, keep: list[int]) -> None:
        """Append to each row its chosen token [rows], and go on with the rows `keep` alone, in their order."""
        chosen = chosen.to(self._device)
        if len(keep) < len(self._mask):
            kept = self._tensor(keep)
            self._select(kept)
            chosen = chosen[kept]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
        self.states = self._run(chosen[:, None], self._mask.sum(1, keepdim=True) - 1)

    def _run(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Read new tokens [rows, new] behind those in the cache; return the states of the last [rows, hidden size]."""
        found = self._model(
            input_ids=tokens,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        states: torch.Tensor = found.last_hidden_state
        return states[:, -1]

    def _select(self, rows: torch.Tensor) -> None:
        self._cache.reorder_cache(rows)  # type: ignore[arg-type]  # a tensor of int64, as it wants
        self._mask = self._mask[rows]

    def _tensor(self, values: list[int] | list[list[int]]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


def _growing_cache(config: PreTrainedConfig) -> DynamicCache:
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer  # untyped in transformers
        for layer in cache.layers
    ]
    return cache


class GrowingLayer(DynamicLayer):  # untyped in transformers
    """Keys and values [rows, heads, tokens, head size] with room for more.

    DynamicLayer copies all of them at every token. Here, they are the beginning of larger tensors, `room`.
    """

    room: tuple[torch.Tensor, ...] = ()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new tokens' keys and values [rows, heads, new, head size]; return those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        if not self.room or self.room[0].shape[-2] < length:
            size = new_size(length)
            self.room = (larger(self.keys, key_states, size), larger(self.values, value_states, size))
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, held:length] = new
        self.keys, self.values = keys, values = [room[:, :, :length] for room in self.room]
        return keys, values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keep these rows, in this order."""
        super().reorder_cache(beam_idx)
        self.room = ()


def new_size(length: int) -> int:
    """Return for how many tokens to make room where there must be room for `length`."""
    return length + max(_ROOM, length // 4)


def larger(held: torch.Tensor | None, new: torch.Tensor, size: int) -> torch.Tensor:
    """Return a tensor like `new` [rows, heads, tokens, head size] for `size` tokens, which begins with those held.

    The rest is 0, since what is masked out of attention must be finite all the same.
    """
    room = new.new_zeros(*new.shape[:2], size, new.shape[3])
    if held is not None and held.numel():
        room[:, :, : held.shape[-2]] = held
    return room
