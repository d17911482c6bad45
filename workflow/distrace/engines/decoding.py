"""Sampling responses side by side, each with a random stream of its own.

A token is drawn by inverting the cumulative distribution, in vocabulary order and float64, at a uniform number that
follows from the response's seed and the token's position alone. So a response does not depend on what it was batched
with, but for rounding in the model itself. Finished responses leave the batch; candidates of one question share the
computation of their prompt. The log-probs kept are those of the model, at temperature 1, before top-k and top-p.
"""

from collections.abc import Callable

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from distrace.engines.requests import Generated, GenerateRequest, limit
from distrace.settings import Sampling

FINISHED_SHARE = 1 / 8  # of the rows, before those that remain are copied together
_CANDIDATES = 1024  # tokens looked at first for top-p; more where these do not hold enough
_ROOM = 128  # tokens that a cache grows by, at least


@torch.inference_mode()
def decode(
    engine,
    requests: list[GenerateRequest],
    sampling: Sampling,
    tick: Callable[[int, int], None] | None = None,
) -> list[Generated]:
    """Sample one response for each request, up to its `max_tokens` or the model's window; `tick` as in `generate`."""
    limits = [limit(request, engine.window) for request in requests]
    streams = [np.random.Generator(np.random.Philox(key=request.seed)) for request in requests]
    tokens: list[list[int]] = [[] for _ in requests]
    logprobs: list[list[float]] = [[] for _ in requests]
    reasons = [""] * len(requests)
    rows = list(range(len(requests)))  # the request that each row of the batch belongs to
    states, advance = _prefill(engine, [request.prompt for request in requests])
    while True:
        uniforms = np.array([streams[i].random() for i in rows])
        chosen, values = draw(engine.head(states).float(), sampling, uniforms)
        before = reasons.count("")
        for i, token, value in zip(rows, chosen.tolist(), values.tolist(), strict=True):
            if reasons[i]:
                continue
            if token in engine.ends:
                reasons[i] = "stop"
                continue
            tokens[i].append(token)
            logprobs[i].append(value)
            if len(tokens[i]) == limits[i]:
                reasons[i] = "length"
        if tick:
            tick(before, before - reasons.count(""))
        if all(reasons):
            break
        keep = _remaining(rows, reasons)
        rows = [rows[row] for row in keep]
        states = advance(chosen, keep)
    return [Generated(t, np.array(v, np.float32), r) for t, v, r in zip(tokens, logprobs, reasons, strict=True)]


def _remaining(rows: list[int], reasons: list[str]) -> list[int]:
    """Give the rows to go on with: the unfinished ones, or all while so few are finished that copying costs more."""
    unfinished = [row for row, i in enumerate(rows) if not reasons[i]]
    return unfinished if len(rows) - len(unfinished) >= FINISHED_SHARE * len(rows) else list(range(len(rows)))


