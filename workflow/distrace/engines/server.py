"""The server engine: the same questions, sent to a server of OpenAI-compatible completions (vLLM, SGLang).

Prompts go as token ids, and log-probs of prompts come back, as vLLM's `prompt_logprobs` or as OpenAI's `echo` with
`logprobs`. Servers differ in what they make of either, so the first thing sent is a probe: sequences whose log-probs
must agree with each other in known ways. A server that fails is refused before it has scored anything.
"""

import logging
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
import transformers
from transformers import AutoConfig

from distrace.engines.probe import ProbeError, Prompt, check_generation, check_scores
from distrace.engines.requests import Generated, GenerateRequest, Score, ScoreRequest, limit
from distrace.engines.whole import (
    end_tokens,
    generate_batches,
    generated,
    score_batches,
    score_of,
    seed_of,
    sent,
)
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings, Sampling, Server

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600  # seconds
_BUSY = {408, 425, 429}  # worth another try, as is every status from 500 on
_LENGTH_UNKNOWN = 10**9  # tokenizers say 10**30 where they do not know


def load(card: Card, settings: ModelSettings, execution: Execution) -> "ServerEngine":
    """Connect to the server of a model and probe it; raise DistraceError if it cannot be reached, used or trusted."""
    if not execution.server:
        raise DistraceError(f"model {card.name!r}: engine 'server' needs `server`: its url and the model's name there")
    transformers.utils.logging.disable_progress_bar()
    where = {"revision": card.revision, "trust_remote_code": settings.trust_remote_code}
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    window = settings.window or _window(card, tokenizer, where)
    client = Client(card.name, Server(**execution.server))
    client.require_model(window)
    engine = ServerEngine(client, tokenizer, window, end_tokens(card, tokenizer))
    engine.form = _working_form(engine)
    return engine


def _window(card: Card, tokenizer, where: dict) -> int:
    try:
        known = getattr(
            AutoConfig.from_pretrained(card.location, **where).get_text_config(), "max_position_embeddings", None
        )
    except (OSError, ValueError):  # a tokenizer without a model's config
        known = None
    known = known or tokenizer.model_max_length
    if known > _LENGTH_UNKNOWN:
        raise DistraceError(
            f"model {card.name!r}: neither config nor tokenizer says how long its window is; set `window`"
        )
    return known - 1  # scoring has the server draw one token after those it scores


