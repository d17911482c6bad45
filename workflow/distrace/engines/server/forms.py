"""The forms in which a server can be asked for the log-probs of a prompt, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distrace.engines.server.client import Client


class AnswerError(Exception):
    """An answer that cannot be right; the message goes on from the server's name: "it returns no log-probs"."""


@dataclass(frozen=True)
class PromptTokens:
    """What a server says of each token of a prompt: natural-log probabilities, ranks and texts, where it tells them."""

    logprobs: list[float | None]
    ranks: list[int] | None
    texts: list[str | None]

    def require(self, length: int) -> None:
        """Raise AnswerError unless there is a log-prob for each of `length` tokens, null for the first alone."""
        if len(self.logprobs) != length:
            raise AnswerError(
                f"it returns {len(self.logprobs)} entries for {length} tokens: it adds, drops or cuts some"
            )
        first, *others = self.logprobs
        if first is not None:
            raise AnswerError("the entry of the first token is not null: shifted, or BOS was added")
        if None in others:
            raise AnswerError(f"the entry of token {1 + others.index(None)} of {length} is null")
        greatest = max((logprob for logprob in others if logprob is not None), default=0.0)
        if greatest > 1e-3:
            raise AnswerError(f"it returns a log-prob of {greatest}: greater than 0 is none")


@dataclass(frozen=True)
class Form:
    """A way to ask for the log-probs of a prompt: what the body holds, and how the answer is read."""

    name: str
    body: dict[str, Any]
    read: Callable[[dict[str, Any], list[int]], PromptTokens]


def _prompt_logprobs(choice: dict[str, Any], prompt: list[int]) -> PromptTokens:
    """Read vLLM's form: for each token of the prompt a dict of log-probs by token id."""
    entries = choice.get("prompt_logprobs")
    if not entries:
        raise AnswerError("it returns no prompt_logprobs")
    if len(entries) != len(prompt):
        return PromptTokens(entries, None, [])  # its length alone is looked at
    for place, (entry, token) in enumerate(zip(entries, prompt, strict=True)):
        if entry is not None and str(token) not in entry:
            raise AnswerError(f"entry {place} of prompt_logprobs lacks token {token} of the prompt: shifted")
    found = [entry[str(token)] if entry else {} for entry, token in zip(entries, prompt, strict=True)]
    logprobs, ranks, texts = ([entry.get(key) for entry in found] for key in ("logprob", "rank", "decoded_token"))
    return PromptTokens(logprobs, ranks if all(ranks[1:]) else None, texts)


def _echo(choice: dict[str, Any], prompt: list[int]) -> PromptTokens:
    """Read OpenAI's form: the prompt's tokens as the beginning of the completion."""
    found = choice.get("logprobs") or {}
    entries = found.get("token_logprobs")
    if not entries:
        raise AnswerError("it returns no token_logprobs")
    # The last is the token that the server generated.
    return PromptTokens(entries[:-1], None, (found.get("tokens") or [])[:-1])


FORMS = (
    Form("prompt_logprobs", {"prompt_logprobs": 0}, _prompt_logprobs),
    Form("echo", {"echo": True, "logprobs": 1}, _echo),
)


def ask(client: Client, form: Form, prompt: list[int]) -> PromptTokens:
    """Return what the server says of each token of a prompt.

    Raises AnswerError if it counts other tokens than were sent, or if the answer is not in the form that was asked
    for; ServerError as the client does.
    """
    choice = client.complete(prompt=prompt, max_tokens=1, temperature=0, **form.body)
    if choice["prompt_tokens"] not in (None, len(prompt)):
        raise AnswerError(
            f"it counts {choice['prompt_tokens']} tokens in a prompt of {len(prompt)}: it adds or drops some"
        )
    try:
        return form.read(choice, prompt)
    except (AttributeError, KeyError, TypeError) as error:
        raise AnswerError(f"its {form.name} is not in the form that vLLM and OpenAI document: {error}") from error
