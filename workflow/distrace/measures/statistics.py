"""Means and shares with 95 % bootstrap intervals over questions, standard errors, p-values, areas under a ROC curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
FLIPS = 10_000
_SEED = 20251220
_Z = 1.959963984540054  # the 97.5 % point of the normal distribution
_AT_ONCE = 100  # resamples or flips computed together: memory holds this many numbers for each question
_KEPT_UNITS = 20_000  # up to so many units, their resamples are kept: 80 MB

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with the 2.5 % and 97.5 % points of its bootstrap distribution; `n` counts the resampled units."""

    mean: float
    low: float
    high: float
    n: int


def share(hits: ArrayLike, totals: ArrayLike) -> Interval | None:
    """Return sum(hits) / sum(totals) with its interval, resampling entries (questions); None if all totals are 0."""
    [found] = shares([hits], totals)
    return found


def shares(hits: Sequence[ArrayLike], totals: ArrayLike) -> list[Interval | None]:
    """Return `share` for each array of hits among the same totals, all over the same resamples."""
    columns, totals = [np.asarray(found, float) for found in hits], np.asarray(totals, float)
    if totals.sum() == 0:
        return [None] * len(columns)
    draws = np.concatenate([_draws(columns, totals, weights) for weights in resamples(len(totals))])
    bounds = np.quantile(draws, [0.025, 0.975], axis=0).T
    means = [found.sum() / totals.sum() for found in columns]
    return [
        Interval(float(value), float(low), float(high), len(totals))
        for value, (low, high) in zip(means, bounds, strict=True)
    ]


def proportions(hits: Sequence[ArrayLike], totals: ArrayLike, units: int | None = None) -> list[Interval | None]:
    """Return `shares` of hits that never exceed their total, with Wilson's interval where resampling tells nothing.

    That is where no entry (question) has a hit or none lacks one, or where there is only one: every resample is the
    same then. The interval (Wilson 1927, doi 10.1080/01621459.1927.10502953) takes each entry with a total for one
    draw, or `units` of them where entries are not independent.
    """
    known = int(np.count_nonzero(np.asarray(totals, float)))
    return [found and with_wilson(found, known, known if units is None else units) for found in shares(hits, totals)]


def proportion(values: ArrayLike, units: int | None = None) -> Interval | None:
    """Return the mean of values within 0 to 1 (one per question) with its interval, as `proportions` gives it."""
    values = np.asarray(values, float)
    [found] = proportions([values], np.ones(len(values)), units)
    return found


def with_wilson(found: Interval, entries: int, units: int) -> Interval:
    """Return the interval of a share of `entries` questions, Wilson's of so many `units` where all are alike."""
    if found.mean not in (0, 1) and entries > 1:
        return found
    squared = _Z**2 / units
    middle = (found.mean + squared / 2) / (1 + squared)
    half = float(np.sqrt(found.mean * (1 - found.mean) * squared + squared**2 / 4)) / (1 + squared)
    # Rounding must not push the mean out.
    return replace(found, low=min(found.mean, max(0.0, middle - half)), high=max(found.mean, min(1.0, middle + half)))


