import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from builders import forget_kept
from distrace import batches, command, kinds
from distrace.artifacts import open_artifact, write
from distrace.engines.requests import Generated
from distrace.engines.transformers import TransformersEngine, engine
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.models import read_card, write_card
from distrace.nodes.rollouts import sample_rollouts
from distrace.questions import Cut, Questions, part_digests
from distrace.settings import Execution, ModelSettings, Sampling
from tiny import plain_scores, tiny_model, tiny_tokenizer, write_author

QUESTIONS = {"q0": "What is 4 + 3?", "q1": "And 5 + 6?", "q2": "How many apples?"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_author(tmp_path_factory.mktemp("weights"))


def write_questions(folder: Path, questions: dict[str, str]) -> Path:
    rows = [{"question_id": i, "question": q, "answer": "7", "solution": None} for i, q in questions.items()]
    write(folder / "questions.arrow", kinds.QUESTIONS, rows, {"questions": questions})
    return folder / "questions.arrow"


def sample(folder: Path, model: Path, questions: dict[str, str] = QUESTIONS, **options) -> list[dict]:
    """Compute the artifact anew, and return its rows."""
    settings = options.pop("settings", ModelSettings(format="plain"))
    execution = options.pop("execution", Execution())
    sampling = Sampling(**{"samples": 3, "max_tokens": 20, "seed": 5} | options)
    out = folder / "rollouts.arrow"
    forget_kept(out)
    sample_rollouts(write_questions(folder, questions), model, settings, sampling, execution, out)
    return open_artifact(out, kinds.ROLLOUTS).read().to_dicts()


def rejects(folder: Path) -> list[dict]:
    return open_artifact(folder / "rollouts.rejects.arrow", kinds.REJECTS).read().to_dicts()


def test_each_question_has_its_samples_in_order(tmp_path, model):
    rows = sample(tmp_path, model)
    assert [(row["question_id"], row["sample"]) for row in rows] == [(q, s) for q in QUESTIONS for s in range(3)]
    assert len({row["rollout_id"] for row in rows}) == 9
    assert len({row["text"] for row in rows}) == 9
    assert rejects(tmp_path) == []


def test_text_and_logprobs_are_those_of_the_tokens(tmp_path, model):
    for row in sample(tmp_path, model):
        assert row["text"] == tiny_tokenizer().decode(row["token_ids"])
        prompt = tiny_tokenizer()(QUESTIONS[row["question_id"]] + "\n").input_ids
        expected, _ = plain_scores(tiny_model("llama"), prompt, row["token_ids"])
        np.testing.assert_allclose(row["logprobs"], expected, atol=1e-4)
        assert row["rollout_id"] == short_id("author", row["question_id"], row["sample"], row["text"])
        assert (row["finish_reason"] == "length") == (len(row["token_ids"]) == 20)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_responses(tmp_path, model):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    sample(first, model)
    sample(again, model)
    assert (first / "rollouts.arrow").read_bytes() == (again / "rollouts.arrow").read_bytes()
    assert not {row["text"] for row in sample(other, model, seed=6)} & {row["text"] for row in sample(first, model)}


def test_a_response_does_not_depend_on_the_other_questions_and_samples(tmp_path, model):
    texts = {(row["question_id"], row["sample"]): row["text"] for row in sample(tmp_path / "all", model)}
    for row in sample(tmp_path / "one", model, {"q1": QUESTIONS["q1"]}, samples=2, execution=Execution(token_budget=1)):
        assert row["text"] == texts["q1", row["sample"]]


def test_reasoning_and_answer_are_told_apart_and_the_glue_is_left_out(tmp_path, model, monkeypatch):
    template = tmp_path / "format.jinja"
    template.write_text('{%- set before_reasoning = "<r>" -%}{%- set between = "</r>" -%}{{ message }}:')
    tokens = tiny_tokenizer()("<r>Add.</r>So 7.").input_ids
    found = Generated(tokens, np.zeros(len(tokens), np.float32), "stop")
    monkeypatch.setattr(TransformersEngine, "generate", lambda engine, requests, *_: [found] * len(requests))
    (row,) = sample(tmp_path, model, {"q0": "?"}, samples=1, settings=ModelSettings(format=str(template)))
    assert (row["text"], row["answer_start"], row["token_ids"]) == ("Add.So 7.", 4, tokens)


def test_an_empty_response_is_kept(tmp_path, model, monkeypatch):
    monkeypatch.setattr(engine, "_end_tokens", lambda *_: set(range(400)))
    rows = sample(tmp_path, model, samples=1)
    assert [(row["text"], row["token_ids"], row["finish_reason"]) for row in rows] == [("", [], "stop")] * 3


def test_a_prompt_that_leaves_no_room_to_answer_is_rejected_for_every_sample(tmp_path, model):
    rows = sample(tmp_path, model, QUESTIONS | {"long": "word " * 100})
    assert len(rows) == 9
    assert [(reject["source"], reject["row"]) for reject in rejects(tmp_path)] == [("long", 3)] * 3
    assert "the model's context length is 96" in rejects(tmp_path)[0]["reason"]


def test_a_response_is_cut_at_the_context_length(tmp_path, model, monkeypatch):
    monkeypatch.setattr(engine, "_end_tokens", lambda *_: set())
    (row,) = sample(tmp_path, model, {"q0": QUESTIONS["q0"]}, samples=1, max_tokens=500)
    prompt = tiny_tokenizer()(QUESTIONS["q0"] + "\n").input_ids
    assert (len(row["token_ids"]) + len(prompt), row["finish_reason"]) == (96, "length")


def test_the_fingerprint_holds_settings_sampling_and_questions_but_not_how_fast_it_ran(tmp_path, model):
    def fingerprint(**options) -> str:
        sample(tmp_path, model, **options)
        return open_artifact(tmp_path / "rollouts.arrow").fingerprint

    first = fingerprint()
    assert fingerprint(execution=Execution(token_budget=50)) == first
    assert fingerprint(settings=ModelSettings(format="plain", context_length=90)) != first
    assert fingerprint(temperature=0.5) != first
    assert fingerprint(questions={"q0": QUESTIONS["q0"]}) != first


def test_the_same_model_under_another_name_writes_rollouts_of_another_fingerprint_and_other_ids(tmp_path, model):
    found = []
    for name in ("author", "other"):
        write_card(tmp_path / "model.json", replace(read_card(model), name=name))
        rows = sample(tmp_path, tmp_path / "model.json", samples=1)
        found.append((open_artifact(tmp_path / "rollouts.arrow").fingerprint, {row["rollout_id"] for row in rows}))
    (first, ids), (second, other_ids) = found
    assert first != second
    assert ids.isdisjoint(other_ids)


def test_a_killed_job_goes_on_after_its_last_finished_batch_and_writes_the_same_bytes(tmp_path, model, monkeypatch):
    options = {"execution": Execution(token_budget=20)}  # one response at a time, four in a batch
    sample(tmp_path, model, **options)
    out = tmp_path / "rollouts.arrow"
    uninterrupted = out.read_bytes()
    out.unlink()
    whole, computed = TransformersEngine.generate, []

    def killed_in_its_second_batch(engine, requests, *rest):
        if computed:
            raise KeyboardInterrupt
        computed.append(requests)
        return whole(engine, requests, *rest)

    monkeypatch.setattr(TransformersEngine, "generate", killed_in_its_second_batch)
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path, model, **options)
    monkeypatch.setattr(TransformersEngine, "generate", lambda *args: computed.append(args[1]) or whole(*args))
    sample(tmp_path, model, **options)
    seeds = [request.seed for batch in computed for request in batch]
    assert len(computed) > 2
    assert len(seeds) == len(set(seeds)) == 9
    assert out.read_bytes() == uninterrupted
    assert not batches.state_folder(out).exists()


