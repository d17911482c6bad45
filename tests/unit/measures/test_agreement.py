from statistics import correlation

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.agreement import overlaps, rank_correlations, without_doubles

SCORE = st.one_of(st.none(), st.integers(0, 3).map(float))
CANDIDATES = st.lists(st.tuples(st.sampled_from("xyz"), SCORE, SCORE), min_size=1, max_size=14)


def spearman(pairs: list[tuple[float, float]]) -> float | None:
    """Return the correlation of mean ranks, each found by counting; None if one of the two does not vary."""
    ranks = [
        [sum(other < value for other in column) + (sum(other == value for other in column) + 1) / 2 for value in column]
        for column in zip(*pairs, strict=True)
    ]
    if len(pairs) < 2 or any(len(set(column)) == 1 for column in ranks):
        return None
    return correlation(*ranks)


def frame(rows: list[tuple]) -> pl.DataFrame:
    schema = {"question_id": pl.String, "a": pl.Float64, "b": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@settings(deadline=None)
@given(CANDIDATES)
def test_correlations_are_those_of_mean_ranks_within_questions_and_over_all(rows):
    [found] = rank_correlations(frame(rows), ["a", "b"])
    known = [row for row in rows if None not in row]
    by_question = [spearman([(a, b) for q, a, b in known if q == question]) for question in "xyz"]
    defined = [value for value in by_question if value is not None]
    over_all = spearman([(a, b) for _, a, b in known])
    assert found["scores"] == ["a", "b"]
    assert (found["questions"], found["candidates"]) == (len(defined), len(known))
    assert found["within"] == (pytest.approx(np.mean(defined), abs=1e-9) if defined else None)
    assert found["over_all"] == (None if over_all is None else pytest.approx(over_all, abs=1e-9))


def test_a_score_that_is_not_a_number_has_no_rank():
    rows = [("x", 1.0, 1.0), ("x", 2.0, 2.0), ("x", float("nan"), 0.0)]
    [found] = rank_correlations(frame(rows), ["a", "b"])
    assert (found["within"], found["candidates"]) == (pytest.approx(1), 2)


def test_questions_may_turn_what_holds_over_all_round():
    # Within each question the two scores go against each other, over all questions with each other.
    rows = [("x", 0.0, 1.0), ("x", 1.0, 0.0), ("y", 10.0, 11.0), ("y", 11.0, 10.0)]
    [found] = rank_correlations(frame(rows), ["a", "b"])
    assert found["within"] == pytest.approx(-1)
    assert found["over_all"] == pytest.approx(0.6)


def test_one_score_has_no_pairs():
    assert rank_correlations(frame([("x", 1.0, 1.0)]), ["a"]) == []


def test_a_score_that_only_picks_the_other_end_of_another_is_left_out():
    ranked = pl.DataFrame({"longest": [1.0, 2.0], "grape": [0.1, None], "shortest": [1.0, 2.0], "other": [0.1, 0.2]})
    assert without_doubles(ranked, ranked.columns) == ["longest", "grape", "other"]


@given(st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 5).map(str)), min_size=1))
def test_the_overlap_is_what_both_chose_among_what_either_chose(chosen):
    found = {tuple(pair["strategies"]): (pair["shared"], pair["jaccard"]) for pair in overlaps(chosen)}
    names = list(chosen)
    assert set(found) == {(a, b) for n, a in enumerate(names) for b in names[n + 1 :]}
    for (a, b), (shared, jaccard) in found.items():
        both = [name for name in map(str, range(6)) if name in chosen[a] and name in chosen[b]]
        either = [name for name in map(str, range(6)) if name in chosen[a] or name in chosen[b]]
        assert shared == len(both)
        assert jaccard == (len(both) / len(either) if either else None)
