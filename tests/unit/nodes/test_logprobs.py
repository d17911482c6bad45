import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import builders
from builders import forget_kept, write_questions
from distrace import batches, kinds
from distrace.artifacts import open_artifact, rejects_path, write
from distrace.engines import load_engine
from distrace.engines.transformers import TransformersEngine
from distrace.errors import DistraceError
from distrace.models import folder_card, write_card
from distrace.nodes import logprobs
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.sentences import write_sentences
from distrace.settings import Execution, ModelSettings
from tiny import plain_scores, plain_top, tiny_model, tiny_tokenizer

SETTINGS = ModelSettings(format="plain")
QUESTION = "What is 4 + 3?"
TEXTS = ["4 and 3 make 7. So it is 7.", "First, add 4 and 3.\n\nThen we have 7.", "", "Seven: 七 ½ 👩‍👩‍👧!"]


def write_model(folder: Path, tokenizer) -> Path:
    tiny_model("llama", max_position_embeddings=192).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_card(folder / "model.json", folder_card("scorer", str(folder)))
    return folder / "model.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("weights"), tiny_tokenizer())


@pytest.fixture
def questions(tmp_path) -> Path:
    row = {"question_id": "q", "question": QUESTION, "answer": "7", "solution": None}
    write(tmp_path / "questions.arrow", kinds.QUESTIONS, [row], {})
    return tmp_path / "questions.arrow"


def write_rollouts(
    questions: Path, texts: list[str], answer_start: int = 0, tokens: list | None = None, **identity
) -> Path:
    rows = [
        {
            "rollout_id": f"r{sample}",
            "question_id": "q",
            "sample": sample,
            "text": text,
            "answer_start": answer_start,
            "token_ids": tokens,
            "logprobs": None,
            "finish_reason": "imported",
        }
        for sample, text in enumerate(texts)
    ]
    made_from = {"questions": open_artifact(questions).fingerprint, "texts": texts}
    write(questions.parent / "rollouts.arrow", kinds.ROLLOUTS, rows, made_from | identity)
    return questions.parent / "rollouts.arrow"


def score(
    rollouts: Path, questions: Path, model: Path, context: str = "full", **options
) -> tuple[list[dict], list[dict]]:
    """Compute the artifact anew, and return its rows and its rejects."""
    out = rollouts.parent / f"{context}.arrow"
    forget_kept(out)
    options = {"settings": SETTINGS, "execution": Execution(), "context": context, "out": out} | options
    score_rollouts(rollouts, questions, model, **options)
    rejects = open_artifact(rejects_path(out), kinds.REJECTS).read()
    return open_artifact(out, kinds.LOGPROBS).read().to_dicts(), rejects.to_dicts()


def tokens_of(text: str) -> list[int]:
    return tiny_tokenizer()(text, add_special_tokens=False).input_ids


def plain(prompt: list[int], response: list[int]) -> list[float]:
    return plain_scores(tiny_model("llama", max_position_embeddings=192), prompt, response)[0]


def test_every_token_is_scored_given_the_question_and_the_response_so_far(questions, model):
    rollouts = write_rollouts(questions, TEXTS)
    rows, rejects = score(rollouts, questions, model)
    assert rejects == []
    assert [row["rollout_id"] for row in rows] == ["r0", "r1", "r2", "r3"]
    for row, text in zip(rows, TEXTS, strict=True):
        assert row["token_ids"] == tokens_of(text)
        np.testing.assert_allclose(row["logprobs"], plain(tokens_of(QUESTION + "\n"), row["token_ids"]), atol=1e-4)
        assert all(1 <= rank <= 100 for rank in row["ranks"])
        assert row["starts"] == sorted(row["starts"])
        assert not text or (row["starts"][0], row["ends"][-1]) == (0, len(text))


