"""The vLLM engine: its own part against a stand-in for vLLM, and all of it against the real one (`make test-vllm`)."""

import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest

from distrace.engines import load_engine, vllm
from distrace.engines.requests import GenerateRequest, ScoreRequest
from distrace.engines.server import forms, probe
from distrace.engines.transformers import TransformersEngine
from distrace.errors import DistraceError
from distrace.models import Card, folder_card
from distrace.settings import Execution, ModelSettings, Sampling
from golden import MODEL, golden_requests, needs_model, score_all
from tiny import plain_scores, tiny_engine, tiny_model, tiny_tokenizer

SETTINGS = ModelSettings(engine="vllm")
TOLERANCE = 1e-3


class StandIn:
    """What the engine uses of vLLM's LLM, around a tiny model; requests finish last come, first served."""

    def __init__(self, model: str, **options: object):
        self.options = {"model": model, **options}
        self.model = tiny_model()
        self.llm_engine = self
        self.model_config = SimpleNamespace(max_model_len=options["max_model_len"] or 96)
        self.waiting: list[tuple] = []
        self.asked: list = []
        self.count = 0
        self.entry = lambda logprob, rank: SimpleNamespace(logprob=logprob, rank=rank)
        self.drawn = SimpleNamespace(token_ids=[], logprobs=None, finish_reason="length", stop_reason=None)

    def enqueue(self, prompts: list[dict], parameters: list, use_tqdm: bool) -> None:
        for prompt, one in zip(prompts, parameters, strict=True):
            self.waiting.append((str(self.count), prompt["prompt_token_ids"], one))
            self.asked.append(one)
            self.count += 1

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list:
        number, prompt, parameters = self.waiting.pop()
        if parameters.prompt_logprobs is None:
            return [SimpleNamespace(finished=True, request_id=number, outputs=[self.drawn])]
        logprobs, ranks = plain_scores(self.model, prompt[:1], prompt[1:]) if len(prompt) > 1 else ([], [])
        entries = [{token: self.entry(*found)} for token, *found in zip(prompt[1:], logprobs, ranks, strict=True)]
        outputs = [SimpleNamespace(token_ids=[0])]
        return [SimpleNamespace(finished=True, request_id=number, outputs=outputs, prompt_logprobs=[None, *entries])]


def parameters(prompt_logprobs: int | None = None, **options: object) -> SimpleNamespace:
    return SimpleNamespace(prompt_logprobs=prompt_logprobs, **options)


@pytest.fixture
def card(tmp_path) -> Card:
    tiny_model().config.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return Card("teacher", str(tmp_path), "c0ffee", "")


@pytest.fixture
def stand_in(monkeypatch):
    """Have a stand-in where vLLM would be; tell it whether it is built for CPUs by `on_cpu`."""
    place = SimpleNamespace(on_cpu=True)
    monkeypatch.setattr(vllm, "_vllm", lambda name: (StandIn, parameters, place.on_cpu))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return place


def request(prompt: list[int], response: list[int]) -> ScoreRequest:
    return ScoreRequest(prompt, response, np.ones(len(response), bool))


def test_scores_are_read_from_the_entries_of_the_scored_tokens(stand_in, card):
    rng = np.random.default_rng(0)
    requests = [ScoreRequest([1, 2, n], rng.integers(0, 299, n).tolist(), rng.random(n) < 0.6) for n in (3, 40, 1, 17)]
    requests.append(ScoreRequest([1], [2, 3], np.zeros(2, bool)))
    for one, other in zip(
        score_all(load_engine(card, SETTINGS, Execution(), "score"), requests),
        tiny_engine().score(requests),
        strict=True,
    ):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
        np.testing.assert_array_equal(one.ranks, other.ranks)


def test_vllm_is_not_asked_for_the_probabilities_of_other_tokens(stand_in, card):
    with pytest.raises(DistraceError, match="only engine 'transformers' tells the probabilities of the 50 most"):
        load_engine(card, SETTINGS, Execution(), "score").score([request([1], [2])], 50)


@pytest.mark.parametrize("value", [float("-inf"), float("nan")])
def test_an_impossible_token_is_an_error(stand_in, card, value):
    engine = load_engine(card, SETTINGS, Execution(), "score")
    engine.llm.entry = lambda logprob, rank: SimpleNamespace(logprob=value, rank=rank)
    with pytest.raises(DistraceError, match=rf"'teacher': token 1 of .* {value}"):
        engine.score([request([1], [2])])