def test_the_first_prompt_and_the_progress_are_logged(tmp_path, model, caplog):
    caplog.set_level(logging.INFO)
    sample(tmp_path, model)
    assert f"the first prompt, as the model sees it:\n{QUESTIONS['q0']}\n" in caplog.text
    assert "9 of 9 responses" in caplog.text


def test_the_command_line_takes_settings_as_json(tmp_path, model, monkeypatch):
    out = tmp_path / "cli.arrow"
    questions = write_questions(tmp_path, QUESTIONS)
    options = {
        "--questions": questions,
        "--model": model,
        "--settings": json.dumps(asdict(ModelSettings(format="plain"))),
        "--sampling": json.dumps({"samples": 1, "max_tokens": 3}),
        "--execution": "{}",
        "--out": out,
    }
    monkeypatch.setattr("sys.argv", ["rollouts", *(str(word) for pair in options.items() for word in pair)])
    command.run(sample_rollouts)
    assert open_artifact(out, kinds.ROLLOUTS).rows == 3


OTHERS = {
    "q0": ["First, add 4 and 3. That is 7. So the answer is 7.", "4 and 3 make seven. I am sure. Seven it is."],
    "q1": ["Five and six. They make 11. We have 11 in all."],
}


def write_others(path: Path, questions: Path, texts: dict[str, list[str]] = OTHERS) -> Path:
    """Write the responses of another author, by question."""
    rows = [
        {
            "rollout_id": f"{question_id}-{sample}",
            "question_id": question_id,
            "sample": sample,
            "text": text,
            "answer_start": 0,
            "token_ids": None,
            "logprobs": None,
            "finish_reason": "stop",
        }
        for question_id, found in texts.items()
        for sample, text in enumerate(found)
    ]
    write(path, kinds.ROLLOUTS, rows, {"questions": open_artifact(questions).fingerprint, "texts": texts})
    return path


