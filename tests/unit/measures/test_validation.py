import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from distrace.measures.labels import LABELS, Thresholds, label_of
from distrace.measures.validation import (
    Pair,
    agreement,
    confusion,
    oracle_agreement,
    origin_of,
    precision_and_recall,
    summed_confusion,
)

PAIR = Pair("teacher", "student")
ORIGINS = ["teacher", "student", "both", "none"]


def test_a_pair_of_styles_sees_four_origins():
    truth = pl.DataFrame({"origin": ["teacher", "student", "student+teacher+teacher_b", "none"]})
    assert truth.select(origin_of(PAIR)).to_series().to_list() == ORIGINS
    other = truth.select(origin_of(Pair("teacher_b", "student"))).to_series().to_list()
    assert other == ["none", "student", "both", "none"]


def labelled(rows: list[tuple[str, float, float, float]]) -> pl.DataFrame:
    probabilities = dict.fromkeys(["p_teacher", "p_student", "p_distilled"], pl.Float64)
    table = pl.DataFrame(rows, schema={"origin": pl.String} | probabilities, orient="row")
    return table.with_columns(start=pl.lit(0), end=pl.lit(20))


def test_precision_is_the_share_of_a_label_and_recall_the_share_of_an_origin():
    table = labelled(
        [
            ("teacher", 0.9, 0.1, 0.9),  # Teacher, rightly
            ("teacher", 0.5, 0.5, 0.5),  # Shared, wrongly
            ("both", 0.9, 0.1, 0.9),  # Teacher, wrongly
            ("both", 0.5, 0.5, 0.5),  # Shared, rightly
            ("both", 0.5, 0.5, 0.9),  # Boosted, rightly
        ]
    )
    found = precision_and_recall(confusion(table, Thresholds(0.05, 0.1)))
    assert found["Teacher"] == {"precision": 0.5, "recall": 0.5, "labelled": 2, "of_origin": 2}
    assert found["Shared"]["precision"] == 0.5
    assert found["Shared"]["recall"] == pytest.approx(1 / 3)
    assert found["Boosted"]["precision"] == 1.0
    assert found["Student"]["precision"] is None
    assert found["Student"]["recall"] is None
    assert agreement(confusion(table, Thresholds(0.05, 0.1))) == 3 / 5
    assert agreement(confusion(table.clear(), Thresholds(0.05, 0.1))) is None


ROWS = st.tuples(st.sampled_from(ORIGINS), *[st.floats(0, 1)] * 3)


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=30))
def test_every_sentence_is_counted_once(rows):
    counts = confusion(labelled(rows), Thresholds(0.05, 0.1))
    assert counts["sentences"].sum() == len(rows)
    assert set(counts["label"]) <= set(LABELS)


@settings(deadline=None)
@given(st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=4))
def test_the_sums_over_parts_are_the_counts_of_all_sentences_together(parts):
    points = [Thresholds(0.05, 0.1), Thresholds(0.05, 0.3)]
    found = summed_confusion(confusion(labelled(part), point) for part in parts for point in points)
    every = labelled([row for part in parts for row in part])
    assert_frame_equal(found, pl.concat([confusion(every, point) for point in points]).select(found.columns))


def compared(**columns: list) -> pl.DataFrame:
    """Return sentences with the labels of models and of the oracle; probabilities that are not given are 0.9."""
    size = len(columns["label"])
    rest = {f"p_{role}{suffix}": [0.9] * size for role in ("teacher", "student") for suffix in ("", "_exact")}
    about = {"question_id": list("abcdefgh"[:size]), "form": ["step"] * size, "follows": [True] * size}
    return pl.DataFrame(rest | about | {"origin": ["teacher"] * size, "p_distilled": [0.9] * size} | columns)


def test_agreement_precision_and_recall_take_the_oracle_for_the_truth():
    table = compared(
        label=["Teacher", "Teacher", "Shared", "Student"], label_exact=["Teacher", "Shared", "Shared", "Teacher"]
    )
    found = oracle_agreement(table, Thresholds(0.05, 0.1))
    assert found["agreement"]["mean"] == 0.5
    assert (found["agreement"]["n"], found["sentences"], found["follow"]) == (4, 4, 4)
    assert found["precision"] == {"Teacher": 0.5, "Student": 0, "Shared": 1, "Boosted": None}
    assert found["recall"] == {"Teacher": 0.5, "Student": None, "Shared": 0.5, "Boosted": None}
    assert found["confusion"]["Teacher"] == {"Teacher": 1, "Student": 1, "Shared": 0, "Boosted": 0}
    assert sum(row["sentences"] for row in found["parted"]) == 2


@pytest.mark.parametrize(
    ("models", "exact", "follows", "mend"),
    [
        ((0.9, 0.1), (0.9, 0.9), True, "student"),
        ((0.9, 0.1), (0.1, 0.1), True, "teacher"),
        ((0.9, 0.6), (0.5, 0.7), True, "both"),
        ((0.7, 0.55), (0.62, 0.65), True, "either"),
        ((0.9, 0.1), (0.9, 0.9), False, "content"),
    ],
)
def test_a_label_that_parts_from_the_oracles_is_put_down_to_the_estimate_that_would_mend_it(
    models, exact, follows, mend
):
    thresholds, probabilities = Thresholds(0.05, 0.1), dict(zip(("teacher", "student"), models, strict=True))
    known = dict(zip(("teacher", "student"), exact, strict=True))
    table = compared(label=["?"], label_exact=["?"], follows=[follows], p_distilled=[0.9])
    table = table.with_columns(pl.lit(p).alias(f"p_{role}") for role, p in probabilities.items())
    table = table.with_columns(pl.lit(p).alias(f"p_{role}_exact") for role, p in known.items())
    by_oracle = table.with_columns(pl.lit(p).alias(f"p_{role}") for role, p in known.items())
    labels = [frame.select(label_of(thresholds)).item() for frame in (table, by_oracle)]
    table = table.with_columns(label=pl.lit(labels[0]), label_exact=pl.lit(labels[1]))
    [row] = oracle_agreement(table, thresholds)["parted"]
    assert row == {"form": "step", "label_exact": labels[1], "label": labels[0], "mend": mend, "sentences": 1}


def test_where_the_oracle_claims_another_origin_it_is_the_rules_that_part():
    table = compared(label=["Shared"] * 3, label_exact=["Shared"] * 3, origin=["both", "teacher", "teacher"])
    found = oracle_agreement(table, Thresholds(0.05, 0.1))
    assert found["defined"] == [{"form": "step", "label_exact": "Shared", "origin": "teacher", "sentences": 2}]
    assert found["parted"] == []


def test_without_sentences_nothing_is_said_of_the_agreement():
    found = oracle_agreement(compared(label=["Shared"], label_exact=["Shared"]).clear(), Thresholds(0.05, 0.1))
    assert found["agreement"] is None
    assert (found["sentences"], found["parted"], found["defined"]) == (0, [], [])
