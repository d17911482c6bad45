import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from distrace.engines import load_engine
from distrace.engines.requests import GenerateRequest, ScoreRequest
from distrace.engines.transformers import TransformersEngine, batching, cpu, logits, packing
from distrace.engines.transformers.continuations import Continuations
from distrace.engines.transformers.packing import pack
from distrace.engines.transformers.sampling import draw
from distrace.engines.transformers.slots import SlotLayer, Slots
from distrace.errors import DistraceError
from distrace.models import Card
from distrace.settings import Execution, ModelSettings, Sampling
from tiny import ARCHITECTURES, engine_of, plain_scores, plain_top, tiny_engine, tiny_model, tiny_tokenizer

PACKABLE = set(ARCHITECTURES) - {"gemma2", "mamba"}

tokens = st.lists(st.integers(0, 299), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def engines() -> dict[str, TransformersEngine]:
    return {name: tiny_engine(name, "score" if name == "mamba" else "generate") for name in ARCHITECTURES}


@pytest.fixture
def engine(engines) -> TransformersEngine:
    return engines["llama"]


def request(prompt: list[int], response: list[int]) -> ScoreRequest:
    return ScoreRequest(prompt, response, np.ones(len(response), bool))


def score_all(engine: TransformersEngine, requests: list[ScoreRequest], top: int = 0) -> list:
    scores = {
        i: s
        for batch in engine.score_batches(requests)
        for i, s in zip(batch, engine.score([requests[i] for i in batch], top), strict=True)
    }
    return [scores[i] for i in range(len(requests))]


def assert_as_plain(engine: TransformersEngine, requests: list[ScoreRequest], scores: list) -> None:
    for asked, score in zip(requests, scores, strict=True):
        logprobs, ranks = plain_scores(engine.model, asked.prompt, asked.response)
        np.testing.assert_allclose(score.logprobs, np.array(logprobs)[asked.scored], atol=1e-4, rtol=0)
        np.testing.assert_array_equal(score.ranks, np.minimum(np.array(ranks)[asked.scored], 100))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_of_every_architecture_are_those_of_its_own_forward_pass(engines, architecture, monkeypatch):
    monkeypatch.setattr(cpu, "FEED_FORWARD_TOKENS", 7)
    monkeypatch.setattr(packing, "CPU_QUERIES", 8)
    rng = np.random.default_rng(1)
    prompt = rng.integers(0, 299, 9).tolist()
    requests = [request(prompt, rng.integers(0, 299, n).tolist()) for n in (3, 30, 1, 17)]
    requests.append(request(rng.integers(0, 299, 20).tolist(), requests[1].response))
    assert_as_plain(engines[architecture], requests, score_all(engines[architecture], requests))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sequences_are_packed_where_attention_alone_looks_at_other_tokens(engines, architecture):
    assert engines[architecture].packs == (architecture in PACKABLE)


@settings(max_examples=60, deadline=None)
@given(
    prompts=st.lists(tokens, min_size=1, max_size=3),
    drawn=st.lists(st.tuples(st.integers(0, 2), tokens, st.integers(0, 2**12 - 1)), min_size=1, max_size=8),
    budget=st.sampled_from([1, 20, 50, 500]),
    packs=st.booleans(),
)
def test_scores_do_not_depend_on_batch_order_or_neighbours(engines, prompts, drawn, budget, packs):
    engine = engines["llama"]
    requests = [
        ScoreRequest(prompts[p % len(prompts)], response, np.array([mask >> i & 1 for i in range(len(response))], bool))
        for p, response, mask in drawn
    ]
    engine.packs, engine.score_budget = packs, budget
    try:
        assert_as_plain(engine, requests, score_all(engine, requests))
    finally:
        engine.packs, engine.score_budget = True, 4096


def test_logits_are_read_a_few_rows_at_a_time(engine, monkeypatch):
    requests = [request([1, 2, 3], list(range(5, 45)))]
    seen = []
    head = engine.head
    monkeypatch.setattr(logits, "CPU_LOGITS_BYTES", 3 * 4 * 300)
    monkeypatch.setattr(logits, "CPU_BLOCK_BYTES", 2 * 4 * 300)
    monkeypatch.setattr(engine, "head", lambda states: seen.append(len(states)) or head(states))
    assert_as_plain(engine, requests, engine.score(requests))
    assert seen == [3] * 13 + [1]


def test_the_head_is_not_run_on_prompts_and_unscored_tokens(engine, monkeypatch):
    scored = np.array([False, True, False, True, False])
    seen = []
    head = engine.head
    monkeypatch.setattr(engine, "head", lambda states: seen.append(len(states)) or head(states))
    requests = [ScoreRequest([1, 2, 3], [4, 5, 6, 7, 8], scored)]
    assert_as_plain(engine, requests, engine.score(requests))
    assert seen == [2]


def test_ranks_are_clipped(engine):
    (score,) = engine.score([request([1], list(range(290)))][:1])
    assert score.ranks.max() == 100
    assert score.ranks.min() >= 1


@pytest.mark.parametrize("top", [1, 50, 1000])
def test_the_most_probable_tokens_are_summed_up_on_request(engine, top):
    requests = [request([1, 2, 3], [4, 5, 6, 7]), request([1, 2, 3], [4, 5, 9]), request([8], [])]
    for asked, score in zip(requests, score_all(engine, requests, top), strict=True):
        masses, squares = plain_top(engine.model, asked.prompt, asked.response, top)
        np.testing.assert_allclose(score.top_masses, masses, atol=1e-5)
        np.testing.assert_allclose(score.top_squares, squares, atol=1e-5)
    assert_as_plain(engine, requests, score_all(engine, requests, top))


def test_a_request_without_scored_tokens_gives_an_empty_score(engine):
    requests = [ScoreRequest([1, 2], [3], np.array([False])), request([1, 2], [3, 4])]
    empty, full = score_all(engine, requests)
    assert (len(empty.logprobs), len(full.logprobs)) == (0, 2)


def test_a_scored_token_without_context_is_refused(engine):
    with pytest.raises(ValueError, match="at least one token before it"):
        engine.score_batches([request([], [3, 4])])


def test_shared_beginnings_are_computed_once():
    packed = pack([[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2], [7]])
    assert packed.token_ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert packed.positions.tolist() == [0, 1, 2, 3, 3, 4, 0]
    assert [path.tolist() for path in packed.paths] == [[0, 1, 2, 3], [0, 1, 2, 4, 5], [0, 1], [6]]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8))
