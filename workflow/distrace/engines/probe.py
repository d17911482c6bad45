"""Whether a server's log-probs of prompts are what they should be, without knowing its model.

The sequences are a short text, the same with single tokens replaced, its beginning alone, and the same after BOS. The
entry of a token must follow from this token and those before it, and from nothing else; so

- replacing a token changes its own entry and the next one's, and none before (else entries are shifted),
- a beginning alone has the entries that it has in the whole (else they are shifted, or change from call to call),
- BOS before the text changes what follows it (else the server adds or drops it by itself),
- the first entry is null, no other is, and there is one for each token.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distrace.engines.requests import Generated, GenerateRequest, ScoreRequest
from distrace.settings import Sampling

log = logging.getLogger(__name__)

# Pairs in mixed order: after "red" a model is sure of "apple", after "blue" of "river", so that the second word of the
# last pair is likely or most unlikely by the word before it alone.
TEXT = "".join(
    f" {pair}." for pair in ("red apple", "blue river", "green stone", "blue river", "red apple", "green stone") * 3
)
ROUNDING = 1.0  # nats on one token: more than half precision and other batches make, a third of what is looked for
MEAN_ROUNDING = 0.1
_SPACES = str.maketrans("▁Ġ", "  ")  # as tokenizers write them


class ProbeError(Exception):
    """What a server gets wrong."""


@dataclass(frozen=True)
class Prompt:
    """What a server says of the tokens of a prompt: natural-log probabilities, ranks and texts, where it tells them."""

    logprobs: list[float | None]
    ranks: list[int] | None
    texts: list[str | None]

    def require(self, length: int) -> None:
        """Raise ProbeError unless there is an entry for each of `length` tokens, null for the first alone."""
        if len(self.logprobs) != length:
            raise ProbeError(
                f"it returns {len(self.logprobs)} entries for {length} tokens: it adds, drops or cuts some"
            )
        if self.logprobs[0] is not None:
            raise ProbeError("the entry of the first token is not null: shifted, or BOS was added")
        if None in self.logprobs[1:]:
            place = self.logprobs.index(None, 1)
            raise ProbeError(f"the entry of token {place} of {length} is null")
        if max(self.logprobs[1:], default=0.0) > 1e-3:
            raise ProbeError(f"it returns a log-prob of {max(self.logprobs[1:])}: greater than 0 is none")


def check_scores(prompt: Callable[[list[int]], Prompt], tokenizer, window: int) -> None:
    """Raise ProbeError with what is wrong if the entries that `prompt` gives cannot be those of a causal model."""

    def entries(tokens: list[int]) -> np.ndarray:
        found = prompt(tokens)
        found.require(len(tokens))
        _require_texts(found.texts, tokens, tokenizer)
        return np.array([0.0, *found.logprobs[1:]])

    tokens = tokenizer(TEXT, add_special_tokens=False).input_ids[: window - 1]
    whole = entries(tokens)
    before, own, following = np.max([_changes(entries, tokens, whole, *change) for change in _replacements(tokens)], 0)
    if before > ROUNDING:
        raise ProbeError(f"an entry changes by {before:.2f} when a later token is replaced: shifted")
    if own <= ROUNDING:
        raise ProbeError("the entry of a token does not change when the token is replaced: shifted")
    if following <= ROUNDING:
        raise ProbeError("an entry does not change when the token before is replaced: shifted, or without context")
    half = len(tokens) // 2
    gaps = np.abs(entries(tokens[:half]) - whole[:half])
    if gaps.max() > ROUNDING or gaps.mean() > MEAN_ROUNDING:
        raise ProbeError(f"the same tokens have other log-probs (by up to {gaps.max():.2f}) where more follow")
    if tokenizer.bos_token_id is not None:
        after = np.abs(entries([tokenizer.bos_token_id, *tokens])[2:] - whole[1:])
        if after.max() <= max(1e-3, 2 * gaps.max()):
            raise ProbeError("BOS before a text changes nothing: it adds or drops BOS by itself")


def _replacements(tokens: list[int]) -> list[tuple[int, int]]:
    """Give places of the text, neither first nor last, and what other token of the text to put there."""
    words = list(dict.fromkeys(tokens))
    step = max(1, len(words) // 4)
    places = (len(tokens) // 2, len(tokens) - 3)
    return [(place, word) for place in places for word in words[::step] if word != tokens[place]]


def _changes(entries: Callable, tokens: list[int], whole: np.ndarray, place: int, word: int) -> tuple:
    """Give by how much entries change before a replaced token, its own and the next."""
    changes = np.abs(entries([*tokens[:place], word, *tokens[place + 1 :]]) - whole)
    return changes[:place].max(), changes[place], changes[place + 1]


def _require_texts(texts: list[str | None], tokens: list[int], tokenizer) -> None:
    """Raise ProbeError if what the server says the tokens spell is not what the tokenizer says."""
    known = [(text, token) for text, token in zip(texts, tokens, strict=False) if text is not None]
    if all(text == f"token_id:{token}" for text, token in known):
        return
    theirs = "".join("".join(text for text, _ in known).translate(_SPACES).split())
    ours = "".join(tokenizer.decode([token for _, token in known]).split())
    if theirs != ours:
        raise ProbeError(
            f"its tokens spell {theirs[:40]!r}, the tokenizer's {ours[:40]!r}: "
            "is `source` the tokenizer of the served model?"
        )


def check_generation(
    generate: Callable[[GenerateRequest, Sampling], Generated], score: Callable[[ScoreRequest], object], tokenizer
) -> None:
    """Raise ProbeError unless the log-probs of what is drawn are those that the same tokens have in a prompt."""
    prompt = tokenizer(TEXT[:10], add_special_tokens=False).input_ids
    sampling = Sampling(temperature=0.5)
    asked = [GenerateRequest(prompt, 24, seed) for seed in range(4)]
    drawn = [generate(request, sampling) for request in asked]
    if generate(asked[0], sampling).token_ids != drawn[0].token_ids:
        log.warning("the same seed gave two responses: this server's responses cannot be drawn again")
    gaps = [
        np.abs(
            found.logprobs - score(ScoreRequest(prompt, found.token_ids, np.ones(len(found.token_ids), bool))).logprobs
        )
        for found in drawn
        if found.token_ids
    ]
    if not gaps:
        raise ProbeError("it returns no tokens")
    if (gap := np.concatenate(gaps).mean()) > MEAN_ROUNDING:
        raise ProbeError(
            f"the log-probs of what it draws differ by {gap:.2f} on average from those of the same tokens in a prompt; "
            "they must be the model's own, before the temperature (vLLM: --logprobs-mode raw_logprobs)"
        )