class Client:
    """Posts to one server, again where that may help; what it raises names the url and never holds the key."""

    def __init__(self, name: str, server: Server):
        self.name, self.server = name, server
        parts = urlsplit(server.url)
        if parts.scheme not in ("http", "https") or parts.username or parts.password or parts.query:
            raise DistraceError(
                f"model {name!r}: server.url must be http(s)://HOST/... without user, password or query; "
                "name the environment variable that holds the key in server.api_key_variable"
            )
        self.key = self._key()
        self.http = httpx2.Client(
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            timeout=httpx2.Timeout(server.timeout, connect=min(server.timeout, 30.0)),
            limits=httpx2.Limits(max_connections=server.concurrency),
        )

    def _key(self) -> str | None:
        variable = self.server.api_key_variable
        if variable is None:
            return None
        key = os.environ.get(variable, "").strip()
        if not (key and key.isascii() and key.isprintable()):  # HTTP would refuse the others, and show them
            raise DistraceError(f"model {self.name!r}: the environment variable {variable} holds no key for the server")
        return key

    def require_model(self, window: int) -> None:
        """Raise DistraceError unless the server has the model, with room for the window and one token more."""
        served = {model.get("id"): model for model in self.request("GET", "models").get("data") or []}
        if self.server.model not in served:
            raise DistraceError(
                f"model {self.name!r}: {self.server.url} serves no model {self.server.model!r}; "
                f"it serves {', '.join(map(str, served)) or 'none'}"
            )
        longest = served[self.server.model].get("max_model_len")
        if longest is not None and longest <= window:
            raise DistraceError(
                f"model {self.name!r}: its window has {window} tokens, but {self.server.url} takes {longest}, "
                f"of which one is always generated; set `window: {longest - 1}`"
            )

    def complete(self, **body: object) -> dict:
        """Give the one choice of a completion, with the server's count of prompt tokens as `prompt_tokens`."""
        answer = self.request("POST", "completions", {"model": self.server.model, "n": 1, "stream": False} | body)
        choices = answer.get("choices") or []
        if len(choices) != 1:
            raise self._error(f"gave {len(choices)} completions of one prompt")
        return choices[0] | {"prompt_tokens": (answer.get("usage") or {}).get("prompt_tokens")}

    def request(self, method: str, path: str, body: dict | None = None) -> dict:
        """Give the JSON of a reply; try again, after growing pauses, where the server is busy or out of reach."""
        for attempt in range(self.server.retries + 1):
            pause = None
            try:
                reply = self.http.request(method, f"{self.server.url.rstrip('/')}/{path}", json=body)
            except httpx2.RequestError as error:
                trouble = self._without_key(f"{type(error).__name__}: {error}")
            else:
                if reply.is_success:
                    return self._json(reply)
                trouble = f"status {reply.status_code}: {self._shown(reply)}"
                if reply.status_code < 500 and reply.status_code not in _BUSY:
                    raise self._error(trouble)
                pause = _retry_after(reply)
            if attempt < self.server.retries:
                pause = min(2**attempt * random.uniform(0.5, 1.5) if pause is None else pause, LONGEST_PAUSE)
                log.warning("%s: %s; again in %.1f s", self.server.url, trouble, pause)
                time.sleep(pause)
        raise self._error(f"{trouble} (after {self.server.retries + 1} tries)")

    def _json(self, reply: httpx2.Response) -> dict:
        try:
            found = reply.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._error(f"status {reply.status_code}, but no JSON object: {self._shown(reply)}")
        return found

    def _error(self, trouble: str) -> "ServerError":
        return ServerError(f"model {self.name!r}: {self.server.url}: {trouble}")

    def _shown(self, reply: httpx2.Response) -> str:
        return self._without_key(reply.text)[:500]  # in this order: a part of a key is too much

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text


class ServerError(DistraceError):
    """A server's refusal or failure."""


