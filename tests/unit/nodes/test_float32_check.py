"""Labels in the models' own number formats and in float32, on made-up log-probs."""

import math
from pathlib import Path

import pytest

from builders import rejects_of, write_lines, write_logprobs, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import Thresholds
from distrace.nodes.float32_check import write_float32_check

TEXTS = {"a": ("1+1?", "One.\nTwo.\n"), "b": ("1+1?", "No.\n")}
ALL = {"a": [(0, 5, math.log(0.5)), (5, 10, math.log(0.5))], "b": [(0, 4, math.log(0.5))]}


@pytest.fixture
def compare(tmp_path):
    """Return a function that compares log-probs given by role, all 0.5 unless given; it returns rows and rejects."""
    questions = write_questions(tmp_path / "q.arrow", {"1+1?": "2"})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, TEXTS)
    sentences = write_lines(tmp_path / "s.arrow", rollouts)

    def written(name: str, tokens: dict) -> Path:
        return write_logprobs(tmp_path / f"{name}.arrow", rollouts, tokens)

    def run(alpha: float = 0.125, **given: dict) -> tuple[list[dict], list[dict]]:
        tokens = {f"{role}{of}": ALL for role in ("teacher", "student", "distilled") for of in ("", "_float32")} | given
        paths = [written(name, found) for name, found in tokens.items()]
        out = tmp_path / "out.arrow"
        write_float32_check(rollouts, sentences, paths[::2], paths[1::2], Thresholds(alpha, 0.25), out)
        return open_artifact(out, kinds.FLOAT32_CHECK).read().to_dicts(), rejects_of(out)

    return run


def tokens(*first: float, b: float = 0.5) -> dict:
    """Return a token for each sentence, by its probability."""
    spans = [(0, 5), (5, 10)]
    return {
        "a": [(*span, math.log(value)) for span, value in zip(spans, first, strict=True)],
        "b": [(0, 4, math.log(b))],
    }


def test_each_sentence_has_probabilities_and_labels_in_both_number_formats(compare):
    rows, rejects = compare(teacher=tokens(0.9, 0.5), teacher_float32=tokens(0.7, 0.5, b=1.0))
    assert rejects == []
    assert [(row["rollout_id"], row["sentence"], row["start"], row["end"]) for row in rows] == [
        ("a", 0, 0, 5),
        ("a", 1, 5, 10),
        ("b", 0, 0, 4),
    ]
    assert [(row["p_teacher"], row["p_teacher_float32"]) for row in rows] == [
        (pytest.approx(0.9), pytest.approx(0.7)),
        (pytest.approx(0.5), pytest.approx(0.5)),
        (pytest.approx(0.5), pytest.approx(1.0)),
    ]
    assert [(row["label"], row["label_float32"]) for row in rows] == [
        ("Teacher", "Boosted"),
        ("Shared", "Shared"),
        ("Shared", "Teacher"),
    ]


def test_a_label_flips_by_any_role_and_at_the_thresholds_given(compare):
    changed = {"distilled_float32": tokens(0.5, 0.75)}
    assert [row["label_float32"] for row in compare(**changed)[0]] == ["Shared", "Boosted", "Shared"]
    assert [row["label_float32"] for row in compare(alpha=0.5, **changed)[0]] == ["Shared"] * 3


def test_what_one_side_did_not_score_is_rejected_and_counted(compare):
    rows, rejects = compare(student_float32={"a": ALL["a"]})
    assert [row["rollout_id"] for row in rows] == ["a", "a"]
    assert [(r["source"], r["row"], r["reason"]) for r in rejects] == [
        ("b", 0, "the student in float32 did not score the response")
    ]


def test_other_tokens_are_refused(compare):
    with pytest.raises(DistraceError, match="hold other tokens of response b"):
        compare(distilled={"a": ALL["a"], "b": [(0, 2, -1.0), (2, 4, -1.0)]})


def test_log_probs_of_other_rollouts_are_refused(compare, tmp_path):
    questions = write_questions(tmp_path / "other_q.arrow", {"2+2?": "4"})
    other = write_rollouts(tmp_path / "other.arrow", questions, {"a": ("2+2?", "One.\nTwo.\n")})
    compare()
    path = write_logprobs(tmp_path / "other_scores.arrow", other, {"a": ALL["a"]})
    good = tmp_path / "teacher.arrow"
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        write_float32_check(
            tmp_path / "r.arrow",
            tmp_path / "s.arrow",
            [good, good, good],
            [good, good, path],
            Thresholds(0.1, 0.1),
            tmp_path / "out.arrow",
        )
