import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures import curves
from distrace.measures.curves import label_curves
from distrace.measures.labels import LABELS
from distrace.measures.positions import area_between_curves
from distrace.measures.statistics import share

COUNT = st.integers(0, 3)


def counts(*rows: tuple) -> pl.DataFrame:
    """Return counts by question: question, right or wrong, and for each position how many sentences have each label."""
    lists = ("responses", *LABELS)
    table = [
        (question, correct, *([sum(place) for place in places], *map(list, zip(*places, strict=True))))
        for question, correct, places in rows
    ]
    schema = {"question_id": pl.String, "correct": pl.Boolean} | dict.fromkeys(lists, pl.List(pl.Int32))
    return pl.DataFrame(table, schema=schema, orient="row")


T, S, H, B = np.eye(4, dtype=int).tolist()


def test_a_point_is_the_share_of_the_sentences_at_its_position():
    found = label_curves(counts(("x", True, [T, H]), ("y", True, [T]), ("x", False, [B, T]), ("z", None, [S])))
    assert (found["n"], found["positions"], found["width"]) == (3, 2, 1)
    assert found["right"]["responses"] == [2, 1]
    assert found["right"]["labels"]["Teacher"]["mean"] == [1, 0]
    assert found["wrong"]["labels"]["Boosted"]["mean"] == [1, 0]
    assert found["all"]["responses"] == [4, 2]
    assert found["all"]["labels"]["Teacher"]["mean"] == [0.5, 0.5]


def test_a_position_that_no_response_of_the_group_reaches_has_none():
    found = label_curves(counts(("x", True, [T, H]), ("y", False, [T])))
    assert found["wrong"]["responses"] == [1, 0]
    assert found["wrong"]["labels"]["Teacher"]["mean"] == [1, None]
    assert found["wrong"]["labels"]["Teacher"]["low"] == [1, None]


def test_without_a_response_of_a_group_there_is_no_area():
    found = label_curves(counts(("x", True, [T])))
    assert found["area"] == dict.fromkeys(LABELS)
    assert label_curves(counts())["right"]["responses"] == []


QUESTIONS = st.lists(
    st.tuples(st.sampled_from("vwxyz"), st.booleans(), st.lists(st.tuples(*[COUNT] * 4), min_size=1, max_size=3)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=25)
@given(QUESTIONS)
def test_a_band_is_the_interval_of_the_share_over_questions(rows):
    found = label_curves(counts(*rows))
    asked = list(dict.fromkeys(question for question, _, _ in rows))
    for group, right in (("right", True), ("wrong", False)):
        for position in range(found["positions"]):
            for n, label in enumerate(LABELS):
                hits, totals = np.zeros(len(asked)), np.zeros(len(asked))
                for question, correct, places in rows:
                    if correct == right and position < len(places):
                        hits[asked.index(question)] += places[position][n]
                        totals[asked.index(question)] += sum(places[position])
                expected = share(hits, totals)
                values = [found[group]["labels"][label][name][position] for name in ("mean", "low", "high")]
                if expected is None:
                    assert values == [None] * 3
                else:
                    assert values == pytest.approx([expected.mean, expected.low, expected.high], abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(QUESTIONS)
def test_the_area_is_that_of_the_summed_positions(rows):
    found = label_curves(counts(*rows))["area"]
    table = [
        (position, correct, label, place[n], sum(place))
        for _, correct, places in rows
        for position, place in enumerate(places)
        for n, label in enumerate(LABELS)
    ]
    schema = ["position", "correct", "label", "sentences", "responses"]
    summed = pl.DataFrame(table, schema=schema, orient="row").group_by(schema[:3]).sum().filter(pl.col("responses") > 0)
    expected = area_between_curves(summed)
    assert {label: area["mean"] for label, area in found.items() if area} == pytest.approx(expected, abs=1e-6)


def test_questions_that_agree_leave_no_doubt_about_the_area():
    rows = [row for question in "abcdefghij" for row in ((question, True, [T, H]), (question, False, [B, H]))]
    found = label_curves(counts(*rows))["area"]
    assert found["Teacher"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 10, "positions": 2}
    assert found["Boosted"]["mean"] == -0.5


def test_an_area_over_few_questions_is_wide():
    rows = [("a", True, [T]), ("b", True, [H]), ("c", False, [T]), ("d", False, [H])]
    found = label_curves(counts(*rows))["area"]["Teacher"]
    assert (found["low"], found["mean"], found["high"]) == (-1, 0, 1)


def test_positions_of_long_responses_are_taken_together_and_the_area_is_not(monkeypatch):
    rows = [("x", True, [T, T, H, T, S]), ("y", False, [T, H, H, B, S])]
    monkeypatch.setattr(curves, "MOST_POINTS", 3)
    found = label_curves(counts(*rows))
    assert (found["positions"], found["width"]) == (5, 2)
    assert found["right"]["responses"] == [1, 1, 1]
    assert found["right"]["labels"]["Teacher"]["mean"] == [1, 0.5, 0]
    assert found["wrong"]["labels"]["Teacher"]["mean"] == [0.5, 0, 0]
    assert found["area"]["Teacher"]["mean"] == pytest.approx((0 + 1 + 0 + 1 + 0) / 5)


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_how_many_positions_are_in_memory_together_changes_nothing(at_once, monkeypatch):
    rows = [("x", True, [T, T, H, T, S]), ("y", False, [T, H, H, B, S]), ("z", True, [B, S])]
    monkeypatch.setattr(curves, "MOST_POINTS", 3)
    expected = label_curves(counts(*rows))
    monkeypatch.setattr(curves, "_AT_ONCE", at_once)
    assert label_curves(counts(*rows)) == expected
