import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.intervals import Interval, mean, share

COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20)


def test_a_share_is_all_hits_over_all_totals():
    found = share([1, 0, 3], [2, 1, 3])
    assert found.mean == pytest.approx(4 / 6)
    assert found.n == 3


@settings(deadline=None, max_examples=30)
@given(COUNTS)
def test_the_bounds_lie_about_the_mean_and_within_the_units_own_shares(counts):
    hits, totals = np.array([(min(pair), max(pair)) for pair in counts]).T
    found = share(hits, totals)
    if totals.sum() == 0:
        assert found is None
        return
    shares = hits[totals > 0] / totals[totals > 0]
    assert shares.min() - 1e-12 <= found.low <= found.high <= shares.max() + 1e-12
    assert found.low - 0.05 <= found.mean <= found.high + 0.05


def test_the_same_values_give_the_same_interval():
    values = np.arange(10) / 10
    assert mean(values) == mean(values.copy())


def test_equal_values_leave_no_doubt():
    assert mean([0.25] * 7) == Interval(0.25, 0.25, 0.25, 7)


def test_the_bounds_are_those_of_the_normal_approximation_for_many_values():
    values = np.random.default_rng(0).random(400)
    half = 1.96 * values.std() / np.sqrt(400)
    found = mean(values)
    assert found.low == pytest.approx(values.mean() - half, abs=0.004)
    assert found.high == pytest.approx(values.mean() + half, abs=0.004)


def test_units_are_resampled_whole():
    # Two questions, one with ten hits of ten, one with none of ten: no resample knows more than two units.
    found = share([10, 0], [10, 10])
    assert (found.low, found.mean, found.high) == (0, 0.5, 1)


@pytest.mark.parametrize(("hits", "totals"), [([], []), ([0, 0], [0, 0])])
def test_nothing_to_count_has_no_share(hits, totals):
    assert share(np.array(hits), np.array(totals)) is None


def test_no_values_have_no_mean():
    assert mean(np.array([])) is None