def test_packed_paths_spell_their_sequences_at_their_positions(sequences):
    packed = pack(sequences)
    for sequence, path in zip(sequences, packed.paths, strict=True):
        assert packed.token_ids[path].tolist() == sequence
        assert packed.positions[path].tolist() == list(range(len(sequence)))


@pytest.mark.parametrize("packs", [True, False])
def test_batches_hold_every_request_once_within_the_budget_and_begin_with_the_longest(engine, packs, monkeypatch):
    rng = np.random.default_rng(2)
    requests = [request([1, 2], rng.integers(0, 299, n).tolist()) for n in rng.integers(1, 60, 30)]
    monkeypatch.setattr(engine, "packs", packs)
    monkeypatch.setattr(engine, "score_budget", 100)
    batches = engine.score_batches(requests)
    lengths = [[len(requests[i].response) + 1 for i in batch] for batch in batches]
    assert sorted(index for batch in batches for index in batch) == list(range(30))
    assert max(lengths[0]) == max(map(max, lengths))
    sizes = [sum(batch) if packs else len(batch) * max(batch) for batch in lengths]
    assert max(sizes) <= 100 + 2 * 30 * packs  # packed, all share their two prompt tokens


def test_sequences_are_scored_alone_where_the_longest_changes_the_others_positions(engines):
    requests = [request([1, 2], [3] * n) for n in (5, 40, 30, 6)]
    assert engines["phi3"].score_batches(requests) == [[1], [2], [0, 3]]


def out_of_memory_beyond(limit: int, compute):
    def limited(requests, *rest):
        if len(requests) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return compute(requests, *rest)

    return limited


def test_a_batch_is_halved_when_memory_runs_out(engine, monkeypatch):
    requests = [request([1, 2], [n, n + 1]) for n in range(7)]
    expected = engine.score(requests)
    monkeypatch.setattr(engine, "score_at_once", out_of_memory_beyond(2, engine.score_at_once))
    for score, wanted in zip(engine.score(requests), expected, strict=True):
        np.testing.assert_allclose(score.logprobs, wanted.logprobs, atol=1e-5)