@pytest.mark.parametrize("context", ["full", "window-1"])
def test_ranks_are_null_where_the_engine_cannot_tell_them(questions, model, monkeypatch, context):
    rollouts = write_rollouts(questions, TEXTS)
    sentences = rollouts.parent / "sentences.arrow"
    write_sentences(rollouts, "sentences", sentences)
    expected, _ = score(rollouts, questions, model, context, sentences=sentences)
    whole = TransformersEngine.score
    monkeypatch.setattr(
        TransformersEngine, "score", lambda *asked: [replace(score, ranks=None) for score in whole(*asked)]
    )
    rows, _ = score(rollouts, questions, model, context, sentences=sentences)
    assert rows == [row | {"ranks": None if row["token_ids"] else []} for row in expected]


def test_an_empty_response_has_no_tokens(questions, model):
    rows, _ = score(write_rollouts(questions, [""]), questions, model)
    assert rows == [{"rollout_id": "r0", "token_ids": [], "starts": [], "ends": [], "logprobs": [], "ranks": []}]


def test_alone_the_response_follows_the_end_token_of_a_tokenizer_without_bos(questions, model):
    rows, _ = score(write_rollouts(questions, TEXTS), questions, model, "alone")
    for row in rows:
        expected = plain([tiny_tokenizer().eos_token_id], row["token_ids"])
        np.testing.assert_allclose(row["logprobs"], expected, atol=1e-4)


