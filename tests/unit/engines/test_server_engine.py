"""The server engine against small servers on this machine: one that does all right, and each kind that does not."""

import json
import logging
import re
import threading
from dataclasses import asdict

import numpy as np
import pytest

from distrace.engines import Purpose, load_engine
from distrace.engines.requests import GenerateRequest, ScoreRequest
from distrace.engines.server import client
from distrace.errors import DistraceError
from distrace.models import Card
from distrace.settings import Execution, ModelSettings, Sampling, Server
from fake_server import CONTEXT_LENGTH, Fake, Handler, running, save_tokenizer
from tiny import plain_scores, tiny_tokenizer

KEY = "sk-secret-123"


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Card:
    """The card of a served model: tokenizer and config, no weights."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return Card("teacher", str(folder), None, "")


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as fake:
        yield fake


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """How long the client would have paused."""
    found: list[float] = []
    monkeypatch.setattr(client.time, "sleep", found.append)
    return found


def load(card: Card, fake: Fake, settings: ModelSettings | None = None, purpose: Purpose = "score", **options: object):
    at = asdict(Server(fake.url, "tiny", **{"timeout": 20.0, **options}))
    return load_engine(card, settings or ModelSettings(engine="server"), Execution(server=at), purpose)


def requests_of(count: int = 5) -> list[ScoreRequest]:
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 40, count)
    return [ScoreRequest([1, 2, n], rng.integers(0, 299, n).tolist(), rng.random(n) < 0.7) for n in lengths.tolist()]


def no_tokens(request: ScoreRequest) -> ScoreRequest:
    return ScoreRequest(request.prompt, request.response, np.zeros(len(request.response), bool))


@pytest.mark.parametrize("form", ["prompt_logprobs", "echo"])
def test_scores_are_those_of_the_transformers_engine_through_either_form(fake, card, form):
    fake.forms = {form}
    engine = load(card, fake)
    assert (engine.form.name, engine.context_length) == (form, CONTEXT_LENGTH - 1)
    requests = [*requests_of(), no_tokens(requests_of()[0])]
    scores = {
        i: score
        for batch in engine.score_batches(requests)
        for i, score in zip(batch, engine.score([requests[i] for i in batch]), strict=True)
    }
    for i, expected in enumerate(fake.engine.score(requests)):
        np.testing.assert_allclose(scores[i].logprobs, expected.logprobs, atol=1e-5)
        if form == "prompt_logprobs" and len(expected.ranks):
            np.testing.assert_array_equal(scores[i].ranks, expected.ranks)
        elif form == "echo":
            assert scores[i].ranks is None or not len(expected.logprobs)


def test_a_server_is_not_asked_for_the_probabilities_of_other_tokens(fake, card):
    with pytest.raises(DistraceError, match="only engine 'transformers' tells the probabilities of the 50 most"):
        load(card, fake).score(requests_of(), 50)


def test_responses_are_those_of_the_transformers_engine(fake, card):
    fake.engine.ends = {fake.engine.tokenizer.eos_token_id}
    engine = load(card, fake, purpose="generate")
    requests = [GenerateRequest([1, 2, 3], 30, seed) for seed in (5, 6, 2**63 + 5)]
    told = []
    sampling = Sampling(temperature=0.9, top_p=0.95, top_k=200)
    found = engine.generate(requests, sampling, lambda *news: told.append(news))
    expected = fake.engine.generate([GenerateRequest([1, 2, 3], 30, seed) for seed in (5, 6, 5)], sampling)
    for one, other in zip(found, expected, strict=True):
        assert (one.token_ids, one.finish_reason) == (other.token_ids, other.finish_reason)
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
    assert np.sum(told, axis=0).tolist() == [sum(len(f.token_ids) for f in found), 3]


def test_a_response_ends_before_its_end_token_and_at_its_limit(fake, card):
    engine = load(card, fake, purpose="generate")
    drawn = {"token_ids": [7, 8, 9], "logprobs": {"token_logprobs": [-1.0, -2.0, -3.0]}}
    fake.fault = lambda answer, _: answer["choices"][0].update(drawn, finish_reason="stop", stop_reason=9)
    (stopped,) = engine.generate([GenerateRequest([1], 5, 0)], Sampling())
    assert (stopped.token_ids, stopped.logprobs.tolist(), stopped.finish_reason) == ([7, 8], [-1.0, -2.0], "stop")
    fake.fault = lambda answer, _: answer["choices"][0].update(drawn, finish_reason="length")
    (cut,) = engine.generate([GenerateRequest([1] * (CONTEXT_LENGTH - 3), 50, 0)], Sampling())
    assert (cut.token_ids, cut.finish_reason) == ([7, 8, 9], "length")
    assert fake.seen[-1]["max_tokens"] == 2
    fake.fault = lambda answer, _: answer["choices"][0].update(drawn, finish_reason="abort")
    with pytest.raises(DistraceError, match="'abort'"):
        engine.generate([GenerateRequest([1], 5, 0)], Sampling())


def in_both_forms(change):
    """Return a fault that changes the list of entries, of `n` tokens, of whichever form was asked for."""

    def fault(answer: dict, body: dict) -> None:
        choice = answer["choices"][0]
        if "prompt_logprobs" in choice:
            tokens, entries = body["prompt"], choice["prompt_logprobs"]
            values = change([e and next(iter(e.values()))["logprob"] for e in entries])
            choice["prompt_logprobs"] = [
                None if v is None else {str(t): {"logprob": v, "rank": 1}}
                for t, v in zip((tokens + tokens)[: len(values)], values, strict=True)
            ]
        elif "logprobs" in choice:
            *entries, last = choice["logprobs"]["token_logprobs"]
            choice["logprobs"] = {"token_logprobs": [*change(entries), last]}

    return fault


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: [None, *e[2:], -0.5], "when a later token is replaced: shifted"),
        (lambda e: [None, -0.5, *e[1:-1]], "does not change when the token is replaced: shifted"),
        (lambda e: [None, *(-float(i) for i in range(1, len(e)))], "does not change when the token is replaced"),
        (lambda e: [-3.0, *e[1:]], "first token is not null"),
        (lambda e: [*e[:5], None, *e[6:]], "the entry of token 5 of .* is null"),
        (lambda e: e[:-1], "entries for .* tokens: it adds, drops or cuts some"),
        (lambda e: [*e, -1.0], "entries for .* tokens: it adds, drops or cuts some"),
        (lambda e: [None, *(-v for v in e[1:])], "greater than 0"),
        (lambda e: [None, *(v - len(e) / 9 for v in e[1:])], "where more follow"),
        (lambda e: [], "returns no prompt_logprobs\n.*returns 0 entries"),
    ],
)
def test_a_server_with_wrong_entries_is_refused_before_the_first_row(fake, card, change, reason):
    fake.fault = in_both_forms(change)
    with pytest.raises(DistraceError, match=f"'teacher': {fake.url} cannot be used for scoring:\n(.|\n)*{reason}"):
        load(card, fake)


def test_a_server_without_logprobs_of_prompts_is_refused(fake, card):
    fake.forms = set()
    with pytest.raises(DistraceError, match=r"it returns no prompt_logprobs\n.*it returns no token_logprobs"):
        load(card, fake)


def test_entries_that_ignore_the_token_before_are_refused(fake, card):
    # As of a server that reads each token from the distribution one place too early.
    def fault(answer: dict, body: dict) -> None:
        prompt = body["prompt"]
        values = [None, -1.0]
        values += [plain_scores(fake.engine.model, prompt[: i - 1], [prompt[i]])[0][0] for i in range(2, len(prompt))]
        answer["choices"][0]["logprobs"] = {"token_logprobs": [*values, -1.0]}

    fake.forms, fake.fault = {"echo"}, fault
    with pytest.raises(DistraceError, match="does not change when the token before is replaced"):
        load(card, fake)


def test_entries_of_other_tokens_are_refused(fake, card):
    def fault(answer: dict, body: dict) -> None:
        entries = answer["choices"][0].get("prompt_logprobs")
        if entries:
            answer["choices"][0]["prompt_logprobs"] = [None, *entries[2:], entries[1]]

    fake.forms, fake.fault = {"prompt_logprobs"}, fault
    with pytest.raises(DistraceError, match=r"lacks token \d+ of the prompt: shifted"):
        load(card, fake)


def with_bos(card: Card, tmp_path) -> Card:
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    return Card("teacher", str(tmp_path), None, "")


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("form", ["prompt_logprobs", "echo"])
def test_a_server_that_drops_or_adds_bos_is_refused(fake, card, tmp_path, form, counted):
    settings = ModelSettings(engine="server", context_length=CONTEXT_LENGTH - 1)
    card = with_bos(card, tmp_path)
    bos = fake.engine.tokenizer.eos_token_id
    fake.forms = {form}
    load(card, fake, settings)
    if not counted:
        fake.fault = lambda answer, _: answer.pop("usage") and None
    fake.prepare = lambda prompt: prompt[1:] if prompt[0] == bos else prompt
    with pytest.raises(DistraceError, match="adds or drops some" if counted else "adds, drops or cuts some"):
        load(card, fake, settings)
    fake.prepare = lambda prompt: prompt if prompt[0] == bos else [bos, *prompt]
    with pytest.raises(DistraceError, match="adds or drops some" if counted else "adds, drops or cuts some"):
        load(card, fake, settings)


def test_a_server_that_hides_that_it_drops_bos_is_refused(fake, card, tmp_path):
    bos = fake.engine.tokenizer.eos_token_id

    def fault(answer: dict, body: dict) -> None:
        if body["prompt"][0] == bos:
            answer["usage"] = {}
            found = answer["choices"][0]["logprobs"]
            answer["choices"][0]["logprobs"] = {"token_logprobs": [None, -2.0, *found["token_logprobs"][1:]]}

    fake.forms, fake.fault = {"echo"}, fault
    fake.prepare = lambda prompt: prompt[1:] if prompt[0] == bos else prompt
    with pytest.raises(DistraceError, match="BOS before a text changes nothing"):
        load(with_bos(card, tmp_path), fake, ModelSettings(engine="server", context_length=CONTEXT_LENGTH - 1))


def test_another_models_tokenizer_is_refused(fake, card):
    def fault(answer: dict, _: dict) -> None:
        choice = answer["choices"][0]
        for entry in choice.get("prompt_logprobs", [None])[1:]:
            next(iter(entry.values()))["decoded_token"] = "x"
        if "logprobs" in choice:
            choice["logprobs"]["tokens"] = ["x"] * len(choice["logprobs"]["tokens"])

    fake.fault = fault
    with pytest.raises(DistraceError, match="is `source` the tokenizer of the served model"):
        load(card, fake)


def test_a_prompt_that_is_cut_later_on_is_an_error(fake, card):
    engine = load(card, fake)
    fake.prepare = lambda prompt: prompt[:20]
    fake.fault = lambda answer, _: answer.pop("usage") and None
    with pytest.raises(DistraceError, match="20 entries for 42 tokens"):
        engine.score([ScoreRequest([1, 2], list(range(40)), np.ones(40, bool))])


@pytest.mark.parametrize("value", [None, -9999.0, float("inf"), float("-inf"), float("nan")])
def test_an_impossible_token_is_an_error(fake, card, value):
    engine = load(card, fake)
    fake.fault = in_both_forms(lambda e: [*e[:3], value, *e[4:]])
    with pytest.raises(DistraceError, match=r"token 3 of|greater than 0"):
        engine.score([ScoreRequest([1, 2], [3, 4, 5], np.ones(3, bool))])


def test_a_server_that_does_not_return_what_it_drew_can_score_only(fake, card):
    fake.fault = lambda answer, _: answer["choices"][0].pop("token_ids", None) and None
    engine = load(card, fake)
    engine.score(requests_of(1))
    with pytest.raises(DistraceError, match="does not return the token ids it drew"):
        load(card, fake, purpose="generate")


def test_a_server_whose_logprobs_are_those_after_the_temperature_is_refused(fake, card):
    def fault(answer: dict, body: dict) -> None:
        choice = answer["choices"][0]
        if body.get("return_token_ids"):
            choice["logprobs"] = {"token_logprobs": [v / 2 for v in choice["logprobs"]["token_logprobs"]]}

    fake.fault = fault
    with pytest.raises(DistraceError, match=r"cannot be used to generate: .*before the temperature"):
        load(card, fake, purpose="generate")


def test_a_server_that_ignores_seeds_is_reported(fake, card, caplog):
    count = iter(range(100))
    draw = fake.engine.generate
    fake.engine.generate = lambda requests, s: draw(
        [GenerateRequest(r.prompt, r.max_tokens, next(count)) for r in requests], s
    )
    load(card, fake, purpose="generate")
    assert "cannot be drawn again" in caplog.text


def failing(times: int, fail):
    """Return a trouble that takes the place of the first so many requests."""
    left = iter(range(times))
    return lambda handler, body: next(left, None) is not None and (fail(handler) or True)


def test_a_busy_server_is_asked_again_after_growing_pauses(fake, card, pauses):
    engine = load(card, fake)
    fake.trouble = failing(3, lambda handler: handler.answer(503, {"error": "starting"}))
    (found,) = engine.score(requests_of(1))
    np.testing.assert_allclose(found.logprobs, fake.engine.score(requests_of(1))[0].logprobs, atol=1e-5)
    assert len(pauses) == 3
    assert all(low <= pause <= 3 * low for low, pause in zip((0.5, 1, 2), pauses, strict=True))


def test_retry_after_is_honoured(fake, card, pauses):
    engine = load(card, fake)
    fake.trouble = failing(1, lambda handler: handler.answer(429, {}, Retry_After="7"))
    engine.score(requests_of(1))
    fake.trouble = failing(1, lambda handler: handler.answer(429, {}, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"))
    engine.score(requests_of(1))
    fake.trouble = failing(1, lambda handler: handler.answer(429, {}, Retry_After="86400"))
    engine.score(requests_of(1))
    assert pauses == [7, 0, client.LONGEST_PAUSE]


def cut_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()
    handler.wfile = open("/dev/null", "wb")  # noqa: SIM115


@pytest.mark.parametrize("fail", [cut_off, hang_up])
def test_a_connection_that_breaks_is_made_again(fake, card, pauses, fail):
    engine = load(card, fake)
    fake.trouble = failing(2, fail)
    (found,) = engine.score(requests_of(1))
    np.testing.assert_allclose(found.logprobs, fake.engine.score(requests_of(1))[0].logprobs, atol=1e-5)
    assert len(pauses) == 2


def test_a_reply_that_takes_too_long_is_asked_for_again(fake, card, pauses):
    engine = load(card, fake)
    engine.client.http.timeout = 0.2
    wait = threading.Event()
    fake.trouble = failing(1, lambda handler: wait.wait(20))
    engine.score(requests_of(1))
    wait.set()
    assert len(pauses) == 1


def test_a_server_that_stays_broken_is_an_error_with_url_and_status(fake, card, pauses):
    engine = load(card, fake, retries=2)
    fake.trouble = failing(99, lambda handler: handler.answer(500, {"error": "no memory"}))
    with pytest.raises(DistraceError, match=rf"'teacher': {fake.url}: status 500: .*no memory.* \(after 3 tries\)"):
        engine.score(requests_of(1))
    assert len(pauses) == 2


def test_a_request_that_the_server_refuses_is_not_sent_again(fake, card, pauses):
    engine = load(card, fake)
    fake.trouble = failing(99, lambda handler: handler.answer(400, {"error": "too long"}))
    with pytest.raises(DistraceError, match=r"status 400: .*too long"):
        engine.score(requests_of(1))
    assert pauses == []


def test_a_reply_that_is_no_json_is_an_error(fake, card):
    engine = load(card, fake)
    fake.trouble = failing(1, lambda handler: handler.answer(200, ["gateway"]))
    with pytest.raises(DistraceError, match=r"status 200, but no JSON object: \[\"gateway\"\]"):
        engine.score(requests_of(1))


def test_a_server_that_is_not_there_is_an_error(fake, card, pauses):
    at = asdict(Server("http://127.0.0.1:9/v1", "tiny", retries=1))
    with pytest.raises(DistraceError, match=r"'teacher': http://127\.0\.0\.1:9/v1: ConnectError"):
        load_engine(card, ModelSettings(engine="server"), Execution(server=at), "score")


def test_no_more_requests_are_under_way_than_allowed_and_answers_keep_their_order(fake, card):
    engine = load(card, fake, concurrency=3)
    fake.most_busy = 0
    together = threading.Barrier(3)
    fake.trouble = lambda handler, body: together.wait(20) and False
    requests = requests_of(12)
    for one, other in zip(engine.score(requests), fake.engine.score(requests), strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
    assert fake.most_busy == 3


def test_the_key_goes_to_the_server_and_nowhere_else(fake, card, monkeypatch, caplog, pauses):
    monkeypatch.setenv("TEACHER_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    engine = load(card, fake, api_key_variable="TEACHER_KEY", retries=1)
    assert fake.headers[-1]["Authorization"] == f"Bearer {KEY}"
    fake.trouble = failing(1, lambda handler: handler.answer(429, {"error": f"slow down, {KEY}"}))
    engine.score(requests_of(1))
    fake.trouble = failing(99, lambda handler: handler.answer(401, {"error": f"wrong key {KEY}"}))
    with pytest.raises(DistraceError, match=r"wrong key \*\*\*"):
        engine.score(requests_of(1))
    fake.trouble = failing(99, lambda handler: handler.answer(400, {"error": "x" * 480 + KEY}))
    with pytest.raises(DistraceError) as error:
        engine.score(requests_of(1))
    assert KEY[:4] not in str(error.value)
    assert len(pauses) == 1
    assert KEY not in caplog.text
    assert KEY not in json.dumps(fake.seen)


@pytest.mark.parametrize("key", ["", " \n", "hush\nhush", "hüsh"])
def test_a_key_that_is_none_is_named_and_not_shown(fake, card, monkeypatch, key):
    monkeypatch.setenv("TEACHER_KEY", key)
    with pytest.raises(DistraceError, match="environment variable TEACHER_KEY holds no key") as error:
        load(card, fake, api_key_variable="TEACHER_KEY")
    assert not any(secret in str(error.value) for secret in ("hush", "hüsh"))


def test_the_end_of_a_line_behind_a_key_is_not_part_of_it(fake, card, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY + "\n")
    load(card, fake, api_key_variable="TEACHER_KEY")
    assert fake.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_a_key_is_not_sent_to_where_a_server_points(fake, card, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)
    fake.trouble = failing(99, lambda handler: handler.answer(307, {}, Location="http://127.0.0.1:9/v1"))
    with pytest.raises(DistraceError, match="status 307"):
        load(card, fake, api_key_variable="TEACHER_KEY")


@pytest.mark.parametrize("url", ["http://me:hush@host/v1", "http://host/v1?key=hush", "host:8000/v1"])
def test_an_address_with_a_secret_is_refused_without_showing_it(card, url):
    at = {"url": url, "model": "tiny"}
    with pytest.raises(DistraceError, match="without user, password or query") as error:
        load_engine(card, ModelSettings(engine="server"), Execution(server=at), "score")
    assert "hush" not in str(error.value)


def test_a_model_that_is_not_served_or_has_too_short_a_context_is_named(fake, card):
    at = asdict(Server(fake.url, "huge"))
    with pytest.raises(DistraceError, match="serves no model 'huge'; it serves tiny"):
        load_engine(card, ModelSettings(engine="server"), Execution(server=at), "score")
    with pytest.raises(DistraceError, match=rf"takes {CONTEXT_LENGTH}, .* set context_length: {CONTEXT_LENGTH - 1}$"):
        load(card, fake, ModelSettings(engine="server", context_length=CONTEXT_LENGTH))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"data": "tiny"}, "/models gives no list of models: 'tiny'; is it the address of a server?"),
        ({"data": {"id": "tiny"}}, "/models gives no list of models"),
        ({"data": ["tiny", None]}, "/models gives no list of models"),
        ({"object": "list"}, "/models gives no list of models: 'None'"),
        ({"data": []}, "serves no model 'tiny'; it serves none"),
        ({"data": [{"id": ["tiny"]}, {}]}, "serves no model 'tiny'; it serves ['tiny'], None"),
        ({"data": [{"id": f"m{n}\n" * 99} for n in range(99)]}, "and 79 more"),
        (
            {"data": [{"id": "tiny", "max_model_len": "long"}]},
            "/models gives 'long' as max_model_len, which is no",
        ),
        (["tiny"], "status 200, but no JSON object"),
        (None, "status 200, but no JSON object"),
    ],
)
def test_a_list_of_models_that_is_nonsense_is_one_line(fake, card, models, said):
    fake.models = models
    with pytest.raises(DistraceError, match=re.escape(said)) as error:
        load(card, fake)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 3000


@pytest.mark.parametrize(
    "answer",
    [{"choices": "x"}, {"choices": [1]}, {"choices": {"a": 1}}, {"choices": []}, {"usage": [], "choices": [{}]}],
)
def test_a_completion_that_is_nonsense_is_a_clear_error(fake, card, answer):
    fake.fault = lambda *_: answer
    with pytest.raises(DistraceError, match="cannot be used for scoring"):
        load(card, fake)


def test_a_context_length_that_nothing_tells_must_be_set(fake, tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path)
    card = Card("teacher", str(tmp_path), None, "")
    with pytest.raises(DistraceError, match="set context_length"):
        load(card, fake)
    assert load(card, fake, ModelSettings(engine="server", context_length=200)).context_length == 200


def test_an_engine_without_its_server_is_refused(card):
    with pytest.raises(DistraceError, match="engine 'server' needs `server`"):
        load_engine(card, ModelSettings(engine="server"), Execution(), "score")