def _prefill(engine, prompts: list[list[int]]) -> tuple[torch.Tensor, Callable]:
    """Run the prompts, equal ones once; give the last states [rows, hidden] and a function that takes the next step.

    The function takes the tokens drawn [rows] and the rows to go on with, and gives the states of those that remain.
    """
    model, device = engine.model.base_model, engine.device
    distinct = sorted(map(list, set(map(tuple, prompts))))
    width = max(map(len, distinct))
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in distinct], device=device)
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in distinct], device=device)
    cache = _cache(engine)
    seen = model(
        input_ids=padded,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    numbers = {tuple(prompt): number for number, prompt in enumerate(distinct)}
    of_row = torch.tensor([numbers[tuple(prompt)] for prompt in prompts], device=device)
    cache.reorder_cache(of_row)
    mask = mask[of_row]

    def advance(chosen: torch.Tensor, keep: list[int]) -> torch.Tensor:
        nonlocal mask
        chosen = chosen.to(device)
        if len(keep) < len(mask):
            kept = torch.tensor(keep, device=device)
            cache.reorder_cache(kept)
            mask, chosen = mask[kept], chosen[kept]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        step = model(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        return step.last_hidden_state[:, -1]

    last = seen.last_hidden_state[:, -1]
    return last[of_row.to(last.device)], advance


@torch.inference_mode()
def step_gap(engine) -> float:
    """Give the mean difference in log-prob between tokens run one by one, as in `decode`, and run at once.

    Some architectures keep their state elsewhere than in the cache they are given, and would see one token at a time.
    """
    prompts, steps = [[1, 2, 3, 4], [5, 6]], torch.tensor([[7, 8], [9, 10]])
    _, advance = _prefill(engine, prompts)
    advance(steps[0], [0, 1])
    states = advance(steps[1], [1])
    at_once, (path,) = engine.hidden([[*prompts[1], *steps[:, 1].tolist()]])
    one_by_one, expected = (engine.head(row).float().log_softmax(1) for row in (states, at_once[path[-1:]]))
    return float((one_by_one - expected).abs().mean())


def _cache(engine) -> DynamicCache:
    cache = DynamicCache(config=engine.model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values [rows, heads, tokens, head size] with room for more; DynamicLayer copies all at every token."""

    room: tuple[torch.Tensor, ...] = ()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object) -> tuple:
        """Append the new tokens' keys and values and give all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        if not self.room or self.room[0].shape[-2] < length:
            size = length + max(_ROOM, length // 4)
            self.room = tuple(new.new_empty(*new.shape[:2], size, new.shape[3]) for new in (key_states, value_states))
            if held:
                self.room[0][:, :, :held], self.room[1][:, :, :held] = self.keys, self.values
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, held:length] = new
        self.keys, self.values = (room[:, :, :length] for room in self.room)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keep these rows, in this order."""
        super().reorder_cache(beam_idx)
        self.room = ()


def draw(logits: torch.Tensor, sampling: Sampling, uniforms: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token for each row of logits [rows, vocabulary] (float32) at its uniform number in [0, 1).

    Temperature comes first, then top-k, then top-p (the fewest tokens that hold at least `top_p`), as transformers and
    vLLM do. Gives the tokens and their natural-log probabilities at temperature 1, without top-k and top-p.
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(1, keepdim=True)
    elif sampling.top_k or sampling.top_p < 1:
        candidates, weights = _candidates(logits, sampling)
        chosen = candidates.gather(1, _invert(weights, uniforms))
    else:
        chosen = _invert((logits.double() / sampling.temperature).softmax(1), uniforms)
    logprobs = logits.gather(1, chosen)[:, 0] - logits.logsumexp(1)
    return chosen[:, 0], logprobs


def _invert(weights: torch.Tensor, uniforms: np.ndarray) -> torch.Tensor:
    """Give the column [rows, 1] at which the cumulative weight of each row first exceeds its uniform share."""
    cumulative = weights.cumsum(1)
    targets = torch.from_numpy(uniforms).to(weights.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).clamp(max=weights.shape[1] - 1)


def _candidates(logits: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the tokens [rows, n] that top-k and top-p may leave, in vocabulary order, and their weights (0: left out).

    Vocabulary order, since the order of near-equal probabilities turns on rounding.
    """
    vocabulary = logits.shape[1]
    width = min(sampling.top_k or _CANDIDATES, vocabulary)
    total = None if sampling.top_k else (logits.double() / sampling.temperature).logsumexp(1, keepdim=True)
    while True:
        top, tokens = logits.topk(width)
        top = top.double() / sampling.temperature
        weights = (top - (top.logsumexp(1, keepdim=True) if total is None else total)).exp()
        if sampling.top_k or width == vocabulary or bool((weights.sum(1) >= sampling.top_p).all()):
            break
        width = min(8 * width, vocabulary)
    weights = weights.masked_fill(weights.cumsum(1) - weights >= sampling.top_p, 0)
    order = tokens.argsort(1)
    return tokens.gather(1, order), weights.gather(1, order)
