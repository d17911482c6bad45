"""HTTP to a server of OpenAI-compatible completions: the key, the retries, and the errors."""

import logging
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from distrace.errors import DistraceError
from distrace.settings import Server

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600  # seconds
_MOST_NAMED = 20  # models of a server
_BUSY = {408, 425, 429}  # worth another try, as is every status from 500 on


class ServerError(DistraceError):
    """A server's refusal or failure."""


@dataclass(frozen=True)
class _Trouble:
    """Why a request is worth another try, and after how many seconds, if the server says so."""

    what: str
    pause: float | None = None


class Client:
    """A connection to one server; what it raises names the model and the url, and never holds the key.

    Raises DistraceError if the url would show a secret, or if the key that it should use is not in the environment.
    """

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
            why = ": it holds a line break, or another sign that no key has" if key else ""
            raise DistraceError(
                f"model {self.name!r}: the environment variable {variable} holds no key for the server{why}"
            )
        return key

    def require_model(self, context_length: int) -> None:
        """Raise DistraceError unless the server has the model, with room for one token more than its context length."""
        listed = self.request("GET", "models").get("data")
        if not isinstance(listed, list) or not all(isinstance(model, dict) for model in listed):
            raise self._error(f"/models gives no list of models: {str(listed)[:100]!r}; is it the address of a server?")
        served = {str(model.get("id")): model for model in listed}
        if self.server.model not in served:
            raise DistraceError(
                f"model {self.name!r}: {self.server.url} serves no model {self.server.model!r}; "
                f"it serves {_shown_names(served)}"
            )
        longest = served[self.server.model].get("max_model_len")
        if longest is not None and not isinstance(longest, int):
            raise self._error(f"/models gives {str(longest)[:100]!r} as max_model_len, which is no number")
        if longest is not None and longest <= context_length:
            raise DistraceError(
                f"model {self.name!r}: its context length is {context_length} tokens, but {self.server.url} takes "
                f"{longest}, of which one is always generated; set context_length: {longest - 1}"
            )

    def complete(self, **body: object) -> dict[str, Any]:
        """Return the one choice of a completion, with the server's count of prompt tokens as `prompt_tokens`.

        Raises ServerError as `request` does, or if there is not one choice.
        """
        answer = self.request("POST", "completions", {"model": self.server.model, "n": 1, "stream": False} | body)
        choices, usage = answer.get("choices") or [], answer.get("usage") or {}
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise self._error(f"gave no list of completions: {str(choices)[:100]!r}")
        if len(choices) != 1:
            raise self._error(f"gave {len(choices)} completions of one prompt")
        choice: dict[str, Any] = choices[0]
        return choice | {"prompt_tokens": usage.get("prompt_tokens") if isinstance(usage, dict) else None}

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON of a reply; try again, after growing pauses, where the server is busy or out of reach.

        Raises ServerError if the server refuses the request, or if no try succeeds.
        """
        for attempt in range(self.server.retries + 1):
            outcome = self._try(method, path, body)
            if not isinstance(outcome, _Trouble):
                return outcome
            trouble = outcome
            if attempt < self.server.retries:
                grown = 2**attempt * random.uniform(0.5, 1.5)
                pause = min(grown if trouble.pause is None else trouble.pause, LONGEST_PAUSE)
                log.warning("%s: %s; again in %.1f s", self.server.url, trouble.what, pause)
                time.sleep(pause)
        raise self._error(f"{trouble.what} (after {self.server.retries + 1} tries)")

    def _try(self, method: str, path: str, body: dict[str, Any] | None) -> "dict[str, Any] | _Trouble":
        try:
            reply = self.http.request(method, f"{self.server.url.rstrip('/')}/{path}", json=body)
        except httpx2.RequestError as error:
            return _Trouble(self._without_key(f"{type(error).__name__}: {error}"))
        if reply.is_success:
            return self._json(reply)
        what = f"status {reply.status_code}: {self._shown(reply)}"
        if reply.status_code < 500 and reply.status_code not in _BUSY:
            raise self._error(what)
        return _Trouble(what, _retry_after(reply))

    def _json(self, reply: httpx2.Response) -> dict[str, Any]:
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


def _shown_names(served: Iterable[str]) -> str:
    """Return the first names of models, shortened and in one line: a server may say anything."""
    names = [" ".join(name.split())[:80] for name in served]
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join([*names[:_MOST_NAMED], *more]) or "none"


def _retry_after(reply: httpx2.Response) -> float | None:
    """Return the seconds that a server asks to wait, None if it does not say."""
    wanted = reply.headers.get("Retry-After", "")
    if wanted.isdigit():
        return float(wanted)
    try:
        return max(0.0, (parsedate_to_datetime(wanted) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