def test_what_is_drawn_loses_its_end_token_and_is_asked_for_as_the_settings_say(stand_in, card):
    engine = load_engine(card, SETTINGS, Execution(), "generate")
    end = engine.tokenizer.eos_token_id
    entries = [{7: SimpleNamespace(logprob=-1.5)}, {end: SimpleNamespace(logprob=-2.5)}]
    engine.llm.drawn = SimpleNamespace(token_ids=(7, end), logprobs=entries, finish_reason="stop", stop_reason=None)
    sampling = Sampling(temperature=0.6, top_p=0.9, top_k=20)
    told = []
    requests = [GenerateRequest([1] * 90, 50, 2**64 - 1), GenerateRequest([1], 50, 3)]
    found = engine.generate(requests, sampling, lambda *news: told.append(news))
    assert [(one.token_ids, one.logprobs.tolist(), one.finish_reason) for one in found] == [([7], [-1.5], "stop")] * 2
    assert told == [(2, 1), (2, 1)]
    first, second = engine.llm.asked
    assert (first.max_tokens, first.seed, second.max_tokens, second.seed) == (5, 2**63 - 1, 50, 3)
    assert (first.temperature, first.top_p, first.top_k, first.stop_token_ids) == (0.6, 0.9, 20, [end])
    engine.llm.drawn.finish_reason = "length"
    assert [one.token_ids for one in engine.generate(requests[1:], sampling)] == [[7, end]]
    engine.llm.drawn.finish_reason = "error"
    with pytest.raises(DistraceError, match="'error'"):
        engine.generate(requests[1:], sampling)


def test_batches_are_bounded_and_begin_with_the_longest(stand_in, card, monkeypatch):
    monkeypatch.setattr("distrace.engines.external.BATCH_TOKENS", 100)
    monkeypatch.setattr("distrace.engines.external.BATCH_ROWS", 2)
    engine = load_engine(card, SETTINGS, Execution(), "score")
    assert engine.score_batches([request([1], [2] * n) for n in (4, 94, 50, 3, 2, 44)]) == [[1], [2, 5], [0, 3], [4]]
    requests = [GenerateRequest([1] * n, 40, 0) for n in (4, 80, 20, 3)]
    assert engine.generate_batches(requests) == [[1, 2], [0, 3]]


def test_vllm_is_told_what_the_settings_say(stand_in, card):
    settings = ModelSettings(engine="vllm", dtype="bfloat16", context_length=50, trust_remote_code=True)
    engine = load_engine(card, settings, Execution(token_budget=64), "score")
    told = engine.llm.options
    assert engine.context_length == 50
    assert (told["max_model_len"], told["max_num_batched_tokens"], told["max_num_seqs"]) == (51, 64, 64)
    assert (told["dtype"], told["trust_remote_code"], told["revision"]) == ("bfloat16", True, "c0ffee")
    assert (told["enable_prefix_caching"], told["enforce_eager"], told["tensor_parallel_size"]) == (False, True, 1)
    assert told["enable_chunked_prefill"]
    told = load_engine(card, settings, Execution(token_budget=64), "generate").llm.options
    assert (told["max_num_batched_tokens"], told["max_num_seqs"], told["enable_chunked_prefill"]) == (None, 64, False)
    stand_in.on_cpu = False
    told = load_engine(card, settings, Execution(gpus=2, token_budget=64), "generate").llm.options
    assert (told["max_num_batched_tokens"], told["enable_chunked_prefill"]) == (64, True)
    engine = load_engine(card, SETTINGS, Execution(gpus=2), "score")
    assert (engine.llm.options["tensor_parallel_size"], engine.llm.options["enforce_eager"]) == (2, False)
    assert engine.context_length == 95
    with pytest.raises(DistraceError, match="set `gpus`"):
        load_engine(card, SETTINGS, Execution(), "score")