def _retry_after(reply: httpx2.Response) -> float | None:
    """Give the seconds that a server asks to wait, None if it does not say."""
    wanted = reply.headers.get("Retry-After", "")
    if wanted.isdigit():
        return float(wanted)
    try:
        return max(0.0, (parsedate_to_datetime(wanted) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Form:
    """A way to ask for the log-probs of a prompt: what the body holds, and how the answer is read."""

    name: str
    body: dict
    read: Callable[[dict, list[int]], Prompt]


def _prompt_logprobs(choice: dict, prompt: list[int]) -> Prompt:
    entries = choice.get("prompt_logprobs")
    if not entries:
        raise ProbeError("it returns no prompt_logprobs")
    if len(entries) != len(prompt):
        return Prompt(entries, None, [])  # its length alone is looked at
    for place, (entry, token) in enumerate(zip(entries, prompt, strict=True)):
        if entry is not None and str(token) not in entry:
            raise ProbeError(f"entry {place} of prompt_logprobs lacks token {token} of the prompt: shifted")
    found = [entry[str(token)] if entry else {} for entry, token in zip(entries, prompt, strict=True)]
    logprobs, ranks, texts = ([entry.get(key) for entry in found] for key in ("logprob", "rank", "decoded_token"))
    return Prompt(logprobs, ranks if all(ranks[1:]) else None, texts)


def _echo(choice: dict, prompt: list[int]) -> Prompt:
    found = choice.get("logprobs") or {}
    entries = found.get("token_logprobs")
    if not entries:
        raise ProbeError("it returns no token_logprobs")
    # The last is the token that the server generated.
    return Prompt(entries[:-1], None, (found.get("tokens") or [])[:-1])


FORMS = (
    Form("prompt_logprobs", {"prompt_logprobs": 0}, _prompt_logprobs),
    Form("echo", {"echo": True, "logprobs": 1}, _echo),
)


def _working_form(engine: "ServerEngine") -> Form:
    """Give the first form whose answers pass the probe; raise DistraceError with what is wrong with each."""
    reasons = []
    for form in FORMS:
        try:
            check_scores(lambda prompt, form=form: engine.prompt(form, prompt), engine.tokenizer, engine.window)
        except (ProbeError, ServerError) as error:
            reasons.append(f"  {form.name}: {error}")
            continue
        log.info("%s: log-probs of prompts through %s", engine.client.server.url, form.name)
        return form
    raise DistraceError(
        f"model {engine.client.name!r}: {engine.client.server.url} cannot be used for scoring:\n" + "\n".join(reasons)
    )


class ServerEngine:
    """A served model that scores and generates."""

    form: Form

    def __init__(self, client: Client, tokenizer, window: int, ends: set[int]):
        self.client, self.tokenizer, self.window, self.ends = client, tokenizer, window, ends
        self.generation_checked = False

    def score_plan(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches of bounded size, those with the longest sequences first."""
        return score_batches(requests)

    def score(self, requests: list[ScoreRequest]) -> list[Score]:
        """Give the log-probs of one batch, and ranks where the server tells them."""
        return list(self._side_by_side(self._score, requests))

    def _score(self, request: ScoreRequest) -> Score:
        tokens = sent(request)
        if not tokens:
            return score_of(self.client.name, request, [], [])
        try:
            found = self.prompt(self.form, tokens)
            found.require(len(tokens))
        except ProbeError as error:
            raise DistraceError(f"model {self.client.name!r}: {self.client.server.url}: {error}") from error
        return score_of(self.client.name, request, found.logprobs, found.ranks)

    def prompt(self, form: Form, tokens: list[int]) -> Prompt:
        """Give what the server says of each token of a prompt, through one form."""
        choice = self.client.complete(prompt=tokens, max_tokens=1, temperature=0, **form.body)
        if choice["prompt_tokens"] not in (None, len(tokens)):
            raise ProbeError(
                f"it counts {choice['prompt_tokens']} tokens in a prompt of {len(tokens)}: it adds or drops some"
            )
        try:
            return form.read(choice, tokens)
        except (AttributeError, KeyError, TypeError) as error:
            raise ProbeError(f"its {form.name} is not in the form that vLLM and OpenAI document: {error}") from error

    def generate_plan(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches, those with the longest prompts first."""
        return generate_batches(requests)

    def generate(
        self,
        requests: list[GenerateRequest],
        sampling: Sampling,
        tick: Callable[[int, int], None] | None = None,
    ) -> list[Generated]:
        """Give a response to each request of one batch; `tick` is told of each response, when it is whole."""
        if not self.generation_checked:
            self._check_generation()
        found = []
        for response in self._side_by_side(lambda request: self._generate(request, sampling), requests):
            found.append(response)
            if tick:
                tick(len(response.token_ids), 1)
        return found

    def _check_generation(self) -> None:
        try:
            check_generation(self._generate, self._score, self.tokenizer)
        except ProbeError as error:
            raise DistraceError(
                f"model {self.client.name!r}: {self.client.server.url} cannot be used to generate: {error}"
            ) from error
        self.generation_checked = True

    def _generate(self, request: GenerateRequest, sampling: Sampling) -> Generated:
        choice = self.client.complete(
            prompt=request.prompt,
            max_tokens=limit(request, self.window),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            seed=seed_of(request),
            stop_token_ids=sorted(self.ends),
            logprobs=1,
            return_token_ids=True,
            # Servers take what a request does not say from the model's generation config.
            min_p=0.0,
            repetition_penalty=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
        )
        tokens = choice.get("token_ids")
        if tokens is None:
            raise DistraceError(
                f"model {self.client.name!r}: {self.client.server.url} does not return the token ids it drew "
                "(vLLM does, through return_token_ids); it can score, but not write responses"
            )
        stop = choice.get("stop_reason")
        ends = self.ends | ({stop} if isinstance(stop, int) else set())
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or []
        return generated(self.client.name, tokens, logprobs, choice.get("finish_reason"), ends)

    def _side_by_side(self, ask: Callable, requests: list):
        with ThreadPoolExecutor(self.client.server.concurrency) as pool:
            yield from pool.map(ask, requests)
