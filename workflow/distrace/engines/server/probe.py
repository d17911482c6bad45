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
from functools import partial

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distrace.engines.requests import GenerateRequest, ScoreRequest
from distrace.engines.server.client import Client, ServerError
from distrace.engines.server.engine import ServerEngine
from distrace.engines.server.forms import FORMS, AnswerError, Form, PromptTokens, ask
from distrace.errors import DistraceError
from distrace.settings import Sampling

log = logging.getLogger(__name__)

# Pairs in mixed order: after "red" a model is sure of "apple", after "blue" of "river", so that the second word of the
# last pair is likely or most unlikely by the word before it alone.
TEXT = "".join(
    f" {pair}." for pair in ("red apple", "blue river", "green stone", "blue river", "red apple", "green stone") * 3
)
ROUNDING = 1.0  # nats on one token: more than half precision and other batches make, a third of what is looked for
MEAN_ROUNDING = 0.1
Entries = NDArray[np.float64]  # log-probs of the tokens of a prompt, in nats
_SPACES = str.maketrans("▁Ġ", "  ")  # as tokenizers write them


def working_form(client: Client, tokenizer: PreTrainedTokenizerBase, context_length: int) -> Form:
    """Return the first form whose answers pass the probe; raise DistraceError with what is wrong with each."""
    reasons = []
    for form in FORMS:
        try:
            check_scores(partial(ask, client, form), tokenizer, context_length)
        except (AnswerError, ServerError) as error:
            reasons.append(f"  {form.name}: {error}")
            continue
        log.info("%s: log-probs of prompts through %s", client.server.url, form.name)
        return form
    raise DistraceError(
        f"model {client.name!r}: {client.server.url} cannot be used for scoring:\n" + "\n".join(reasons)
    )


def check_scores(
    answer: Callable[[list[int]], PromptTokens], tokenizer: PreTrainedTokenizerBase, context_length: int
) -> None:
    """Raise AnswerError with what is wrong if the log-probs that `answer` returns cannot be those of a causal model."""

    def entries(tokens: list[int]) -> Entries:
        """Return the log-probs of the tokens of a prompt, 0 for the first."""
        found = answer(tokens)
        found.require(len(tokens))
        _require_texts(found.texts, tokens, tokenizer)
        return np.array([0.0, *found.logprobs[1:]], np.float64)

    tokens: list[int] = tokenizer(TEXT, add_special_tokens=False).input_ids[: context_length - 1]
    whole = entries(tokens)
    _require_own_place(entries, tokens, whole)
    half = len(tokens) // 2
    gaps = np.abs(entries(tokens[:half]) - whole[:half])
    if gaps.max() > ROUNDING or gaps.mean() > MEAN_ROUNDING:
        raise AnswerError(f"the same tokens have other log-probs (by up to {gaps.max():.2f}) where more follow")
    if tokenizer.bos_token_id is not None:
        after = np.abs(entries([tokenizer.bos_token_id, *tokens])[2:] - whole[1:])
        if after.max() <= max(1e-3, 2 * gaps.max()):
            raise AnswerError("BOS before a text changes nothing: it adds or drops BOS by itself")


def _require_own_place(entries: Callable[[list[int]], Entries], tokens: list[int], whole: Entries) -> None:
    """Raise AnswerError unless replacing a token changes its own entry and the next one's, and none before."""
    changes = [_changes(entries, tokens, whole, *replacement) for replacement in _replacements(tokens)]
    before, own, following = np.max(changes, 0)
    if before > ROUNDING:
        raise AnswerError(f"an entry changes by {before:.2f} when a later token is replaced: shifted")
    if own <= ROUNDING:
        raise AnswerError("the entry of a token does not change when the token is replaced: shifted")
    if following <= ROUNDING:
        raise AnswerError("an entry does not change when the token before is replaced: shifted, or without context")


def _replacements(tokens: list[int]) -> list[tuple[int, int]]:
    """Return places of the text, neither first nor last, and what other token of the text to put there."""
    words = list(dict.fromkeys(tokens))
    step = max(1, len(words) // 4)
    places = (len(tokens) // 2, len(tokens) - 3)
    return [(place, word) for place in places for word in words[::step] if word != tokens[place]]


def _changes(
    entries: Callable[[list[int]], Entries], tokens: list[int], whole: Entries, place: int, word: int
) -> tuple[float, float, float]:
    """Return by how much, in nats, entries change before a replaced token, its own, and the next."""
    changes = np.abs(entries([*tokens[:place], word, *tokens[place + 1 :]]) - whole)
    return changes[:place].max(), changes[place], changes[place + 1]


def _require_texts(texts: list[str | None], tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise AnswerError if the tokens spell something else by the server than by the tokenizer."""
    known = [(text, token) for text, token in zip(texts, tokens, strict=False) if text is not None]
    if all(text == f"token_id:{token}" for text, token in known):
        return
    theirs = "".join("".join(text for text, _ in known).translate(_SPACES).split())
    ours = "".join(str(tokenizer.decode([token for _, token in known])).split())
    if theirs != ours:
        raise AnswerError(
            f"its tokens spell {theirs[:40]!r}, the tokenizer's {ours[:40]!r}: "
            "is `source` the tokenizer of the served model?"
        )


def require_generation(engine: ServerEngine) -> None:
    """Raise DistraceError unless the log-probs of what is drawn are those that the same tokens have in a prompt."""
    sampling = Sampling(temperature=0.5)
    prompt: list[int] = engine.tokenizer(TEXT[:10], add_special_tokens=False).input_ids
    asked = [GenerateRequest(prompt, 24, seed) for seed in range(4)]
    # One at a time, so that rounding does not depend on the others.
    first, *others, again = (engine.generate([request], sampling)[0] for request in [*asked, asked[0]])
    if again.token_ids != first.token_ids:
        log.warning("the same seed gave two responses: this server's responses cannot be drawn again")
    drawn = [found for found in (first, *others) if found.token_ids]
    scores = engine.score([_whole(prompt, found.token_ids) for found in drawn])
    gaps = [np.abs(found.logprobs - score.logprobs) for found, score in zip(drawn, scores, strict=True)]
    if not gaps:
        raise _cannot_generate(engine, "it returns no tokens")
    if (gap := np.concatenate(gaps).mean()) > MEAN_ROUNDING:
        raise _cannot_generate(
            engine,
            f"the log-probs of what it draws differ by {gap:.2f} on average from those of the same tokens in a prompt; "
            "they must be the model's own, before the temperature (vLLM: --logprobs-mode raw_logprobs)",
        )


def _whole(prompt: list[int], response: list[int]) -> ScoreRequest:
    return ScoreRequest(prompt, response, np.ones(len(response), bool))


def _cannot_generate(engine: ServerEngine, reason: str) -> DistraceError:
    client = engine.client
    return DistraceError(f"model {client.name!r}: {client.server.url} cannot be used to generate: {reason}")
