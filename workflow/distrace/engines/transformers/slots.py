"""Rows that are refilled: where a response has ended, the next prompt is read, and the other rows go on.

Each row of the cache holds its sequence from the left, so a token lies at its own position whatever others hold:

    row 0   p p p p p r r r r . .      p: prompt
    row 1   p p r r r r r r r r .      r: response
    row 2   p p p p r . . . . . .      .: not attended to; what an earlier, longer response left may lie here

Each step appends one token to every row, at the row's own length. Prompts are read packed (`packing.py`), without
padding, equal ones once. Both need another attention than the model's own, so `checks.py` compares what they compute.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from distrace.engines.transformers.batching import packed_batches
from distrace.engines.transformers.continuations import input_device, larger, new_size
from distrace.engines.transformers.packing import PACKED, attention, attention_paths, pack

SLOTS = "distrace_slots"


class Slots:
    """Prompts that a model has read, a row for each, and the tokens appended since; as `Continuations`, and refilled.

    At most `prompt_budget` tokens of prompts are read at once.
    """

    states: torch.Tensor
    refills = True

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]], prompt_budget: int):
        self._model, self._prompt_budget = model, prompt_budget
        self._device = input_device(model)
        self._lengths = [0] * len(prompts)  # of the rows, in tokens
        self._places = _Places(self._tensor(self._lengths), 0)
        self._cache = DynamicCache(config=model.config)
        self._layers = [SlotLayer(self._places) for _ in self._cache.layers]
        self._cache.layers = list(self._layers)
        self.refill(list(range(len(prompts))), prompts)

    def refill(self, rows: list[int], prompts: list[list[int]]) -> None:
        """Read a new prompt into each of the rows."""
        for batch in packed_batches(prompts, self._prompt_budget):
            self._read([rows[i] for i in batch], [prompts[i] for i in batch])

    def advance(self, chosen: torch.Tensor, keep: list[int]) -> None:
        """Append to each row its chosen token [rows], and go on with the rows `keep` alone, in their order."""
        chosen = chosen.to(self._device)
        if len(keep) < len(self._lengths):
            kept = self._tensor(keep)
            self._cache.reorder_cache(kept)  # type: ignore[arg-type]  # a tensor of int64, as it wants
            self._lengths = [self._lengths[row] for row in keep]
            chosen = chosen[kept]
        self._places.move(self._tensor(self._lengths), max(self._lengths) + 1)
        with attention(self._model, SLOTS):
            found = self._model.base_model(
                input_ids=chosen[:, None],
                position_ids=self._places.last[:, None],
                past_key_values=self._cache,
                use_cache=True,
                slots=self._places,
            )
        self.states = found.last_hidden_state[:, -1]
        self._lengths = [length + 1 for length in self._lengths]

    def _read(self, rows: list[int], prompts: list[list[int]]) -> None:
        packed, read = pack(prompts), DynamicCache()
        with attention(self._model, PACKED):
            states = self._model.base_model(
                input_ids=torch.from_numpy(packed.token_ids)[None].to(self._device),
                position_ids=torch.from_numpy(packed.positions)[None].to(self._device),
                past_key_values=read,
                use_cache=True,
                packed_paths=attention_paths(packed, self._device),
            ).last_hidden_state[0]  # [tokens, hidden size]
        width = max(map(len, prompts))
        # What lies behind a shorter prompt is never attended to: its first token will do.
        paths = np.stack([np.pad(path, (0, width - len(path))) for path in packed.paths])
        into, tokens = self._tensor(rows), torch.from_numpy(paths).to(self._device)
        for layer, (keys, values, *_) in zip(self._layers, read, strict=True):
            layer.put(into, tokens, keys[0], values[0], len(self._lengths))
        for row, prompt in zip(rows, prompts, strict=True):
            self._lengths[row] = len(prompt)
        if not hasattr(self, "states"):
            self.states = states.new_zeros(len(self._lengths), states.shape[1])
        last = torch.tensor([path[-1] for path in packed.paths], device=states.device)
        self.states[into.to(states.device)] = states[last]

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


@dataclass
class _Places:
    """Where the tokens of the current step lie."""

    last: torch.Tensor  # [rows]: the position of each row's newest token
    width: int  # the longest row, in tokens
    masks: dict[tuple[int | None, torch.device], torch.Tensor] = field(default_factory=dict)

    def move(self, last: torch.Tensor, width: int) -> None:
        self.last, self.width, self.masks = last, width, {}

    def mask(self, window: int | None, device: torch.device) -> torch.Tensor:
        """Return [rows, 1, 1, width]: whether the newest token attends to a place, under a sliding window or none."""
        if (window, device) not in self.masks:
            behind = self.last.to(device)[:, None] - torch.arange(self.width, device=device)
            seen = behind >= 0 if window is None else (behind >= 0) & (behind < window)
            self.masks[window, device] = seen[:, None, None]
        return self.masks[window, device]


class SlotLayer(DynamicLayer):  # untyped in transformers
    """Keys and values [rows, heads, tokens, head size] with room for more; each row ends where `places` says."""

    def __init__(self, places: _Places):
        super().__init__()
        self.places = places
        self.room: tuple[torch.Tensor, ...] = ()

    def put(
        self, rows: torch.Tensor, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, all_rows: int
    ) -> None:
        """Fill rows with the keys and values of their tokens [rows, width], found in [heads, tokens, head size]."""
        rows, tokens = rows.to(keys.device), tokens.to(keys.device)
        self._make_room(keys.expand(all_rows, -1, -1, -1), values.expand(all_rows, -1, -1, -1), tokens.shape[1])
        for room, new in zip(self.room, (keys, values), strict=True):
            room[rows, :, : tokens.shape[1]] = new[:, tokens].transpose(0, 1)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put each row's new key and value [rows, heads, 1, head size] at its end; return those of all tokens."""
        self._make_room(key_states, value_states, self.places.width)
        last = self.places.last.to(key_states.device)
        rows = torch.arange(len(last), device=last.device)
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[rows, :, last] = new[:, :, 0]
        self.keys, self.values = keys, values = [room[:, :, : self.places.width] for room in self.room]
        return keys, values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keep these rows, in this order."""
        self.room = tuple(room[beam_idx.to(room.device)] for room in self.room)

    def _make_room(self, keys: torch.Tensor, values: torch.Tensor, width: int) -> None:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        if self.room and self.room[0].shape[2] >= width:
            return
        held = self.room or (None, None)
        self.room = tuple(larger(old, new, new_size(width)) for old, new in zip(held, (keys, values), strict=True))


def slot_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    slots: _Places,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return [rows, 1, heads, head size], what the newest token of each row attends to within its row.

    `query` is [rows, heads, 1, head size]; `key` and `value` may have fewer heads, and are not copied to have as many:
    the heads that share a key attend side by side, as if they were tokens.
    """
    rows, heads, _, size = query.shape
    attended = scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], heads // key.shape[1], size),
        key,
        value,
        attn_mask=slots.mask(options.get("sliding_window"), query.device),
        scale=options.get("scaling"),
    )
    return attended.reshape(rows, 1, heads, -1), None


AttentionInterface.register(SLOTS, slot_attention)
AttentionMaskInterface.register(SLOTS, lambda **_: None)
