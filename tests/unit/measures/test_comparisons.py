from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.comparisons import (
    LEAST_RESAMPLES,
    RESAMPLES_PER_PAIR,
    compared,
    interval,
    letters,
    p_value,
    questions_needed,
    resampled_means,
)


def answers(strategies: int, seeds: int, questions: int, rng: np.random.Generator, spread: float = 0.0) -> np.ndarray:
    """Return right and wrong answers of strategies that are equally good; `spread` is that of their seeds."""
    hard = rng.uniform(0.2, 0.8, questions)
    luck = rng.normal(0, spread, (strategies, seeds, 1))
    return (rng.random((strategies, seeds, questions)) < hard + luck).astype(float)


@pytest.fixture
def fewer_resamples(monkeypatch):
    monkeypatch.setattr("distrace.measures.comparisons.LEAST_RESAMPLES", 800)


def covered(trials: int, **shape) -> float:
    """Return how often the interval of a difference that is 0 holds 0."""
    rng = np.random.default_rng(0)
    found = [answers(2, rng=rng, **shape) for _ in range(trials)]
    pairs = [compared(scores, resampled_means(scores))[0] for scores in found]
    return float(np.mean([pair.difference.low <= 0 <= pair.difference.high for pair in pairs]))


def test_each_resample_of_one_seed_is_the_mean_of_questions_drawn_with_replacement():
    scores = np.array([[[0.0, 1.0]], [[0.0, 0.5]]])
    draws = resampled_means(scores)
    assert draws.shape == (LEAST_RESAMPLES, 2)
    # The two strategies get the same questions: none, one or two times the second of two.
    values, counts = np.unique(draws, axis=0, return_counts=True)
    assert values.tolist() == [[0, 0], [0.5, 0.25], [1, 0.5]]
    assert counts / len(draws) == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_the_variance_over_seeds_and_that_over_questions_add_up():
    seeds, questions = 4, 50
    scores = np.random.default_rng(0).normal(0.5, 0.1, (1, seeds, questions)) + np.arange(seeds)[None, :, None]
    by_seed, by_question = scores[0].mean(axis=1), scores[0].mean(axis=0)
    expected = by_seed.var(ddof=1) / seeds + by_question.var() / questions
    assert resampled_means(scores).var() == pytest.approx(expected, rel=0.05)


def test_many_pairs_get_more_resamples_so_that_holm_can_reach_five_percent():
    strategies = 25
    draws = resampled_means(np.zeros((strategies, 1, 2)))
    assert len(draws) == RESAMPLES_PER_PAIR * comb(strategies, 2)
    assert comb(strategies, 2) * 2 / (len(draws) + 1) < 0.05


def test_the_same_scores_give_the_same_numbers():
    scores = np.random.default_rng(1).random((3, 2, 20))
    assert compared(scores, resampled_means(scores)) == compared(scores.copy(), resampled_means(scores.copy()))


def test_the_interval_of_many_questions_is_that_of_the_normal_approximation():
    differences = np.random.default_rng(0).normal(0.1, 0.5, 400)
    scores = np.array([[differences], [np.zeros(400)]])
    [pair] = compared(scores, resampled_means(scores))
    half = 1.96 * differences.std() / 20
    assert pair.difference.low == pytest.approx(differences.mean() - half, abs=0.004)
    assert pair.difference.high == pytest.approx(differences.mean() + half, abs=0.004)
    assert (pair.difference.mean, pair.difference.n) == (pytest.approx(differences.mean()), 400)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(2, 12), st.integers(0, 10**6))
def test_a_p_value_is_below_five_percent_only_where_zero_is_outside_the_interval(strategies, seeds, questions, seed):
    scores = answers(strategies, seeds, questions, np.random.default_rng(seed))
    for pair in compared(scores, resampled_means(scores)):
        outside = pair.difference.low > 0 or pair.difference.high < 0
        assert outside or pair.p_value >= 0.05 - 1e-3
        assert pair.p_value <= pair.p_adjusted <= 1