def test_one_response_that_does_not_fit_is_an_error_that_names_the_model(engine, monkeypatch):
    monkeypatch.setattr(engine, "score_at_once", out_of_memory_beyond(0, engine.score_at_once))
    with pytest.raises(DistraceError, match="'llama': out of memory"):
        engine.score([request([1, 2], [3])])


def test_other_errors_are_not_taken_for_a_lack_of_memory(engine, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine, "score_at_once", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.score([request([1, 2], [3])])


def test_a_model_that_looks_ahead_is_refused():
    model = tiny_model("llama")
    forward = type(model).forward
    looking = type("Looking", (type(model),), {})
    looking.forward = lambda self, **inputs: _shifted(forward(self, **inputs))
    model.__class__ = looking
    with pytest.raises(DistraceError, match="does not support this architecture"):
        engine_of(model)


def _shifted(output):
    output.logits = output.logits.roll(-1, 1)
    return output


def test_an_engine_is_loaded_from_a_folder_and_unknown_engines_are_refused(tmp_path, engine):
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    card = Card("tiny", str(tmp_path), None, "")
    loaded = load_engine(card, ModelSettings(), Execution(token_budget=50), "score")
    requests = [request([1, 2, 3], [4, 5, 6])]
    np.testing.assert_array_equal(loaded.score(requests)[0].logprobs, engine.score(requests)[0].logprobs)
    assert (loaded.context_length, loaded.score_budget, loaded.generate_budget) == (96, 50, 50)
    assert load_engine(card, ModelSettings(context_length=32), Execution(), "generate").context_length == 32
    with pytest.raises(DistraceError, match="no engine 'abacus'"):
        load_engine(card, ModelSettings(engine="abacus"), Execution(), "score")


def asking(prompts: list[list[int]], max_tokens: int = 20) -> list[GenerateRequest]:
    return [GenerateRequest(prompt, max_tokens, seed) for seed, prompt in enumerate(prompts)]


PROMPTS = [[1, 2, 3], [1, 2, 3], [9, 8, 7, 6, 5, 4, 3], [50], [1, 2, 3], [60, 61]]


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"mamba"}))
def test_a_response_depends_on_its_own_seed_only(engines, architecture, monkeypatch):
    engine = engines[architecture]
    monkeypatch.setattr(engine, "ends", set(range(0, 300, 12)))  # so that some stop early and leave the batch
    requests = asking(PROMPTS)
    together = engine.generate(requests, Sampling())
    backwards = engine.generate(requests[::-1], Sampling())[::-1]
    for asked, one, other in zip(requests, together, backwards, strict=True):
        (alone,) = engine.generate([asked], Sampling())
        assert one.token_ids == other.token_ids == alone.token_ids
        assert one.finish_reason == other.finish_reason == alone.finish_reason
        np.testing.assert_allclose(one.logprobs, alone.logprobs, atol=1e-4)
    assert len({len(found.token_ids) for found in together}) > 1


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=0.5, top_p=0.8, top_k=20), Sampling(temperature=0)]
)
def test_logprobs_kept_at_sampling_time_are_those_of_the_model(engine, sampling):
    requests = asking(PROMPTS)
    found = engine.generate(requests, sampling)
    scores = engine.score([request(r.prompt, g.token_ids) for r, g in zip(requests, found, strict=True)])
    for generated, score in zip(found, scores, strict=True):
        np.testing.assert_allclose(generated.logprobs, score.logprobs, atol=1e-4)


def test_an_architecture_that_keeps_its_state_elsewhere_is_not_loaded_to_generate_nonsense():
    with pytest.raises(DistraceError, match="token by token"):
        tiny_engine("mamba", "generate")


def test_seeds_reproduce_responses_and_differ_between_samples(engine):
    requests = [GenerateRequest([1, 2, 3], 20, seed) for seed in (5, 6, 5)]
    first, second, again = engine.generate(requests, Sampling())
    assert first.token_ids == again.token_ids
    assert first.token_ids != second.token_ids


def test_a_response_ends_before_its_end_token(engine, monkeypatch):
    (whole,) = engine.generate([GenerateRequest([1, 2], 20, 0)], Sampling())
    end = whole.token_ids[7]
    monkeypatch.setattr(engine, "ends", {end, 299})
    (ended,) = engine.generate([GenerateRequest([1, 2], 20, 0)], Sampling())
    assert ended.token_ids == whole.token_ids[: whole.token_ids.index(end)]
    assert (ended.finish_reason, len(ended.logprobs)) == ("stop", len(ended.token_ids))


