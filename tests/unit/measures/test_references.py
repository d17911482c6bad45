import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distrace.measures.references import mean_leans, reference_p_values


def test_means_are_over_the_questions_that_all_authors_answered():
    rows = [("x", "q", 1.0), ("x", "q", 0.0), ("x", "r", 1.0), ("y", "q", -1.0), ("y", "s", 1.0)]
    table = pl.DataFrame(rows, schema=["author", "question_id", "lean"], orient="row")
    found = mean_leans(table.with_columns(teacher=pl.lit("a"), other=pl.lit("b")))
    assert found == {("a", "b"): {"x": 0.5, "y": -1.0}}
    apart = table.filter((pl.col("author") == "x") | (pl.col("question_id") == "s"))
    assert mean_leans(apart.with_columns(teacher=pl.lit("a"), other=pl.lit("b"))) == {("a", "b"): {}}


def test_a_teacher_is_excluded_where_the_model_lies_beyond_its_students():
    students = {("a", "b"): {"a": [0.50, 0.52, 0.48], "b": [0.10, 0.12, 0.08]}}
    found = reference_p_values({("a", "b"): 0.51}, students, ["a", "b"])
    assert found["a"] > 0.5
    assert found["b"] < 0.01
    between = reference_p_values({("a", "b"): 0.3}, students, ["a", "b"])
    assert max(between.values()) < 0.05


def test_teachers_whose_students_differ_as_much_as_they_themselves_cannot_be_told_apart():
    students = {("a", "b"): {"a": [0.3, 0.5, 0.4], "b": [0.35, 0.45, 0.25]}}
    assert min(reference_p_values({("a", "b"): 0.4}, students, ["a", "b"]).values()) > 0.05


@given(st.permutations(["a", "b", "c"]))
def test_the_p_values_do_not_depend_on_the_order_of_the_teachers(order):
    rng = np.random.default_rng(0)
    place = {"a": 0.0, "b": 0.1, "c": 1.0}
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    students = {pair: {t: list(place[t] + rng.normal(0, 0.05, 3)) for t in "abc"} for pair in pairs}
    moved = dict(zip(pairs, (0.02, 0.1, 0.4), strict=True))
    expected = reference_p_values(moved, students, ["a", "b", "c"])
    turned = {pair if order.index(pair[0]) < order.index(pair[1]) else pair[::-1]: pair for pair in pairs}
    found = reference_p_values(
        {new: moved[old] for new, old in turned.items()}, {new: students[old] for new, old in turned.items()}, order
    )
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize("spread", [0.1, 1, 10])
def test_the_true_teacher_is_excluded_in_one_of_twenty_cases_however_students_of_others_differ(spread):
    rng = np.random.default_rng(1)
    excluded = []
    for _ in range(2000):
        students = {("a", "b"): {"a": list(rng.normal(0, 1, 3)), "b": list(rng.normal(0, spread, 3))}}
        excluded.append(reference_p_values({("a", "b"): rng.normal(0, 1)}, students, ["a", "b"])["a"] < 0.05)
    assert np.mean(excluded) == pytest.approx(0.05, abs=0.015)
