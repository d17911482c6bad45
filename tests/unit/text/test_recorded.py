"""Log-probs that were recorded when the author wrote, in place of computed ones."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from builders import rejects_of
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.measures.probabilities import sentence_log_means
from distrace.models import read_card
from distrace.nodes.imported_rollouts import Responses, write_imported
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.rollouts import sample_rollouts
from distrace.nodes.sentences import write_sentences
from distrace.settings import Execution, ModelSettings, Sampling
from tiny import tiny_tokenizer, write_author

PLAIN = ModelSettings(format="plain")
QUESTIONS = {short_id(question): question for question in ("What is 4 + 3?", "And 5 + 6?")}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_author(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "0.arrow"
    rows = [{"question_id": i, "question": q, "answer": "7", "solution": None} for i, q in QUESTIONS.items()]
    write(path, kinds.QUESTIONS, rows, {})
    return path


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory, model, questions) -> Path:
    """What the model itself answered."""
    path = tmp_path_factory.mktemp("rollouts") / "0.arrow"
    sample_rollouts(questions, model, PLAIN, Sampling(samples=4, max_tokens=30, top_k=20), Execution(), path)
    return path


def changed(rollouts: Path, folder: Path, *changes: dict, **identity) -> Path:
    """Write the rollouts again, each of the first rows with changes to its columns."""
    rows = open_artifact(rollouts, kinds.ROLLOUTS).read().to_dicts()
    rows = [row | change for row, change in zip(rows, [*changes, *[{}] * len(rows)], strict=False)]
    write(folder / "r.arrow", kinds.ROLLOUTS, rows, open_artifact(rollouts).identity | identity)
    return folder / "r.arrow"


def score(rollouts: Path, questions: Path, model: Path, out: Path, own_logprobs: str = "recorded", **options) -> Path:
    options = {"settings": PLAIN, "execution": Execution(), "context": "full"} | options
    score_rollouts(rollouts, questions, model, out=out, own_logprobs=own_logprobs, **options)
    return out


def chained(lists: list[list]) -> list:
    return [value for values in lists for value in values]


def no_weights(*_: object) -> None:
    raise AssertionError("a model was loaded")


def test_recorded_log_probs_equal_computed_ones_and_load_no_weights(rollouts, questions, model, tmp_path, monkeypatch):
    computed = score(rollouts, questions, model, tmp_path / "computed.arrow", "computed")
    monkeypatch.setattr("distrace.nodes.logprobs.load_engine", no_weights)
    recorded = score(rollouts, questions, model, tmp_path / "recorded.arrow")
    expected, found = (open_artifact(path, kinds.LOGPROBS).read() for path in (computed, recorded))
    assert len(found) == 8
    assert found.drop("logprobs", "ranks").equals(expected.drop("logprobs", "ranks"))
    for mine, theirs in zip(found["logprobs"], expected["logprobs"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    assert rejects_of(recorded) == []


def test_the_ranks_of_recorded_tokens_are_null_and_sentences_get_their_probabilities(
    rollouts, questions, model, tmp_path
):
    found = open_artifact(score(rollouts, questions, model, tmp_path / "recorded.arrow"), kinds.LOGPROBS).read()
    assert found["ranks"].to_list() == [None] * 8
    write_sentences(rollouts, "sentences", tmp_path / "sentences.arrow")
    sentences = open_artifact(tmp_path / "sentences.arrow", kinds.SENTENCES).read()
    means = sentence_log_means(sentences, found)
    assert len(means) == len(sentences)
    assert means["tokens"].sum() == found["token_ids"].list.len().sum()


def test_glue_has_recorded_log_probs_that_are_not_kept(questions, model, tmp_path):
    form = ModelSettings(format='{%- set before_reasoning = "<r>" -%}{%- set between = "</r>" -%}{{ message }}:')
    parts = [tiny_tokenizer()(part).input_ids for part in ("<r>", "Add. ", "</r>", "Then 7.")]
    values = [[-float(part)] * len(ids) for part, ids in enumerate(parts)]
    identity = {
        "questions": open_artifact(questions).fingerprint,
        "model": read_card(model).fingerprint,
        "settings": asdict(form),
    }
    row = {"rollout_id": "r", "question_id": next(iter(QUESTIONS)), "sample": 0, "finish_reason": "stop"}
    row |= {"text": "Add. Then 7.", "answer_start": 5, "token_ids": chained(parts), "logprobs": chained(values)}
    write(tmp_path / "r.arrow", kinds.ROLLOUTS, [row], identity)
    out = score(tmp_path / "r.arrow", questions, model, tmp_path / "recorded.arrow", settings=form)
    [found] = open_artifact(out, kinds.LOGPROBS).read().to_dicts()
    assert found["token_ids"] == parts[1] + parts[3]
    assert found["logprobs"] == values[1] + values[3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"logprobs": None}, "no log-probs were recorded"),
        ({"token_ids": None}, "no log-probs were recorded"),
        ({"logprobs": [-1.0]}, r"30 tokens but 1 recorded log-probs"),
        ({"logprobs": [-1.0] * 29 + [float("nan")]}, "log-prob of token 29 is nan"),
        ({"logprobs": [-1.0] * 29 + [None]}, "log-prob of token 29 is nan"),
        ({"logprobs": [float("-inf")] + [-1.0] * 29}, "log-prob of token 0 is -inf"),
        ({"logprobs": [-1.0, 0.5] + [-1.0] * 28}, "log-prob of token 1 is 0.5"),
        ({"text": "Edited."}, "was it edited"),
        ({"token_ids": [1] * 30}, "not what its own tokens decode to"),
    ],
)
def test_a_response_whose_log_probs_cannot_be_taken_is_rejected_with_the_reason(
    rollouts, questions, model, tmp_path, change, reason
):
    lengths = open_artifact(rollouts, kinds.ROLLOUTS).read()["token_ids"].list.len().to_list()
    assert lengths[0] == 30
    out = score(changed(rollouts, tmp_path, change), questions, model, tmp_path / "recorded.arrow")
    [reject] = rejects_of(out)
    assert reject["row"] == 0
    assert reason in reject["reason"]
    assert open_artifact(out).rows == 7


def test_a_log_prob_that_rounding_put_above_zero_is_taken(rollouts, questions, model, tmp_path):
    change = {"logprobs": [1e-6] + [-1.0] * 29}
    assert rejects_of(score(changed(rollouts, tmp_path, change), questions, model, tmp_path / "out.arrow")) == []


@pytest.mark.parametrize(
    "other",
    [
        {"format": "think"},
        {"instruction": "{{ question }} Think."},
        {"dtype": "bfloat16"},
    ],
)
def test_log_probs_of_other_settings_are_refused(rollouts, questions, model, tmp_path, other):
    with pytest.raises(DistraceError, match="set own_logprobs: computed"):
        score(rollouts, questions, model, tmp_path / "out.arrow", settings=replace(PLAIN, **other))


def test_log_probs_of_another_model_are_refused(rollouts, questions, model, tmp_path):
    with pytest.raises(DistraceError, match="it was written by another"):
        score(changed(rollouts, tmp_path, model="another"), questions, model, tmp_path / "out.arrow")


def test_log_probs_are_recorded_in_the_full_context_alone(rollouts, questions, model, tmp_path):
    with pytest.raises(DistraceError, match="none in 'alone'"):
        score(rollouts, questions, model, tmp_path / "out.arrow", context="alone")


def test_log_probs_are_computed_or_recorded(rollouts, questions, model, tmp_path):
    with pytest.raises(DistraceError, match="not 'guessed'"):
        score(rollouts, questions, model, tmp_path / "out.arrow", own_logprobs="guessed")


def test_recorded_and_computed_log_probs_have_unlike_fingerprints(rollouts, questions, model, tmp_path):
    paths = [score(rollouts, questions, model, tmp_path / name, name) for name in ("recorded", "computed")]
    recorded, computed = map(open_artifact, paths)
    assert recorded.fingerprint != computed.fingerprint
    assert recorded.identity == computed.identity | {"own_logprobs": "recorded"}


def test_imported_tokens_and_log_probs_serve_as_those_of_the_author(rollouts, questions, model, tmp_path):
    rows = [
        {"question": QUESTIONS[row["question_id"]], "response": [row["text"]]}
        | {"ids": [row["token_ids"]], "values": [row["logprobs"]]}
        for row in open_artifact(rollouts, kinds.ROLLOUTS).read().to_dicts()
    ]
    (tmp_path / "source.jsonl").write_text("\n".join(map(json.dumps, rows)))
    responses = Responses(str(tmp_path / "source.jsonl"), token_ids="ids", logprobs="values")
    write_imported("author", questions, responses, tmp_path / "rollouts" / "parts.arrow", model, PLAIN)
    out = score(tmp_path / "rollouts" / questions.name, questions, model, tmp_path / "imported.arrow")
    own = open_artifact(score(rollouts, questions, model, tmp_path / "own.arrow"), kinds.LOGPROBS).read()
    assert open_artifact(out, kinds.LOGPROBS).read().drop("rollout_id").equals(own.drop("rollout_id"))
