import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.labels import (
    LABELS,
    Thresholds,
    habit_labels,
    label_counts,
    label_of,
    label_shares,
    thresholds_of,
)
from distrace.settings import as_identity

# Thresholds and probabilities below are sums of powers of two, so that their differences are exact.
QUARTERS = Thresholds(alpha=0.125, beta=0.25)


def label(teacher: float, student: float, distilled: float, thresholds: Thresholds = QUARTERS) -> str:
    table = pl.DataFrame({"p_teacher": [teacher], "p_student": [student], "p_distilled": [distilled]})
    return table.select(label_of(thresholds)).item()


@pytest.mark.parametrize(
    ("teacher", "student", "distilled", "expected"),
    [
        (0.5, 0.5, 0.5, "Shared"),
        (0.625, 0.5, 0.625, "Shared"),  # all differences at alpha or below
        (0.625, 0.5, 0.5, "Shared"),
        (0.5, 0.5, 0.625, "Shared"),
        (0.640625, 0.5, 0.5, "Boosted"),  # teacher and student just beyond alpha
        (0.5, 0.5, 0.640625, "Boosted"),  # distilled just beyond alpha
        (0.5, 0.5, 1.0, "Boosted"),
        (0.625, 0.5, 0.75, "Boosted"),  # teacher within alpha of both, but student and distilled are apart
        (0.5, 0.625, 0.75, "Boosted"),
        (0.75, 0.5, 0.75, "Boosted"),  # teacher above student by beta is not above beta
        (0.5, 0.75, 0.5, "Boosted"),
        (0.765625, 0.5, 0.75, "Teacher"),
        (0.765625, 0.5, 0.0, "Teacher"),  # whatever the distilled model does
        (1.0, 0.0, 0.5, "Teacher"),
        (0.5, 0.765625, 0.75, "Student"),
        (0.0, 1.0, 1.0, "Student"),
    ],
)
def test_labels_follow_the_differences_of_probability(teacher, student, distilled, expected):
    assert label(teacher, student, distilled) == expected


def test_shared_is_tested_before_teacher_and_student():
    wide = Thresholds(alpha=0.5, beta=0.25)
    assert label(0.875, 0.5, 0.625, wide) == "Shared"
    assert label(0.5, 0.875, 0.625, wide) == "Shared"
    assert label(1.0, 0.5, 0.25, wide) == "Teacher"


@pytest.mark.parametrize(
    ("teacher", "student", "distilled", "expected"),
    [
        (1.0, 0.5, 0.625, "Shared"),  # raised by alpha is not above alpha
        (1.0, 0.5, 0.640625, "Teacher"),
        (0.75, 0.5, 0.640625, "Boosted"),  # teacher above student by beta is not above beta
        (0.0, 0.5, 0.640625, "Boosted"),  # whatever the teacher says less
        (0.0, 0.5, 0.625, "Student"),
        (0.25, 0.5, 0.0, "Shared"),  # student above teacher by beta is not above beta
        (0.234375, 0.5, 0.0, "Student"),
    ],
)
def test_by_the_rule_raised_a_sentence_is_learned_only_if_the_distilled_model_finds_it_likelier(
    teacher, student, distilled, expected
):
    assert label(teacher, student, distilled, Thresholds(0.125, 0.25, "raised")) == expected


def test_the_papers_rule_is_the_default_and_adds_nothing_to_a_fingerprint():
    run = {"alpha": 0.05, "beta": 0.1, "label_rule": "paper"}
    assert thresholds_of(run) == Thresholds(0.05, 0.1)
    assert as_identity(thresholds_of(run)) == {"alpha": 0.05, "beta": 0.1}
    assert as_identity(thresholds_of(run | {"label_rule": "raised"}))["rule"] == "raised"


EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)


@settings(deadline=None)
@given(EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS)
def test_the_label_is_the_one_of_the_papers_rules_in_their_order(teacher, student, distilled, alpha, beta):
    d_sd, d_td, d_ts = student - distilled, teacher - distilled, teacher - student
    if abs(d_sd) <= alpha and abs(d_td) <= alpha and abs(d_ts) <= alpha:
        expected = "Shared"
    elif d_ts > beta:
        expected = "Teacher"
    elif -d_ts > beta:
        expected = "Student"
    else:
        expected = "Boosted"
    assert label(teacher, student, distilled, Thresholds(alpha, beta)) == expected
    swapped = {"Teacher": "Student", "Student": "Teacher"}
    assert label(student, teacher, distilled, Thresholds(alpha, beta)) == swapped.get(expected, expected)


def sentences(*rows: tuple[str, int, str]) -> pl.DataFrame:
    schema = {"rollout_id": pl.String, "sentence": pl.Int32, "label": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(question_id="rollout_id")


def test_a_habit_that_never_shows_has_no_shares():
    found = habit_labels(sentences())
    assert (found["sentences"], found["responses"], found["by_occurrence"]) == (0, 0, [])
    assert set(found["labels"].values()) == {None}


def test_occurrences_come_in_order():
    rows = [(r, n, "Shared") for r in "ab" for n in (3, 1, 7)]
    found = habit_labels(sentences(*rows))
    assert [row["occurrence"] for row in found["by_occurrence"]] == [1, 2, 3]


def test_without_sentences_no_label_has_a_share():
    assert label_shares(label_counts(sentences())) == dict.fromkeys(LABELS)