def test_pairs_are_all_pairs_and_their_p_values_are_adjusted_for_their_number():
    rng = np.random.default_rng(0)
    scores = answers(4, 2, 200, rng)
    scores[3] = np.maximum(scores[3], rng.random((2, 200)) < 0.6)
    pairs = compared(scores, resampled_means(scores))
    assert [(pair.one, pair.other) for pair in pairs] == list(combinations(range(4), 2))
    least = min(pairs, key=lambda pair: pair.p_value)
    assert least.p_adjusted == pytest.approx(6 * least.p_value)
    assert {(p.one, p.other) for p in pairs if p.p_adjusted < 0.05} == {(0, 3), (1, 3), (2, 3)}


def test_equal_scores_do_not_differ():
    scores = np.repeat(answers(1, 3, 40, np.random.default_rng(0)), 2, axis=0)
    [pair] = compared(scores, resampled_means(scores))
    assert (pair.difference.mean, pair.difference.low, pair.difference.high) == (0, 0, 0)
    assert (pair.p_value, pair.questions_needed) == (1, None)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_and_all_wrong_leave_no_interval_but_a_point(value):
    scores = np.full((2, 2, 5), value)
    draws = resampled_means(scores)
    found = interval(value, draws[:, 0], 5)
    assert (found.mean, found.low, found.high, found.n) == (value, value, value, 5)


def test_one_question_says_nothing_about_others():
    scores = np.array([[[1.0]], [[0.0]]])
    [pair] = compared(scores, resampled_means(scores))
    assert (pair.p_value, pair.p_adjusted, pair.questions_needed) == (None, None, None)


def test_a_few_questions_that_differ_are_no_proof_however_many_the_resamples():
    scores = np.zeros((2, 1, 30))
    scores[0, 0, :4] = 1
    [pair] = compared(scores, resampled_means(scores))
    assert pair.p_value >= 2 / 2**4
    assert p_value(np.ones((1, 30)), np.ones(10_000)) < 0.001


def test_one_strategy_has_no_pairs():
    assert compared(np.ones((1, 2, 3)), resampled_means(np.ones((1, 2, 3)))) == []


@pytest.mark.usefixtures("fewer_resamples")
def test_with_one_seed_nineteen_of_twenty_intervals_hold_the_truth():
    assert 0.92 < covered(300, seeds=1, questions=60) < 0.98


@pytest.mark.usefixtures("fewer_resamples")
def test_with_several_seeds_that_differ_they_do_so_too():
    several = {"seeds": 5, "questions": 200, "spread": 0.06}
    assert 0.90 < covered(200, **several) < 0.99


def test_the_number_of_questions_is_that_at_which_four_of_five_tests_find_the_difference():
    needed = questions_needed(np.repeat([-1.0, 0, 1], [1000, 3000, 1000]), least=0.1)
    assert needed == pytest.approx((1.96 + 0.8416) ** 2 * 0.4 / 0.1**2, abs=2)
    rng = np.random.default_rng(0)
    drawn = rng.choice([-1, 0, 1], (2000, needed), p=[0.15, 0.6, 0.25])
    z = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(needed))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_equal_differences_do_not_say_how_many_questions_are_needed():
    assert questions_needed(np.full(10, 0.25)) is None
    assert questions_needed(np.array([0.5])) is None


PAIRS = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0, 1), min_size=n, max_size=n),
        st.sets(st.sampled_from(list(combinations(range(n), 2)))) if n > 1 else st.just(set()),
    )
)


@settings(deadline=None)
@given(PAIRS)
def test_two_strategies_share_a_letter_if_and_only_if_they_do_not_differ(case):
    means, differing = case
    found = letters(means, differing)
    for pair in combinations(range(len(means)), 2):
        one, other = (set(found[number]) for number in pair)
        assert bool(one & other) == (pair not in differing)
    assert all(found)
    assert "a" in found[int(np.argmax(means))]


def test_letters_follow_the_order_of_the_means():
    # The best differs from the worst, the one between them from neither.
    assert letters([0.1, 0.3, 0.2], {(0, 1)}) == ["b", "a", "ab"]
    assert letters([0.1, 0.3], set()) == ["a", "a"]
    assert letters([0.5], set()) == ["a"]