def test_a_response_ends_at_its_limit_or_at_the_context_length(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    short, long = engine.generate([GenerateRequest([1], 3, 0), GenerateRequest([1] * 90, 50, 0)], Sampling())
    assert (len(short.token_ids), short.finish_reason) == (3, "length")
    assert (len(long.token_ids), long.finish_reason) == (6, "length")


def test_the_end_tokens_of_generation_config_and_tokenizer_both_count():
    model = tiny_model("llama")
    model.generation_config.eos_token_id = [3, 4]
    tokenizer = tiny_tokenizer()
    assert engine_of(model).ends == {3, 4, tokenizer.eos_token_id}


def test_progress_counts_every_token_and_response(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    told = []
    engine.generate(asking(PROMPTS, 5), Sampling(), lambda *news: told.append(news))
    assert np.sum(told, axis=0).tolist() == [5 * len(PROMPTS), len(PROMPTS)]


def test_batches_of_prompts_stay_within_budget_and_context_length(engines, monkeypatch):
    engine = engines["gemma2"]
    monkeypatch.setattr(engine, "generate_budget", 100)
    requests = [GenerateRequest([1] * n, 10, 0) for n in (3, 30, 4, 88, 5)]
    assert engine.generate_batches(requests) == [[3], [1, 4], [2, 0]]


def test_a_batch_that_is_refilled_holds_more_than_is_written_side_by_side(engine, monkeypatch):
    monkeypatch.setattr(engine, "generate_budget", 100)
    requests = [GenerateRequest([1] * n, 10, 0) for n in (3, 30, 4, 88, 5, 30, 30, 30, 30)]
    assert engine.generate_batches(requests) == [[3, 1, 5, 6], [7, 8, 4, 2, 0]]
    steps = rows_of_each_step(engine, monkeypatch)
    engine.generate([requests[i] for i in [7, 8, 4, 2, 0]], Sampling())
    assert max(steps) == 2  # 40 tokens each


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"mamba"}))
def test_rows_are_refilled_where_sequences_are_packed(engines, architecture):
    assert engines[architecture].refills == (architecture in PACKABLE)


