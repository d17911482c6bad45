import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from distrace.measures.labels import LABELS, Thresholds
from distrace.measures.validation import Pair, agreement, confusion, origin_of, precision_and_recall, summed_confusion

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
