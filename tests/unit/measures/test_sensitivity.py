import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.labels import LABELS, Thresholds, label_of
from distrace.measures.sensitivity import grid_around, labels_at

SHARE = st.floats(0, 1)


def known(*rows: tuple) -> pl.DataFrame:
    schema = {"question_id": pl.String} | dict.fromkeys(("p_teacher", "p_student", "p_distilled"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_the_grid_holds_the_thresholds_themselves_and_goes_from_half_to_double():
    points = grid_around(Thresholds(0.05, 0.1))
    assert len(points) == 25
    assert Thresholds(0.05, 0.1) in points
    assert (points[0], points[-1]) == (Thresholds(0.025, 0.05), Thresholds(0.1, 0.2))
    assert {point.beta for point in points} == {0.05, 0.075, 0.1, 0.15, 0.2}


def test_no_threshold_leaves_the_range_of_probabilities_and_none_comes_twice():
    assert grid_around(Thresholds(0, 1)) == [Thresholds(0, 0.5), Thresholds(0, 0.75), Thresholds(0, 1)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xy"), SHARE, SHARE, SHARE), min_size=1, max_size=8), SHARE, SHARE)
def test_counts_are_those_of_the_labels_of_each_question(rows, alpha, beta):
    point = Thresholds(alpha, beta)
    table = known(*rows)
    labels = table.with_columns(label_of(point).alias("label"))
    for row in labels_at(table, "lines", [point]).iter_rows(named=True):
        mine = labels.filter(question_id=row["question_id"])["label"].to_list()
        assert {label: row[label] for label in LABELS} == {label: mine.count(label) for label in LABELS}
        assert (row["splitter"], row["alpha"], row["beta"], row["unlabelled"]) == ("lines", alpha, beta, 0)


def test_a_sentence_without_a_probability_has_no_label():
    [row] = labels_at(known(("x", None, 0.5, 0.5), ("x", 0.5, 0.5, 0.5)), "lines", [Thresholds(0.05, 0.1)]).to_dicts()
    assert (row["Shared"], row["Boosted"], row["unlabelled"]) == (1, 0, 1)