def test_what_vllm_refuses_is_one_clear_line(stand_in, card, monkeypatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise ValueError("max_model_len is greater than derived")

    monkeypatch.setattr(vllm, "_vllm", lambda name: (refuse, parameters, True))
    with pytest.raises(DistraceError, match="'teacher': vLLM cannot run it: max_model_len is greater"):
        load_engine(card, SETTINGS, Execution(), "score")


def test_without_vllm_the_error_names_its_environment(card, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(DistraceError, match=r"'teacher': engine 'vllm' needs vLLM.*envs/vllm\.yaml"):
        load_engine(card, SETTINGS, Execution(), "score")


def test_what_the_user_set_for_vllm_stays(stand_in, card, monkeypatch):
    monkeypatch.setattr(vllm.torch.cuda, "is_available", lambda: False)
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "40"
    os.environ.pop("VLLM_NO_USAGE_STATS", None)
    load_engine(card, SETTINGS, Execution(), "score")
    assert (os.environ["VLLM_CPU_KVCACHE_SPACE"], os.environ["VLLM_NO_USAGE_STATS"]) == ("40", "1")


def real(test):
    """Mark a test that runs the real vLLM on SmolLM2."""
    needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM: make test-vllm")
    return pytest.mark.vllm(needs_vllm(needs_model(test)))


@pytest.fixture(scope="module")
def smollm2() -> Card:
    return folder_card("smollm2", str(MODEL))


@pytest.fixture(scope="module")
def ours(smollm2) -> TransformersEngine:
    return load_engine(smollm2, ModelSettings(), Execution(), "generate")


@pytest.fixture(scope="module")
def engine(smollm2):
    return load_engine(smollm2, SETTINGS, Execution(), "score")


@pytest.fixture(scope="module")
def writer(smollm2):
    return load_engine(smollm2, SETTINGS, Execution(), "generate")


def assert_same(found: list, expected: list, what: str) -> None:
    """Compare scores, and print by how much they differ at most."""
    gap = max(np.abs(one.logprobs - other.logprobs).max() for one, other in zip(found, expected, strict=True))
    print(f"{what}: {sum(len(one.logprobs) for one in found)} tokens, largest difference {gap:.2g}")
    assert gap <= TOLERANCE


@real
def test_real_responses_are_scored_as_by_transformers(engine, ours):
    _, requests = golden_requests(ours.tokenizer)
    expected, found = score_all(ours, requests), score_all(engine, requests)
    assert_same(found, expected, "scores")
    same = [one.ranks == other.ranks for one, other in zip(found, expected, strict=True)]
    assert np.concatenate(same).mean() > 0.995  # rounding may turn two near-equal tokens round


@real
def test_a_long_response_is_scored_in_steps(engine, ours):
    _, requests = golden_requests(ours.tokenizer)
    tokens = sum((r.prompt + r.response for r in requests), [])  # noqa: RUF017
    tokens = (tokens * (1 + 4100 // len(tokens)))[:4100]
    scored = np.arange(4000) % 8 == 0
    long = [ScoreRequest(tokens[:100], tokens[100:], scored)]
    assert engine.llm.llm_engine.vllm_config.scheduler_config.max_num_batched_tokens < 4000
    assert_same(engine.score(long), ours.score(long), "long input")


@real
def test_real_logprobs_at_sampling_time_are_those_of_the_model(writer, engine, ours):
    _, golden = golden_requests(ours.tokenizer)
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=50)
    requests = [GenerateRequest(request.prompt, 60, seed) for seed, request in enumerate(golden[:8])]
    requests.append(GenerateRequest(golden[0].prompt, 60, 2**64 - 1))
    found = writer.generate(requests, sampling)
    again = [request(asked.prompt, one.token_ids) for asked, one in zip(requests, found, strict=True)]
    assert_same(found, ours.score(again), "sampled, by transformers")
    assert_same(found, engine.score(again), "sampled, by vLLM itself")
    assert found[0].token_ids != found[-1].token_ids
    (alone,) = writer.generate(requests[:1], sampling)
    assert alone.token_ids == found[0].token_ids
    assert not {token for one in found for token in one.token_ids[-1:] if one.finish_reason == "stop"} & writer.ends


@real
def test_prompts_that_do_not_fit_into_one_step_are_answered_with_seeds(writer, ours):
    _, golden = golden_requests(ours.tokenizer)
    requests = [GenerateRequest(request.prompt[n:], 3, n) for n in range(8) for request in golden]
    assert sum(len(one.prompt) for one in requests) > 8000
    found = writer.generate(requests, Sampling())
    assert [len(one.token_ids) for one in found if one.finish_reason == "length"]


@real
def test_the_likeliest_tokens_are_those_that_transformers_takes(writer, ours):
    _, golden = golden_requests(ours.tokenizer)
    requests = [GenerateRequest(request.prompt, 200, 0) for request in golden[:3]]
    greedy = Sampling(temperature=0)
    for one, other in zip(writer.generate(requests, greedy), ours.generate(requests, greedy), strict=True):
        assert (one.token_ids, one.finish_reason) == (other.token_ids, other.finish_reason)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of a real vLLM server of SmolLM2."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(MODEL), "--served-model-name", "smollm2", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "2048"]
    vllm._set_environment()
    output = tmp_path_factory.mktemp("server") / "log"
    with output.open("w") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            for _ in range(300):
                assert process.poll() is None, output.read_text()[-5000:]
                try:
                    if httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                        break
                except httpx2.TransportError:
                    time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@real
@pytest.mark.parametrize("form", forms.FORMS, ids=lambda form: form.name)
def test_a_real_server_scores_and_answers_as_transformers(url, smollm2, ours, monkeypatch, form):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(probe, "FORMS", (form,))
    at = {"url": url, "model": "smollm2"}
    served = load_engine(smollm2, ModelSettings(engine="server", context_length=2047), Execution(server=at), "generate")
    _, golden = golden_requests(ours.tokenizer)
    found = score_all(served, golden)
    assert_same(found, score_all(ours, golden), f"server, {form.name}")
    assert all((one.ranks is None) == (form.name == "echo") for one in found)
    requests = [GenerateRequest(asked.prompt, 60, seed) for seed, asked in enumerate(golden[:4])]
    drawn = served.generate(requests, Sampling(temperature=0.7, top_p=0.9))
    again = [request(asked.prompt, one.token_ids) for asked, one in zip(requests, drawn, strict=True)]
    assert_same(drawn, ours.score(again), f"sampled by the server, {form.name}")
    assert [one.token_ids for one in served.generate(requests, Sampling(temperature=0.7, top_p=0.9))] == [
        one.token_ids for one in drawn
    ]


@real
def test_a_real_server_with_too_short_a_context_is_refused(url, smollm2):
    with pytest.raises(DistraceError, match="set context_length: 2047"):
        load_engine(
            smollm2, ModelSettings(engine="server"), Execution(server={"url": url, "model": "smollm2"}), "score"
        )