@settings(max_examples=20, deadline=None)
@given(
    architecture=st.sampled_from(["llama", "mistral", "gemma3_text", "gemma2", "gpt2"]),
    prompts=st.lists(tokens, min_size=1, max_size=4),
    asked=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=12),
    rows=st.integers(1, 12),
    data=st.data(),
)
def test_responses_are_the_same_however_many_are_written_side_by_side_and_in_whatever_order(
    engines, architecture, prompts, asked, rows, data
):
    engine = engines[architecture]
    requests = [GenerateRequest(prompts[p % len(prompts)], most, seed) for seed, (p, most) in enumerate(asked)]
    order = data.draw(st.permutations(range(len(requests))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ends", set(range(0, 300, 12)))
        alone = [engine.generate([request], Sampling())[0] for request in requests]
        patch.setattr(batching, "MAX_ROWS", rows)
        found = engine.generate([requests[i] for i in order], Sampling())
    for index, one in zip(order, found, strict=True):
        assert (one.token_ids, one.finish_reason) == (alone[index].token_ids, alone[index].finish_reason)
        np.testing.assert_allclose(one.logprobs, alone[index].logprobs, atol=1e-4)


def rows_of_each_step(engine, monkeypatch) -> list[int]:
    """Collect how many rows each step of generation has."""
    head, seen = engine.head, []
    monkeypatch.setattr(engine, "head", lambda states: seen.append(len(states)) or head(states))
    return seen


def test_short_responses_take_turns_beside_a_long_one(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    requests = [GenerateRequest([1, 2, 3], 40, 0), *(GenerateRequest([4 + n], 5, n) for n in range(8))]
    steps = rows_of_each_step(engine, monkeypatch)
    found = engine.generate(requests, Sampling())
    assert [len(one.token_ids) for one in found] == [40] + 8 * [5]
    assert len(steps) < 60  # one after the other, two at a time, takes 40 + 4 * 5 steps
    monkeypatch.setattr(batching, "MAX_ROWS", 256)
    for one, other in zip(found, engine.generate(requests, Sampling()), strict=True):
        assert one.token_ids == other.token_ids


def test_responses_that_end_at_their_first_token_give_their_rows_to_those_that_wait(engine, monkeypatch):
    requests = asking([[n, n + 1] for n in range(12)])
    whole = engine.generate(requests, Sampling())
    first = {one.token_ids[0] for one in whole[::2]}
    monkeypatch.setattr(engine, "ends", first)
    monkeypatch.setattr(batching, "MAX_ROWS", 3)
    found = engine.generate(requests, Sampling())
    assert [(one.token_ids, one.finish_reason) for one in found[::2]] == [([], "stop")] * 6
    for one, other in zip(found, whole, strict=True):
        assert one.token_ids == other.token_ids[: len(one.token_ids)]


def test_responses_of_one_token_are_written_in_as_many_steps_as_they_fill_rows(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    monkeypatch.setattr(batching, "MAX_ROWS", 3)
    steps = rows_of_each_step(engine, monkeypatch)
    found = engine.generate(asking(PROMPTS, 1), Sampling())
    assert [(len(one.token_ids), one.finish_reason) for one in found] == [(1, "length")] * len(PROMPTS)
    assert steps == [3, 3]


def test_a_refilled_row_ends_at_the_context_length(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    prompts = [[1] * 93, [2] * 90, [3] * 95, [4] * 50]
    found = engine.generate(asking(prompts, 90), Sampling())
    assert [(len(one.token_ids), one.finish_reason) for one in found] == [(n, "length") for n in (3, 6, 1, 46)]


def test_greedy_responses_are_those_of_transformers(engine, monkeypatch):
    monkeypatch.setattr(engine, "ends", set())
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    for prompt, one in zip(PROMPTS, engine.generate(asking(PROMPTS), Sampling(temperature=0)), strict=True):
        plain = engine.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=20, do_sample=False
        )
        assert one.token_ids == plain[0, len(prompt) :].tolist()


def test_positions_that_depend_on_the_longest_sequence_are_not_refilled(engines, monkeypatch):
    engine = engines["phi3"]
    assert isinstance(engine.reader(24)([[1, 2]]), Slots)
    assert isinstance(engine.reader(25)([[1, 2]]), Continuations)


def test_a_model_whose_rows_go_wrong_when_refilled_is_written_the_plain_way(monkeypatch):
    put = SlotLayer.put
    monkeypatch.setattr(SlotLayer, "put", lambda self, rows, *rest: put(self, torch.zeros_like(rows), *rest))
    engine = engine_of(tiny_model("llama"), purpose="generate")
    assert (engine.packs, engine.refills) == (True, False)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize("failing", [1, 3, 9])
def test_responses_go_on_where_they_stopped_when_memory_runs_out(engines, architecture, failing, monkeypatch):
    engine = engines[architecture]
    monkeypatch.setattr(engine, "ends", set(range(0, 300, 12)))
    requests = asking(PROMPTS)
    expected = engine.generate(requests, Sampling())
    head, steps, told = engine.head, [], []

    def limited(states):
        steps.append(len(states))
        if len(steps) == failing:
            raise torch.OutOfMemoryError("out of memory")
        return head(states)

    monkeypatch.setattr(engine, "head", limited)
    found = engine.generate(requests, Sampling(), lambda *news: told.append(news))
    assert max(steps[failing:]) <= 3
    for one, other in zip(found, expected, strict=True):
        assert (one.token_ids, one.finish_reason) == (other.token_ids, other.finish_reason)
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
    ended = sum(one.finish_reason == "stop" for one in found)
    assert np.sum(told, axis=0).tolist() == [sum(len(one.token_ids) for one in found) + ended, len(found)]


def test_a_response_that_does_not_fit_alone_is_an_error_that_names_the_model(engine, monkeypatch):
    monkeypatch.setattr(engine, "head", out_of_memory_beyond(0, engine.head))
    with pytest.raises(DistraceError, match="'llama': out of memory"):
        engine.generate(asking(PROMPTS), Sampling())


def test_other_errors_while_generating_are_not_taken_for_a_lack_of_memory(engine, monkeypatch):
    def broken(states):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine, "head", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.generate(asking(PROMPTS), Sampling())


distinct_logits = st.lists(st.integers(-80, 80), min_size=9, max_size=9, unique=True)


@settings(deadline=None)
@given(distinct_logits, st.floats(0.3, 2.0), st.integers(0, 9), st.floats(0.05, 1.0))
def test_tokens_are_drawn_from_what_transformers_would_leave_in_its_proportions(tenths, temperature, top_k, top_p):
    logits = torch.tensor([tenths]) / 10
    expected = TemperatureLogitsWarper(temperature)(None, logits.double())
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    expected = TopPLogitsWarper(top_p)(None, expected).softmax(1)
    grid = (np.arange(2000) + 0.5) / 2000
    settings = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    chosen, logprobs = draw(logits.expand(2000, -1), settings, grid)
    np.testing.assert_allclose(np.bincount(chosen, minlength=9) / 2000, expected[0], atol=2e-3)
    np.testing.assert_allclose(logprobs, logits[0].log_softmax(0)[chosen], atol=1e-5)


def test_top_p_looks_beyond_the_first_candidates_where_the_vocabulary_is_flat():
    logits = torch.zeros(2, 5000)
    logits[0, 17] = 50.0
    grid = np.array([0.999, 0.999])
    chosen, _ = draw(logits, Sampling(top_p=0.9), grid)
    assert chosen[0] == 17
    assert (
        len({int(draw(logits, Sampling(top_p=0.9), np.array([0.5, u]))[0][1]) for u in np.linspace(0, 0.999, 50)}) == 50
    )


def test_temperature_zero_takes_the_likeliest_token():
    chosen, logprobs = draw(torch.tensor([[0.0, 3.0, 1.0]]), Sampling(temperature=0), np.array([0.99]))
    assert chosen.tolist() == [1]
    np.testing.assert_allclose(logprobs, torch.tensor([0.0, 3.0, 1.0]).log_softmax(0)[1], atol=1e-6)


@pytest.fixture
def attended(monkeypatch) -> set[tuple[int, int]]:
    """Collect how many tokens each call of the attention kernel lets attend, and to how many."""
    kernel, seen = torch.nn.functional.scaled_dot_product_attention, set()

    def recording(query, key, *rest, **options):
        seen.add((query.shape[2], key.shape[2]))
        return kernel(query, key, *rest, **options)

    monkeypatch.setattr(packing, "scaled_dot_product_attention", recording)
    monkeypatch.setattr(packing, "CPU_QUERIES", 20)
    return seen


def test_a_short_response_behind_a_shared_prompt_attends_alone(engine, attended):
    prompt = list(range(30))
    requests = [request(prompt, [40, 41, 42]), request(prompt, [50, 51, 52])]
    assert_as_plain(engine, requests, engine.score(requests))
    assert attended == {(20, 20), (12, 32), (2, 32)}  # the last token of a response is not seen


def test_a_long_sequence_under_a_sliding_window_attends_a_window_at_a_time(engines, attended):
    requests = [request([1, 2], list(range(5, 65)))]
    assert_as_plain(engines["mistral"], requests, engines["mistral"].score(requests))
    assert attended == {(5, 5), (5, 9), (1, 5)}


def test_an_engine_is_checked_with_masked_attention_when_it_is_loaded(attended):
    assert tiny_engine("llama").packs
    assert attended


def test_a_model_that_packs_a_little_wrong_is_padded_in_float32_and_packed_in_bfloat16(monkeypatch):
    sound = packing._attended
    monkeypatch.setattr(packing, "_attended", lambda *given: sound(*given) * 1.002)
    for dtype, packs in ((torch.float32, False), (torch.bfloat16, True)):
        assert engine_of(tiny_model("llama").to(dtype)).packs == packs


def test_a_layer_that_only_seems_to_be_feed_forward_is_found_when_the_engine_is_loaded():
    def looking_back(layer):
        plain = type(layer).forward
        looking = type("Looking", (type(layer),), {"forward": lambda self, x: plain(self, x).cumsum(-2)})
        layer.__class__ = looking
        return looking

    model = tiny_model("llama")
    looking_back(model.base_model.layers[0].mlp)
    with pytest.raises(DistraceError, match="perhaps it does with faster_on_cpu: false"):
        engine_of(model)
    assert engine_of(model, faster_on_cpu=False)
