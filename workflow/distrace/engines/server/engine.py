"""The class of the server engine: scoring and generating with a server that is connected and probed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from distrace.engines import external
from distrace.engines.requests import Generated, GenerateRequest, Score, ScoreRequest, Tick, token_limit
from distrace.engines.server.client import Client
from distrace.engines.server.forms import AnswerError, Form, ask
from distrace.errors import DistraceError
from distrace.settings import Sampling

Request = TypeVar("Request")
Result = TypeVar("Result")


class ServerEngine:
    """A served model that scores and generates (`distrace.engines.Engine`); `form` is how it is asked for log-probs."""

    def __init__(
        self,
        client: Client,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int,
        ends: set[int],
        form: Form,
    ):
        self.client, self.tokenizer, self.context_length = client, tokenizer, context_length
        self.ends, self.form = ends, form

    def score_batches(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches of bounded size, the longest sequences first."""
        return external.score_batches(requests)

    def score(self, requests: list[ScoreRequest], top: int = 0) -> list[Score]:
        """Return the log-probs of one batch, and ranks where the server tells them.

        Raises DistraceError where the server fails, or its answer cannot be right, or if `top` is asked for.
        """
        external.require_no_top(self.client.name, top)
        return list(self._side_by_side(self._score, requests))

    def _score(self, request: ScoreRequest) -> Score:
        tokens = external.sent(request)
        if not tokens:
            return external.score_of(self.client.name, request, [], [])
        try:
            found = ask(self.client, self.form, tokens)
            found.require(len(tokens))
        except AnswerError as error:
            raise DistraceError(f"model {self.client.name!r}: {self.client.server.url}: {error}") from error
        return external.score_of(self.client.name, request, found.logprobs, found.ranks)

    def generate_batches(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches of bounded size, the longest prompts first."""
        return external.generate_batches(requests)

    def generate(
        self, requests: list[GenerateRequest], sampling: Sampling, tick: Tick | None = None
    ) -> list[Generated]:
        """Return a response to each request of one batch; `tick` is called for each response, when it is whole.

        Raises DistraceError where the server fails, or does not return what it drew.
        """
        found = []
        for response in self._side_by_side(lambda request: self._generate(request, sampling), requests):
            found.append(response)
            if tick:
                tick(len(response.token_ids), 1)
        return found

    def _generate(self, request: GenerateRequest, sampling: Sampling) -> Generated:
        choice = self.client.complete(
            prompt=request.prompt,
            max_tokens=token_limit(request, self.context_length),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            seed=external.seed_of(request),
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
        return external.generated(self.client.name, tokens, logprobs, choice.get("finish_reason"), ends)

    def _side_by_side(self, ask_one: Callable[[Request], Result], requests: list[Request]) -> Iterator[Result]:
        """Yield the results of all requests, in order; at most `concurrency` are under way at once."""
        with ThreadPoolExecutor(self.client.server.concurrency) as pool:
            yield from pool.map(ask_one, requests)
