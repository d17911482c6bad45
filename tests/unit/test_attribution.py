import numpy as np
import polars as pl
import pytest
from builders import rejects_of, write_lines, write_probabilities, write_questions, write_rollouts
from hypothesis import given
from hypothesis import strategies as st

from distrace import artifacts
from distrace.attribution import holm, lean, lean_differences, p_value_beyond, write_attribution
from distrace.errors import DistraceError
from distrace.summary import attributed_to

QUESTIONS = {"1+1?": "2", "2+2?": "4"}


def author(folder, name, texts, probabilities):
    """Write an author's responses, one to each question, and their log-probs under teachers a and b."""
    questions = write_questions(folder / "questions.arrow", QUESTIONS)
    written = {f"{name}{i}": (question, text) for i, (question, text) in enumerate(zip(QUESTIONS, texts, strict=True))}
    rollouts = write_rollouts(folder / f"{name}.arrow", questions, written)
    sentences = write_lines(folder / f"{name}-sentences.arrow", rollouts)
    scored = [
        write_probabilities(folder / f"{name}-{teacher}.arrow", sentences, rollouts, values)
        for teacher, values in probabilities.items()
    ]
    return [rollouts], [sentences], scored


@pytest.fixture
def sides(tmp_path):
    """The distilled model's first answer has two sentences for a and one for neither; the student's first one for b."""
    texts = ["Plan.\nStep.\n2\n", "4\n"]
    distilled = {"a": {"d0": [0.9, 0.8, 0.5], "d1": [0.5]}, "b": {"d0": [0.1, 0.2, 0.45], "d1": [0.5]}}
    student = {"a": {"s0": [0.1], "s1": [0.5]}, "b": {"s0": [0.9], "s1": [0.5]}}
    return author(tmp_path, "d", texts, distilled), author(tmp_path, "s", ["2\n", "4\n"], student)


def attribute(sides, out):
    write_attribution(["a", "b"], 0.1, *sides[0], *sides[1], out)
    return artifacts.read(out, "attribution")


def test_the_lean_of_a_response_is_the_share_of_sentences_for_one_teacher_less_those_for_the_other(sides, tmp_path):
    found = attribute(sides, tmp_path / "out.arrow")
    leans = {row["rollout_id"]: (row["role"], row["lean"], row["sentences"]) for row in found.iter_rows(named=True)}
    assert leans == {
        "d0": ("distilled", pytest.approx(2 / 3), 3),
        "d1": ("distilled", 0, 1),
        "s0": ("student", -1, 1),
        "s1": ("student", 0, 1),
    }
    assert found.select("teacher", "other").unique().rows() == [("a", "b")]


def test_what_counts_is_how_far_an_answer_moved_from_the_students_to_the_same_question(sides, tmp_path):
    assert lean_differences(attribute(sides, tmp_path / "out.arrow")).tolist() == [pytest.approx(5 / 3), 0]


def test_a_response_that_a_teacher_did_not_score_is_rejected_with_the_reason(sides, tmp_path):
    rollouts, sentences, scored = sides[0]
    scored[1] = write_probabilities(tmp_path / "few.arrow", sentences[0], rollouts[0], {"d1": [0.5]})
    found = attribute(((rollouts, sentences, scored), sides[1]), tmp_path / "out.arrow")
    assert found["rollout_id"].to_list() == ["d1", "s0", "s1"]
    reason = "no sentence has a probability under both a and b"
    assert rejects_of(tmp_path / "out.arrow") == [{"source": "d0", "row": 0, "reason": reason}]


def test_log_probs_of_other_responses_are_refused(sides, tmp_path):
    (rollouts, sentences, scored), student = sides
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        attribute(((rollouts, sentences, [scored[0], student[2][1]]), student), tmp_path / "out.arrow")


def test_three_teachers_are_compared_two_by_two():
    table = pl.DataFrame({"rollout_id": ["r"], "p_a": [0.9], "p_b": [0.5], "p_c": [0.1]})
    assert [lean(table, *pair, 0.1)["lean"][0] for pair in ("ab", "ac", "cb")] == [1, 1, -1]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_value_of_few_questions_is_that_of_all_sign_flips(sign):
    # Of the 2^5 equally likely sign patterns, all plus and all minus are as far from zero as what was seen.
    assert p_value_beyond(sign * np.ones(5)) == pytest.approx(2 / 32, abs=0.015)


def test_no_difference_gives_a_p_value_of_one_and_no_question_none():
    assert p_value_beyond(np.zeros(8)) == 1
    assert p_value_beyond(np.zeros(0)) is None


def test_a_move_within_the_margin_is_no_move_however_many_the_questions():
    moved = np.random.default_rng(0).normal(0.04, 0.1, 5000)
    assert p_value_beyond(moved, margin=0) < 0.001
    assert p_value_beyond(moved, margin=0.05) == 1


def test_at_the_margin_at_most_one_test_in_twenty_is_below_five_percent():
    rng = np.random.default_rng(0)
    at_zero = [p_value_beyond(rng.integers(-1, 2, 40).astype(float), margin=0) < 0.05 for _ in range(300)]
    at_margin = [p_value_beyond(rng.normal(0.05, 0.5, 40)) < 0.05 for _ in range(300)]
    assert 0.01 < np.mean(at_zero) < 0.09
    assert np.mean(at_margin) < 0.07


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_adjusted_p_values_are_no_smaller_and_keep_the_order(p_values):
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert [a for _, a in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)
    assert max(adjusted) <= 1


def test_adjusting_multiplies_the_smallest_by_their_number():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def pair(teacher, other, difference, p):
    return {"teacher": teacher, "other": other, "difference": {"mean": difference}, "p_adjusted": p}


def test_the_teacher_that_beats_all_others_is_named():
    assert attributed_to([pair("a", "b", -0.5, 0.001)], ["a", "b"]) == "b"
    assert attributed_to([pair("a", "b", -0.5, 0.2)], ["a", "b"]) is None
    three = [pair("a", "b", 0.4, 0.001), pair("a", "c", -0.1, 0.3), pair("b", "c", -0.5, 0.001)]
    assert attributed_to(three, ["a", "b", "c"]) is None
    three[1]["p_adjusted"] = 0.01
    assert attributed_to(three, ["a", "b", "c"]) == "c"