def test_alone_the_response_follows_the_bos_token_where_there_is_one(questions, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "<|pad|>"
    rows, _ = score(write_rollouts(questions, TEXTS[:1]), questions, write_model(tmp_path / "bos", tokenizer), "alone")
    np.testing.assert_allclose(rows[0]["logprobs"], plain([tokenizer.bos_token_id], rows[0]["token_ids"]), atol=1e-4)


@pytest.mark.parametrize("window", [0, 1, 9])
def test_in_a_window_each_sentence_follows_the_question_and_the_sentences_before_it(questions, model, window):
    rollouts = write_rollouts(questions, TEXTS)
    sentences = rollouts.parent / "sentences.arrow"
    write_sentences(rollouts, "sentences", sentences)
    context = f"window-{window}"
    rows, _ = score(rollouts, questions, model, context, sentences=sentences)
    starts = dict(open_artifact(sentences, kinds.SENTENCES).read().group_by("rollout_id").agg("start").iter_rows())
    for row in rows:
        owner = np.searchsorted(starts.get(row["rollout_id"], [0]), row["starts"], "right") - 1
        expected = []
        for sentence in sorted(set(owner)):
            seen = [t for t, o in zip(row["token_ids"], owner, strict=True) if sentence - window <= o < sentence]
            own = [t for t, o in zip(row["token_ids"], owner, strict=True) if o == sentence]
            expected += plain(tokens_of(QUESTION + "\n") + seen, own)
        np.testing.assert_allclose(row["logprobs"], expected, atol=1e-4)


def test_glue_is_conditioned_on_and_never_scored_in_every_context(questions, model, tmp_path):
    template = tmp_path / "format.jinja"
    template.write_text('{%- set before_reasoning = "<r>" -%}{%- set between = "</r>" -%}{{ message }}:')
    text = "Add. Then 7."
    rollouts = write_rollouts(questions, [text], answer_start=5)
    sentences = tmp_path / "sentences.arrow"
    write_sentences(rollouts, "sentences", sentences)
    form = ModelSettings(format=str(template))
    prompt, glue, between = tokens_of(f"{QUESTION}:"), tokens_of("<r>"), tokens_of("</r>")
    reasoning, answer = tokens_of("Add. "), tokens_of("Then 7.")
    whole = tokens_of("<r>Add. </r>Then 7.")
    assert whole == glue + reasoning + between + answer
    first = plain(prompt + glue, reasoning)
    (full,), _ = score(rollouts, questions, model, settings=form)
    assert full["token_ids"] == reasoning + answer
    np.testing.assert_allclose(full["logprobs"], first + plain(prompt + glue + reasoning + between, answer), atol=1e-4)
    (short,), _ = score(rollouts, questions, model, "window-0", settings=form, sentences=sentences)
    np.testing.assert_allclose(short["logprobs"], first + plain(prompt + glue + between, answer), atol=1e-4)


def test_what_cannot_be_scored_is_rejected_with_the_reason(questions, tmp_path):
    texts = ["fine", "word " * 200, "<think> again"]
    rollouts = write_rollouts(questions, texts)
    think = ModelSettings(format="think")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    rows, rejects = score(rollouts, questions, write_model(tmp_path / "chat", tokenizer), settings=think)
    assert [row["rollout_id"] for row in rows] == ["r0"]
    assert [(reject["source"], reject["row"]) for reject in rejects] == [("r1", 1), ("r2", 2)]
    assert "the model's context length is 192" in rejects[0]["reason"]
    assert "<think>" in rejects[1]["reason"]


def test_the_author_sees_the_tokens_that_it_sampled_and_others_do_not(questions, model):
    characters = [t for char in "7 7." for t in tokens_of(char)]
    assert characters != tokens_of("7 7.")
    author = {
        "model": json.loads(model.read_text())["fingerprint"],
        "settings": {"format": "plain", "instruction": SETTINGS.instruction},
    }
    own, _ = score(write_rollouts(questions, ["7 7."], tokens=characters, **author), questions, model)
    assert own[0]["token_ids"] == characters
    np.testing.assert_allclose(own[0]["logprobs"], plain(tokens_of(QUESTION + "\n"), characters), atol=1e-4)
    other, _ = score(write_rollouts(questions, ["7 7."], tokens=characters, model="another"), questions, model)
    assert other[0]["token_ids"] == tokens_of("7 7.")
    edited, rejects = score(write_rollouts(questions, ["7 8."], tokens=characters, **author), questions, model)
    assert edited == []
    assert "edited" in rejects[0]["reason"]


def test_rollouts_of_other_questions_are_refused(questions, model):
    rollouts = write_rollouts(questions, TEXTS)
    row = {"question_id": "q", "question": "And 5 + 6?", "answer": "11", "solution": None}
    write(questions, kinds.QUESTIONS, [row], {"other": True})
    with pytest.raises(DistraceError, match="was computed from questions"):
        score(rollouts, questions, model)


@pytest.mark.parametrize(("context", "message"), [("window-x", "no context"), ("window-1", "needs the sentences")])
def test_a_context_that_cannot_be_is_refused(questions, model, context, message):
    with pytest.raises(DistraceError, match=message):
        score(write_rollouts(questions, TEXTS), questions, model, context)


def test_the_fingerprint_holds_what_changes_the_result_and_nothing_else(questions, model):
    def fingerprint(context: str = "full", **options) -> str:
        score(rollouts, questions, model, context, **options)
        return open_artifact(rollouts.parent / f"{context}.arrow").fingerprint

    rollouts = write_rollouts(questions, TEXTS)
    first = fingerprint()
    assert fingerprint(execution=Execution(token_budget=7)) == first
    assert fingerprint(settings=ModelSettings(format="plain", context_length=100)) != first
    assert fingerprint("alone") != first
    rollouts = write_rollouts(questions, TEXTS[:2])
    assert fingerprint() != first


def watch(monkeypatch, see: Callable[[list], None]) -> None:
    """Let `see` see the requests of each batch that the node asks of the loaded engine."""

    def load(*options: object):
        engine = load_engine(*options)
        whole = engine.score
        engine.score = lambda requests, top: see(requests) or whole(requests, top)
        return engine

    monkeypatch.setattr(logprobs, "load_engine", load)


def test_a_killed_job_goes_on_after_its_last_finished_batch_and_writes_the_same_bytes(
    questions, model, monkeypatch, caplog
):
    rollouts = write_rollouts(questions, [f"{n} and {n} make {2 * n}." for n in range(12)])
    budget = Execution(token_budget=60)
    score(rollouts, questions, model, execution=budget)
    out = rollouts.parent / "full.arrow"
    uninterrupted = out.read_bytes()
    out.unlink()
    computed: list[list] = []

    def killed_in_its_third_batch(requests: list) -> None:
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(requests)

    watch(monkeypatch, killed_in_its_third_batch)
    with pytest.raises(KeyboardInterrupt):
        score(rollouts, questions, model, execution=budget)
    assert not out.exists()
    watch(monkeypatch, computed.append)
    caplog.set_level(logging.INFO)
    score(rollouts, questions, model, execution=budget)
    asked = [(request.prompt, request.response) for batch in computed for request in batch]
    assert len(asked) == len({str(request) for request in asked}) == 12
    assert f"2 of {len(computed)} batches were finished before: 1, 2" in caplog.text
    assert out.read_bytes() == uninterrupted
    assert not batches.state_folder(out).exists()


def write_two_questions(folder: Path, texts: list[str]) -> tuple[Path, Path]:
    """Write questions and rollouts, of which every three answer the same question; the fourth cannot be scored."""
    asked = write_questions(folder / "questions.arrow", {f"What is {n} + 3?": "7" for n in range(len(texts) // 3)})
    answers = {f"r{n}": (f"What is {n // 3} + 3?", text) for n, text in enumerate(texts)}
    answers["r3"] = (answers["r3"][0], "word " * 200)
    return asked, builders.write_rollouts(folder / "rollouts.arrow", asked, answers)


def test_in_chunks_of_whole_questions_responses_have_the_same_scores_and_rejects(tmp_path, model, monkeypatch):
    questions, rollouts = write_two_questions(tmp_path, [f"{n} and {n} make {2 * n}." for n in range(12)])
    rows, rejects = score(rollouts, questions, model)
    monkeypatch.setattr(logprobs, "CHUNK_CHARACTERS", 1)
    batches: list[list] = []
    watch(monkeypatch, batches.append)
    chunked, chunked_rejects = score(rollouts, questions, model, threads=2)
    assert [len(batch) for batch in batches] == [3, 2, 3, 3]
    assert chunked_rejects == rejects
    assert [reject["row"] for reject in rejects] == [3]
    for row, expected in zip(chunked, rows, strict=True):
        np.testing.assert_allclose(row.pop("logprobs"), expected.pop("logprobs"), atol=1e-5)
        assert row == expected


def test_the_model_scores_the_first_chunk_before_the_last_one_is_tokenised(tmp_path, model, monkeypatch):
    questions, rollouts = write_two_questions(tmp_path, [f"{n} and {n} make {2 * n}." for n in range(12)])
    monkeypatch.setattr(logprobs, "CHUNK_CHARACTERS", 1)
    tokenised: list[int] = []
    whole = logprobs.requested
    monkeypatch.setattr(logprobs, "requested", lambda *asked: tokenised.append(asked[-1]) or whole(*asked))
    seen: list[int] = []
    watch(monkeypatch, lambda _: seen.append(len(tokenised)))
    score(rollouts, questions, model)
    assert tokenised == [0, 3, 6, 9]
    assert all(count <= number + 2 for number, count in enumerate(seen))


def test_a_job_killed_in_its_second_chunk_goes_on_there(tmp_path, model, monkeypatch):
    questions, rollouts = write_two_questions(tmp_path, [f"{n} and {n} make {2 * n}." for n in range(12)])
    monkeypatch.setattr(logprobs, "CHUNK_CHARACTERS", 1)
    score(rollouts, questions, model)
    out = rollouts.parent / "full.arrow"
    uninterrupted = out.read_bytes()
    out.unlink()
    computed: list[list] = []

    def killed_in_its_second_batch(requests: list) -> None:
        if len(computed) == 1:
            raise KeyboardInterrupt
        computed.append(requests)

    watch(monkeypatch, killed_in_its_second_batch)
    with pytest.raises(KeyboardInterrupt):
        score(rollouts, questions, model)
    watch(monkeypatch, computed.append)
    score(rollouts, questions, model)
    assert [len(batch) for batch in computed] == [3, 2, 3, 3]
    assert out.read_bytes() == uninterrupted


def test_batches_of_another_fingerprint_are_not_taken_over(questions, model, monkeypatch):
    out = questions.parent / "full.arrow"
    rollouts = write_rollouts(questions, TEXTS)
    monkeypatch.setattr(logprobs, "forget_batches", lambda out: None)
    score(rollouts, questions, model)
    assert batches.state_folder(out).exists()
    rollouts = write_rollouts(questions, [text[::-1] for text in TEXTS])
    rows, _ = score(rollouts, questions, model)
    np.testing.assert_allclose(rows[0]["logprobs"], plain(tokens_of(QUESTION + "\n"), rows[0]["token_ids"]), atol=1e-4)


def test_an_artifact_opens_with_polars_and_holds_the_columns_of_the_contract(questions, model):
    rollouts = write_rollouts(questions, TEXTS)
    score(rollouts, questions, model)
    table = pl.read_ipc(rollouts.parent / "full.arrow")
    assert dict(table.schema) == {
        "rollout_id": pl.String,
        "token_ids": pl.List(pl.Int32),
        "gaps": pl.List(pl.Int16),
        "lengths": pl.List(pl.Int16),
        "logprobs": pl.List(pl.Float32),
        "ranks": pl.List(pl.Int16),
    }


def test_the_sums_over_the_most_probable_tokens_come_on_request_with_the_same_log_probs(questions, model):
    rollouts = write_rollouts(questions, TEXTS)
    expected, _ = score(rollouts, questions, model)
    rows, _ = score(rollouts, questions, model, top_probabilities=5)
    scorer = tiny_model("llama", max_position_embeddings=192)
    for row, plain_row in zip(rows, expected, strict=True):
        masses, squares = plain_top(scorer, tokens_of(QUESTION + "\n"), row["token_ids"], 5)
        np.testing.assert_allclose(row.pop("top_masses"), masses, atol=1e-5)
        np.testing.assert_allclose(row.pop("top_squares"), squares, atol=1e-5)
        assert row == plain_row


def test_sums_that_are_no_longer_asked_for_cost_no_log_prob(questions, model, monkeypatch, caplog):
    rollouts = write_rollouts(questions, TEXTS)
    out = rollouts.parent / "full.arrow"
    expected, _ = score(rollouts, questions, model)
    plain_bytes = out.read_bytes()
    score(rollouts, questions, model, top_probabilities=5)
    computed: list[list] = []
    watch(monkeypatch, computed.append)
    score_rollouts(rollouts, questions, model, SETTINGS, Execution(), "full", out)
    assert computed == []
    assert out.read_bytes() == plain_bytes
    assert open_artifact(out, kinds.LOGPROBS).read().to_dicts() == expected


def test_sums_that_were_not_kept_or_are_over_other_tokens_are_computed(questions, model, monkeypatch):
    rollouts = write_rollouts(questions, TEXTS[:1])
    out = rollouts.parent / "full.arrow"
    score(rollouts, questions, model)
    computed: list[list] = []
    watch(monkeypatch, computed.append)
    for top in (5, 6):
        score_rollouts(rollouts, questions, model, SETTINGS, Execution(), "full", out, top_probabilities=top)
        assert open_artifact(out).identity["top_probabilities"] == top
    assert len(computed) == 2


def test_recorded_log_probs_have_no_sums_over_other_tokens(questions, model):
    with pytest.raises(DistraceError, match="recorded with the log-probs"):
        score(write_rollouts(questions, TEXTS), questions, model, own_logprobs="recorded", top_probabilities=5)
