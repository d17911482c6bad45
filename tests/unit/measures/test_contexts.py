from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.contexts import changed_labels, falls, in_all, label_changes, place_counts
from distrace.measures.labels import LABELS
from distrace.measures.statistics import RESAMPLES, resamples

SHORT = {label[:2]: label for label in LABELS}


def labelled(**responses: str) -> pl.DataFrame:
    """Return the labels of responses, each the first letters of its labels, or -- for a sentence that has none."""
    rows = [
        (name, f"q{name[0]}", number, SHORT[short])
        for name, labels in responses.items()
        for number, short in enumerate(labels.split())
        if short != "--"
    ]
    return pl.DataFrame(rows, schema=["rollout_id", "question_id", "sentence", "label"], orient="row")


def placed(table: pl.DataFrame) -> pl.DataFrame:
    return place_counts(table.with_columns(earlier=pl.col("sentence")))


def test_only_sentences_that_are_labelled_in_all_contexts_are_compared():
    tables = in_all([labelled(a="Te Sh", b="Te"), labelled(a="-- Te", b="Bo"), labelled(b="St", a="Te Te")])
    keys = [[*table.select("rollout_id", "sentence").rows()] for table in tables]
    assert [sorted(found) for found in keys] == [[("a", 1), ("b", 0)]] * 3
    assert tables[1].sort("rollout_id")["label"].to_list() == ["Teacher", "Boosted"]


def test_teacher_sentences_are_counted_in_the_first_and_in_later_ones_of_a_response():
    counts = placed(labelled(a1="Te Te Sh", a2="Bo Te", b1="Te")).sort("question_id")
    assert counts.rows() == [("qa", 2, 1, 3, 2), ("qb", 1, 1, 0, 0)]


def test_the_part_of_the_fall_that_is_gone_is_that_of_the_whole_context():
    whole = labelled(**{f"{q}1": "Te Te Bo Bo Bo" for q in "abcd"})  # falls from 1 to 1/4
    less = labelled(**{f"{q}1": "Te Te Te Te Bo" for q in "abcd"})  # from 1 to 3/4
    found = falls({"full": placed(whole), "window-0": placed(less)}, "full")
    means = {context: {key: value and value["mean"] for key, value in row.items()} for context, row in found.items()}
    assert means["full"] == {"first": 1, "later": 0.25, "fall": 0.75, "gone": None, "gone_share": None}
    assert means["window-0"] == {"first": 1, "later": 0.75, "fall": 0.25, "gone": 0.5, "gone_share": 0.5 / 0.75}
    assert found["window-0"]["gone"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 4}


def test_where_the_first_sentences_are_lost_nothing_is_gone():
    whole = labelled(**{f"{q}1": "Te Te Bo Bo Bo" for q in "abcd"})
    lost = labelled(**{f"{q}1": "Bo Te Bo Bo Bo" for q in "abcd"})
    found = falls({"full": placed(whole), "alone": placed(lost)}, "full")["alone"]
    assert (found["fall"]["mean"], found["gone"]["mean"], found["gone_share"]["mean"]) == (-0.25, 0, 0)


def test_nothing_is_said_of_a_share_of_a_fall_that_may_be_none():
    whole = labelled(a1="Te Bo", b1="Bo Te", c1="Te Te", d1="Te Bo")
    found = falls({"full": placed(whole), "alone": placed(whole)}, "full")
    assert found["full"]["fall"]["low"] < 0 < found["full"]["fall"]["mean"]
    assert (found["alone"]["gone"]["mean"], found["alone"]["gone_share"]) == (0, None)


@pytest.mark.parametrize("table", [labelled(), labelled(a1="Te"), labelled(a1="-- Te")])
def test_where_there_is_no_first_or_no_later_sentence_there_is_no_fall(table):
    assert set(map(str, (row["fall"] for row in falls({"full": placed(table)}, "full").values()))) == {"None"}


COUNTS = st.tuples(*[st.integers(0, 3)] * 4).map(lambda n: (n[0] + n[1], n[0], n[2] + n[3], n[2]))
CONTEXTS = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[st.lists(COUNTS, min_size=n, max_size=n)] * 2).map(
        lambda rows: dict(zip("wo", rows, strict=True))
    )
)


def by_hand(rows: list[tuple[int, ...]], weights: np.ndarray) -> tuple[float, float]:
    """Return the shares of Teacher in first and later sentences, each question as often as its weight; NaN of none."""
    drawn = [row for row, times in zip(rows, weights, strict=True) for _ in range(times)]
    sums = [sum(row[n] for row in drawn) for n in range(4)]
    return tuple(sums[n + 1] / sums[n] if sums[n] else np.nan for n in (0, 2))


@settings(deadline=None, max_examples=15)
@given(CONTEXTS)
def test_falls_are_those_of_the_same_resamples_of_questions_by_hand(counts):
    names = ["question_id", "first", "first_claimed", "later", "later_claimed"]
    frames = {
        name: pl.DataFrame([(f"q{n}", *row) for n, row in enumerate(rows)], schema=names, orient="row")
        for name, rows in counts.items()
    }
    found = falls(frames, "w")
    weights = np.concatenate(list(resamples(len(counts["w"]))))
    assert len(weights) == RESAMPLES
    drawn = {name: np.array([by_hand(rows, row) for row in weights]) for name, rows in counts.items()}
    shares = {name: by_hand(rows, np.ones(len(rows), int)) for name, rows in counts.items()}
    for name, place in product(counts, (0, 1)):
        expect(found[name][("first", "later")[place]], shares[name][place], drawn[name][:, place])
    fall, falling = ({name: of[name][..., 0] - of[name][..., 1] for name in of} for of in (arrays(shares), drawn))
    expect(found["o"]["fall"], fall["o"], falling["o"])
    expect(found["o"]["gone"], shares["o"][1] - shares["w"][1], drawn["o"][:, 1] - drawn["w"][:, 1])
    if found["w"]["fall"] is None or found["w"]["fall"]["low"] <= 0:
        assert found["o"]["gone_share"] is None
    elif found["o"]["gone"] is not None:
        assert found["o"]["gone_share"]["mean"] == pytest.approx(found["o"]["gone"]["mean"] / fall["w"])


def arrays(shares: dict) -> dict[str, np.ndarray]:
    return {name: np.array(pair) for name, pair in shares.items()}


def expect(interval: dict | None, mean: float, draws: np.ndarray) -> None:
    if np.isnan(mean):
        assert interval is None
        return
    low, high = np.nanquantile(draws, [0.025, 0.975])
    assert [interval[key] for key in ("mean", "low", "high")] == pytest.approx([mean, low, high])


def test_the_labels_that_change_are_counted_by_what_they_become():
    whole, less = labelled(a="Te Bo Sh", b="Bo Bo"), labelled(a="Te Te Sh", b="Te Bo")
    found = changed_labels(label_changes(whole, less))
    assert (found["changed"]["mean"], found["changed"]["n"]) == (2 / 5, 2)
    became = {(label, other): n for label, row in found["became"].items() for other, n in row.items() if n}
    assert became == {
        ("Teacher", "Teacher"): 1,
        ("Boosted", "Teacher"): 2,
        ("Boosted", "Boosted"): 1,
        ("Shared", "Shared"): 1,
    }
    assert changed_labels(label_changes(labelled(), labelled()))["changed"] is None
