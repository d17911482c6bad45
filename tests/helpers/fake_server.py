"""A server of completions on this machine, around a tiny model, that can be told to misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from distrace.engines.requests import GenerateRequest
from distrace.settings import Sampling
from tiny import engine_of, plain_scores, tiny_model, tiny_tokenizer

CONTEXT_LENGTH = 300


class Fake:
    """A server of completions around a tiny model; `fault` changes an answer, `trouble` takes a request's place."""

    def __init__(self, engine):
        self.engine, self.forms = engine, {"prompt_logprobs", "echo"}
        self.fault = self.trouble = None
        self.models: object = {"data": [{"id": "tiny", "max_model_len": CONTEXT_LENGTH}]}
        self.prepare = list
        self.seen: list[dict] = []
        self.headers: list[dict] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    def complete(self, body: dict) -> dict:
        prompt = self.prepare(body["prompt"])
        choice = {"index": 0, "text": "?", "finish_reason": "length"}
        if body.get("return_token_ids"):
            choice |= self._generated(prompt, body)
        elif "prompt_logprobs" in body and "prompt_logprobs" in self.forms:
            logprobs, ranks = plain_scores(self.engine.model, prompt[:1], prompt[1:])
            choice["prompt_logprobs"] = [None] + [
                {str(token): {"logprob": logprob, "rank": rank, "decoded_token": self.engine.tokenizer.decode([token])}}
                for token, logprob, rank in zip(prompt[1:], logprobs, ranks, strict=True)
            ]
        elif body.get("echo") and "echo" in self.forms:
            logprobs, _ = plain_scores(self.engine.model, prompt[:1], prompt[1:])
            tokens = [self.engine.tokenizer.decode([token]) for token in prompt]
            choice["logprobs"] = {"tokens": [*tokens, "?"], "token_logprobs": [None, *logprobs, -0.5]}
        answer = {"choices": [choice], "usage": {"prompt_tokens": len(prompt)}}
        return self.fault(answer, body) or answer if self.fault else answer

    def _generated(self, prompt: list[int], body: dict) -> dict:
        with self.lock:
            (found,) = self.engine.generate(
                [GenerateRequest(prompt, body["max_tokens"], body["seed"])],
                Sampling(temperature=body["temperature"], top_p=body["top_p"], top_k=max(0, body["top_k"])),
            )
        end = [self.engine.tokenizer.eos_token_id] if found.finish_reason == "stop" else []
        return {
            "token_ids": found.token_ids + end,
            "logprobs": {"token_logprobs": found.logprobs.tolist() + [-0.1] * len(end)},
            "finish_reason": found.finish_reason,
        }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, self.server.fake.models)

    def do_POST(self):
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.lock:
            fake.seen.append(body)
            fake.headers.append(dict(self.headers))
            fake.busy += 1
            fake.most_busy = max(fake.busy, fake.most_busy)
        try:
            answer = None if fake.trouble and fake.trouble(self, body) else fake.complete(body)
        finally:
            with fake.lock:
                fake.busy -= 1
        if answer is not None:
            self.answer(200, answer)

    def answer(self, status: int, body: dict, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Fake]:
    """Serve a tiny model, as `tiny`, while the block runs."""
    engine = engine_of(tiny_model(max_position_embeddings=CONTEXT_LENGTH), "tiny", CONTEXT_LENGTH, purpose="generate")
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.fake = Fake(engine)
    listening.fake.url = f"http://127.0.0.1:{listening.server_port}/v1"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listening.fake
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def save_tokenizer(folder) -> None:
    """Write what a served model needs here: tokenizer and config, no weights."""
    tiny_tokenizer().save_pretrained(folder)
    tiny_model(max_position_embeddings=CONTEXT_LENGTH).config.save_pretrained(folder)
