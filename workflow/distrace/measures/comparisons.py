"""Which of several strategies trains the better student? Intervals and p-values over questions and training seeds.

The data are an array of scores [strategies, seeds, questions]: the mean over the samples of a question, answered by the
model that a strategy trained with a seed. All strategies have the same seeds and questions, so they are compared in
pairs: what a hard question or an odd seed does to both cancels. `docs/evaluation.md` says what this can show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb
from statistics import NormalDist
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from distrace.measures.statistics import Interval, holm

LEVEL, POWER = 0.05, 0.8  # two-sided
POINT = 0.01  # of accuracy
LEAST_RESAMPLES, RESAMPLES_PER_PAIR = 10_000, 100
_SEED = 20251220
_AT_ONCE = 100  # resamples computed together: memory holds this many numbers for each question

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two strategies, by number: `difference` is the score of `one` minus that of `other`.

    `p_adjusted` is the p-value adjusted for all pairs; both are None where there are fewer than two questions.
    `questions_needed` is that of `questions_needed`.
    """

    one: int
    other: int
    difference: Interval
    p_value: float | None
    p_adjusted: float | None
    questions_needed: int | None


def resampled_means(scores: Numbers) -> Numbers:
    """Return the mean score of each strategy in each resample of questions and seeds [resamples, strategies].

    Questions and seeds are drawn apart, with replacement, the same for all strategies; the two deviations from the mean
    of all are added. Of S > 1 seeds, S - 1 are drawn: with S, the variance of a mean would be too small by (S - 1) / S,
    a half for two seeds (Rao and Wu 1988, doi 10.1080/01621459.1988.10478591). One seed is kept as it is.
    """
    strategies, seeds, questions = scores.shape
    by_question, by_seed = scores.mean(axis=1), scores.mean(axis=2)
    resamples = max(LEAST_RESAMPLES, RESAMPLES_PER_PAIR * comb(strategies, 2))
    found = [
        of_questions @ by_question.T + of_seeds @ by_seed.T - scores.mean(axis=(1, 2))
        for of_questions, of_seeds in _weights(resamples, questions, seeds)
    ]
    return np.concatenate(found)


def _weights(resamples: int, questions: int, seeds: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the weight of each question and of each seed in the resamples, `_AT_ONCE` at a time."""
    rng = np.random.default_rng(_SEED)
    drawn = max(1, seeds - 1)
    for _ in range(-(-resamples // _AT_ONCE)):
        by_question = rng.multinomial(questions, np.full(questions, 1 / questions), size=_AT_ONCE) / questions
        by_seed = rng.multinomial(drawn, np.full(seeds, 1 / seeds), size=_AT_ONCE) / drawn
        yield by_question, by_seed


def interval(mean: float, draws: Numbers, n: int) -> Interval:
    """Return a mean with the 2.5 % and 97.5 % points of its resampled values; `n` counts the questions."""
    low, high = np.quantile(draws, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(mean), float(low), float(high), n)


def compared(scores: Numbers, draws: Numbers) -> list[Comparison]:
    """Return a comparison of each two strategies; `draws` are the resampled means of the scores.

    The p-values are adjusted over all pairs by Holm's method.
    """
    pairs = list(combinations(range(len(scores)), 2))
    p_values = [p_value(scores[a] - scores[b], draws[:, a] - draws[:, b]) for a, b in pairs]
    adjusted: list[float] | list[None] = [None] * len(pairs)
    if None not in p_values:
        adjusted = holm([p for p in p_values if p is not None])
    return [
        Comparison(
            a,
            b,
            interval((scores[a] - scores[b]).mean(), draws[:, a] - draws[:, b], scores.shape[2]),
            p,
            p_holm,
            questions_needed((scores[a] - scores[b]).mean(axis=0)),
        )
        for (a, b), p, p_holm in zip(pairs, p_values, adjusted, strict=True)
    ]


def p_value(differences: Numbers, draws: Numbers) -> float | None:
    """Return the two-sided p-value of no difference; None of fewer than two questions.

    The level at which the percentile interval reaches 0: twice the share of the resampled differences `draws` that lie
    on its other side, the observed one counted among them. It is no smaller than 2 / 2^m if m questions have another
    score under the two strategies: by chance they are all on one side as often as that, which resamples of a few
    questions cannot show. `differences` are [seeds, questions].
    """
    if differences.shape[1] < 2:
        return None
    differing = int((differences.mean(axis=0) != 0).sum())
    # A rounding error away from 0 is 0.
    beyond = 1 + min((draws <= 1e-12).sum(), (draws >= -1e-12).sum())
    return float(min(1.0, max(2 * beyond / (len(draws) + 1), 2.0 ** (1 - differing))))


def questions_needed(differences: Numbers, least: float = POINT) -> int | None:
    """Return how many questions show a true difference of `least`; None where the scores of no two questions differ.

    n = (z(1 - LEVEL / 2) + z(POWER))^2 s^2 / least^2, s^2 the variance over questions of the paired differences
    [questions] (Miller 2024, arXiv 2411.00640): a two-sided test at `LEVEL` then finds it with chance
    `POWER`. It holds for as many samples a question and for these very models: other training seeds are not in it.
    """
    variance = differences.var(ddof=1) if len(differences) > 1 else 0.0
    if variance < 1e-12:
        return None
    z = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)
    return ceil(z**2 * variance / least**2)


def letters(means: Sequence[float], differing: set[tuple[int, int]]) -> list[str]:
    """Return letters for each strategy: two share one if, and only if, they are not among the `differing` pairs.

    A compact letter display by insertion and absorption (Piepho 2004, doi 10.1198/1061860043515); `a` goes to the best.
    """
    columns = [set(range(len(means)))]
    for pair in differing:
        columns = [part for column in columns for part in (_without_one(column, pair) or [column])]
        columns = [column for n, column in enumerate(columns) if not _is_within_another(n, columns)]
    order = sorted(range(len(means)), key=lambda strategy: -means[strategy])
    columns.sort(key=lambda column: [strategy not in column for strategy in order])
    names = [f"{ascii_letters[n % 52]}{n // 52 or ''}" for n in range(len(columns))]
    return [
        "".join(name for name, column in zip(names, columns, strict=True) if strategy in column)
        for strategy in range(len(means))
    ]


def _without_one(column: set[int], pair: tuple[int, int]) -> list[set[int]]:
    """Return the column without the one and without the other of a pair; nothing unless it holds both."""
    return [column - {strategy} for strategy in pair] if column.issuperset(pair) else []


def _is_within_another(number: int, columns: list[set[int]]) -> bool:
    """Return whether a column is part of another, or equal to an earlier one."""
    column = columns[number]
    return any(column < other or (column == other and n < number) for n, other in enumerate(columns))