def continued(folder: Path, model: Path, begun: dict = OTHERS, afresh: bool = True, **options) -> list[dict]:
    """Let the model go on with another author's responses, and return the rows."""
    out = folder / "rollouts.arrow"
    if afresh:
        forget_kept(out)
    questions = write_questions(folder, QUESTIONS)
    others = write_others(folder / "others.arrow", questions, begun)
    share = options.pop("begun_from", 0.5)
    how = (ModelSettings(format="plain"), Sampling(**{"samples": 3, "max_tokens": 6} | options))
    sample_rollouts(questions, model, *how, Execution(token_budget=20), out, begun=others, begun_from=share)
    return open_artifact(out, kinds.ROLLOUTS).read().to_dicts()


def test_a_response_goes_on_with_the_other_authors_sample_of_that_number(tmp_path, model):
    rows = continued(tmp_path, model)
    assert [(row["question_id"], row["sample"]) for row in rows] == [(q, s) for q in ("q0", "q1") for s in range(3)]
    for row in rows:
        found = OTHERS[row["question_id"]]
        other = found[row["sample"] % len(found)]
        begun = row["text"][: row["begun"]]
        assert other.startswith(begun)
        assert begun.endswith(".")
        assert len(other) / 2 < len(begun) < len(other)
        assert row["text"] == tiny_tokenizer().decode(row["token_ids"])
        assert len(row["text"]) > row["begun"]
    assert len({row["text"] for row in rows}) == 6


def test_a_beginning_is_what_the_model_was_given_and_has_no_log_probs(tmp_path, model):
    for row in continued(tmp_path, model):
        prompt = tiny_tokenizer()(QUESTIONS[row["question_id"]] + "\n").input_ids
        given = tiny_tokenizer()(row["text"][: row["begun"]]).input_ids
        assert row["token_ids"][: len(given)] == given
        assert row["logprobs"][: len(given)] == [None] * len(given)
        new = row["token_ids"][len(given) :]
        assert 0 < len(new) <= 6
        expected, _ = plain_scores(tiny_model("llama"), prompt + given, new)
        np.testing.assert_allclose(row["logprobs"][len(given) :], expected, atol=1e-4)


def test_what_cannot_be_begun_is_rejected_with_its_reason(tmp_path, model):
    rows = continued(tmp_path, model, {"q0": ["Seven"], "q1": ["Five and six. They make 11. " * 9]}, samples=2)
    assert rows == []
    reasons = [reject["reason"] for reject in rejects(tmp_path)]
    assert reasons[:2] == ["no sentence or word of the response to begin with ends beyond 0.5 of it"] * 2
    assert all(reason.endswith("tokens, the model's context length is 96") for reason in reasons[2:4])
    assert reasons[4:] == ["the other author has no response to begin with"] * 2
    assert open_artifact(tmp_path / "rollouts.arrow").read()["begun"].to_list() == []


