"""Means and shares with 95 % bootstrap intervals over questions."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
_SEED = 20251220
_AT_ONCE = 100  # resamples; bounds the memory to so many numbers for each question


@dataclass(frozen=True)
class Interval:
    """A mean with the 2.5 % and 97.5 % points of its bootstrap distribution; `n` counts the resampled units."""

    mean: float
    low: float
    high: float
    n: int


def share(hits: np.ndarray, totals: np.ndarray) -> Interval | None:
    """Give sum(hits) / sum(totals), resampling the entries (questions); None when there is nothing to count."""
    hits, totals = np.asarray(hits, float), np.asarray(totals, float)
    if totals.sum() == 0:
        return None
    draws = np.concatenate([_draws(hits, totals, seed) for seed in range(RESAMPLES // _AT_ONCE)])
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(hits.sum() / totals.sum()), float(low), float(high), len(hits))


def _draws(hits: np.ndarray, totals: np.ndarray, seed: int) -> np.ndarray:
    """Give the shares of some resamples, always the same for a seed; those without anything to count are left out."""
    n = len(hits)
    weights = np.random.default_rng([_SEED, seed]).multinomial(n, np.full(n, 1 / n), size=_AT_ONCE)
    below = weights @ totals
    return (weights @ hits)[below > 0] / below[below > 0]


def mean(values: np.ndarray) -> Interval | None:
    """Give the mean of the values (one per question), resampling them; None when there are none."""
    return share(values, np.ones(len(values)))
