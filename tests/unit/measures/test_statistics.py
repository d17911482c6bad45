import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.leans import MARGIN
from distrace.measures.statistics import (
    Interval,
    holm,
    mean,
    p_value_beyond,
    proportion,
    proportions,
    roc_auc,
    share,
    shares,
    t_test,
)

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


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0, 0.2775), (10, 0.7225, 1)])
def test_none_or_all_of_ten_has_the_interval_of_wilson(right, low, high):
    found = proportion([0.0] * (10 - right) + [1.0] * right)
    assert (found.mean, found.n) == (right / 10, 10)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.low <= found.mean <= found.high


@settings(deadline=None, max_examples=30)
@given(COUNTS)
def test_a_proportion_that_resampling_tells_about_has_the_bootstrap_interval(counts):
    hits, totals = np.array([(min(pair), max(pair)) for pair in counts]).T
    [plain], [found] = shares([hits], totals), proportions([hits], totals)
    if found is None:
        assert plain is None
        return
    assert (found.mean, found.n) == (plain.mean, plain.n)
    if 0 < found.mean < 1 and (totals > 0).sum() > 1:
        assert found == plain
    else:
        assert 0 <= found.low < found.high <= 1
        assert found.low - 1e-12 <= found.mean <= found.high + 1e-12


def test_answers_that_hang_together_count_as_the_questions_they_answer():
    assert proportion([0.0] * 40, units=10) == Interval(0, *list(vars(proportion([0.0] * 10)).values())[1:3], 40)
    assert proportion([]) is None


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


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_value_of_few_questions_is_that_of_all_sign_flips(sign):
    # Of the 2^5 equally likely sign patterns, all plus and all minus are as far from zero as what was seen.
    assert p_value_beyond(sign * np.ones(5), MARGIN) == pytest.approx(2 / 32, abs=0.015)


def test_no_difference_gives_a_p_value_of_one_and_no_question_none():
    assert p_value_beyond(np.zeros(8), MARGIN) == 1
    assert p_value_beyond(np.zeros(0), MARGIN) is None


def test_a_move_within_the_margin_is_no_move_however_many_the_questions():
    moved = np.random.default_rng(0).normal(0.04, 0.1, 5000)
    assert p_value_beyond(moved, margin=0) < 0.001
    assert p_value_beyond(moved, margin=0.05) == 1


def test_at_the_margin_at_most_one_test_in_twenty_is_below_five_percent():
    rng = np.random.default_rng(0)
    at_zero = [p_value_beyond(rng.integers(-1, 2, 40).astype(float), margin=0) < 0.05 for _ in range(300)]
    at_margin = [p_value_beyond(rng.normal(0.05, 0.5, 40), MARGIN) < 0.05 for _ in range(300)]
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


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_area_under_the_roc_curve_is_the_chance_of_the_right_order(positive, negative):
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert roc_auc(np.array(positive), np.array(negative)) == pytest.approx(sum(wins) / len(wins))


def test_without_one_kind_of_sentence_there_is_no_area():
    assert roc_auc(np.array([]), np.array([1.0])) is None


def test_shares_of_the_same_totals_are_those_of_each_alone():
    draw = np.random.default_rng(0)
    hits, totals = draw.random((3, 40)), draw.integers(0, 3, 40)
    assert shares(list(hits), totals) == [share(found, totals) for found in hits]
    assert shares(list(hits), np.zeros(40)) == [None] * 3


def beyond_t(distance: float, freedom: int) -> float:
    """Return the chance of Student's t beyond a distance on either side, from its density added up over small steps."""
    # With t = tan(a) sqrt(freedom), the density in a is that of cos(a)^(freedom - 1).
    angles = (np.arange(200_000) + 0.5) / 200_000 * np.pi / 2
    weights = np.cos(angles) ** (freedom - 1)
    return weights[angles > np.arctan2(distance, np.sqrt(freedom))].sum() / weights.sum()


@settings(deadline=None, max_examples=30)
@given(value=st.floats(-5, 5), sample=st.lists(st.integers(-9, 9), min_size=2, max_size=9, unique=True))
def test_a_draw_is_as_far_from_its_sample_as_students_t_says(value, sample):
    t = abs(value - np.mean(sample)) / (np.std(sample, ddof=1) * np.sqrt(1 + 1 / len(sample)))
    assert t_test(value, sample) == pytest.approx(beyond_t(t, len(sample) - 1), abs=1e-4)


def test_a_sample_without_variance_excludes_every_other_value_and_one_draw_shows_none():
    assert t_test(0.5, [0.5, 0.5]) == 1
    assert t_test(0.4, [0.5, 0.5]) == 0
    with pytest.raises(ValueError, match="no variance"):
        t_test(0.4, [0.5])