def test_the_fingerprint_follows_the_beginnings_and_where_they_are_cut(tmp_path, model):
    def fingerprint(**options) -> str:
        continued(tmp_path, model, **options)
        return open_artifact(tmp_path / "rollouts.arrow").fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint(begun_from=0.4) != first
    assert fingerprint(begun=OTHERS | {"q2": ["An apple. No more."]}) != first


def test_responses_that_begin_with_none_have_neither_the_column_nor_another_identity(tmp_path, model):
    sample(tmp_path, model, samples=1)
    plain = open_artifact(tmp_path / "rollouts.arrow")
    assert "begun" not in plain.identity
    assert plain.read().columns == kinds.ROLLOUTS.schema.names


def test_of_beginnings_that_changed_only_what_went_on_with_them_is_drawn_again(tmp_path, model, monkeypatch):
    whole, drawn = TransformersEngine.generate, []
    monkeypatch.setattr(TransformersEngine, "generate", lambda *args: drawn.extend(args[1]) or whole(*args))
    first = continued(tmp_path, model)
    assert len(drawn) == 6
    drawn.clear()
    changed = OTHERS | {"q1": ["Five, six. They make 12! We have 12 in all."]}
    second = continued(tmp_path, model, changed, afresh=False)
    assert len(drawn) == 3
    assert second[:3] == first[:3]
    drawn.clear()
    assert continued(tmp_path, model, changed, afresh=False) == second
    assert not drawn
    # Sample 2 went on with sample 0, of two; there is a sample 2 now.
    grown = changed | {"q0": [*OTHERS["q0"], "Let me see now. It is 4 and 3. That makes 7, I think."]}
    third = continued(tmp_path, model, grown, afresh=False)
    assert len(drawn) == 1
    assert (third[:2], third[3:]) == (second[:2], second[3:])


def test_a_killed_job_goes_on_with_the_beginnings_it_had(tmp_path, model, monkeypatch):
    continued(tmp_path, model)
    out = tmp_path / "rollouts.arrow"
    uninterrupted = out.read_bytes()
    out.unlink()
    whole, computed = TransformersEngine.generate, []

    def killed_in_its_second_batch(engine, requests, *rest):
        if computed:
            raise KeyboardInterrupt
        computed.extend(requests)
        return whole(engine, requests, *rest)

    monkeypatch.setattr(TransformersEngine, "generate", killed_in_its_second_batch)
    with pytest.raises(KeyboardInterrupt):
        continued(tmp_path, model)
    monkeypatch.setattr(TransformersEngine, "generate", lambda *args: computed.extend(args[1]) or whole(*args))
    continued(tmp_path, model)
    seeds = [request.seed for request in computed]
    assert len(seeds) == len(set(seeds)) == 6
    assert out.read_bytes() == uninterrupted


def test_beginnings_to_other_questions_are_refused(tmp_path, model):
    others = write_others(tmp_path / "others.arrow", write_questions(tmp_path, {"q0": "What is 4 + 4?"}))
    with pytest.raises(DistraceError, match=r"others\.arrow was computed from questions"):
        sample_rollouts(
            write_questions(tmp_path, QUESTIONS),
            model,
            ModelSettings(format="plain"),
            Sampling(),
            Execution(),
            tmp_path / "rollouts.arrow",
            begun=others,
        )


def test_the_questions_of_a_part_are_written_where_they_are_not_there_or_made_from_others(tmp_path, model):
    cut = Cut(part_size=2)
    for asked in (["What is 1?", "What is 2?", "What is 3?"], ["What is 1?", "What is 2?", "What is 33?"]):
        source = tmp_path / "source.jsonl"
        source.write_text("".join(json.dumps({"question": question, "answer": "1"}) + "\n" for question in asked))
        settings = Questions({"file": str(source)})
        made_from = part_digests(settings, cut)[1]
        part = tmp_path / "questions" / "1.arrow"
        how = (model, ModelSettings(format="plain"), Sampling(samples=1, max_tokens=3), Execution())
        for _ in range(2):
            sample_rollouts(part, *how, tmp_path / "rollouts.arrow", settings, cut, made_from)
        assert open_artifact(part, kinds.QUESTIONS).read("question")["question"].to_list() == asked[2:]
        assert [path.name for path in part.parent.glob("?.arrow")] == ["1.arrow"]
        assert open_artifact(tmp_path / "rollouts.arrow").rows == 1