def resamples(n: int) -> Iterator[NDArray[np.int16]]:
    """Yield how often each of n entries (questions) is in each of `RESAMPLES` resamples, some at a time [some, n].

    They are the same each time, so that shares over the same questions can be compared.
    """
    for seed in range(RESAMPLES // _AT_ONCE):
        yield _kept_weights(n, seed) if n <= _KEPT_UNITS else _weights(n, seed)


def _draws(hits: Sequence[Numbers], totals: Numbers, weights: NDArray[np.int16]) -> Numbers:
    """Return a share for each array of hits in each of some resamples, those with a total of 0 left out."""
    below = weights @ totals
    return np.column_stack([(weights @ found)[below > 0] / below[below > 0] for found in hits])


def _weights(n: int, seed: int) -> NDArray[np.int16]:
    """Return how often each of `_AT_ONCE` resamples holds each of n entries [_AT_ONCE, n]."""
    # n draws with replacement are one multinomial draw.
    drawn = np.random.default_rng([_SEED, seed]).multinomial(n, np.full(n, 1 / n), size=_AT_ONCE)
    return drawn.astype(np.int16)


# The numbers of a report that are over the same questions share their resamples; drawing them is most of the work.
_kept_weights = lru_cache(maxsize=RESAMPLES // _AT_ONCE)(_weights)


def mean(values: ArrayLike) -> Interval | None:
    """Return the mean of the values (one per question) with its interval, resampling them; None if there are none."""
    values = np.asarray(values, float)
    return share(values, np.ones(len(values)))


def standard_error(values: ArrayLike) -> float | None:
    """Return the standard error of the mean of the values, one per question; None of fewer than two.

    Where a value is the mean over a question's samples, this is the error clustered by question (Miller 2024, arXiv
    2411.00640), with n - 1 in place of n: samples of one question are not independent.
    """
    values = np.asarray(values, float)
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def p_value_beyond(differences: Numbers, margin: float) -> float | None:
    """Return the two-sided p-value of the hypothesis that |mean difference| <= `margin`; None if there are none.

    `differences` [questions] has one entry per question. If the mean were exactly `margin`, the excess of each question
    over it could as well have the other sign, so signs are flipped at random. The observed signs count as one of the
    flips (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585), so the p-value is never 0.
    """
    if not len(differences):
        return None
    # The excess of each question over the margin, in the direction of the mean difference [questions].
    beyond = differences * np.sign(differences.mean()) - margin
    if beyond.mean() <= 0:
        return 1.0
    rng = np.random.default_rng(_SEED)
    extreme = 1  # the observed signs
    for _ in range(FLIPS // _AT_ONCE):
        signs = rng.integers(0, 2, (_AT_ONCE, len(beyond))) * 2 - 1
        # The mean excess under each row of flips [_AT_ONCE]; 1e-12 keeps rounding from hiding a tie with the observed.
        extreme += int(((signs @ beyond) / len(beyond) >= beyond.mean() - 1e-12).sum())
    return min(1.0, 2 * extreme / (FLIPS + 1))


def t_test(value: float, sample: Sequence[float]) -> float:
    """Return the two-sided p-value of the hypothesis that `value` is one more draw from the sample, by Student's t.

    Draws are taken to be normal. Raises ValueError of fewer than two, which show no variance.
    """
    draws = np.asarray(sample, float)
    if len(draws) < 2:
        raise ValueError(f"{len(draws)} draws show no variance")
    # A rounding error away from no difference is none.
    distance = max(0.0, abs(value - draws.mean()) - 1e-12)
    return _beyond_t(distance, float(draws.std(ddof=1) * np.sqrt(1 + 1 / len(draws))), len(draws) - 1)


def _beyond_t(distance: float, error: float, freedom: int) -> float:
    """Return the chance of Student's t beyond distance / error on either side.

    By the sums over cosines for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
    """
    if not distance:
        return 1.0
    angle = np.arctan2(distance, error * np.sqrt(freedom))
    odd = freedom % 2
    term, total = (np.cos(angle), 0.0) if odd else (1.0, 0.0)
    for n in range(1 + odd, freedom, 2):
        total += term
        term *= np.cos(angle) ** 2 * n / (n + 1)
    within = (angle + np.sin(angle) * total) * 2 / np.pi if odd else np.sin(angle) * total
    return float(min(1.0, max(0.0, 1 - within)))


def holm(p_values: list[float]) -> list[float]:
    """Return the p-values, in the same order, adjusted for the number of tests by Holm's method (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def roc_auc(positive: Numbers, negative: Numbers) -> float | None:
    """Return the chance that a value of `positive` exceeds one of `negative`, ties as half; None if either is empty."""
    if not len(positive) or not len(negative):
        return None
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))
