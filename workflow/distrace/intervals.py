"""Means and shares with 95 % bootstrap intervals over questions."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
_SEED = 20251220


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
    weights = _weights(len(hits))
    below = weights @ totals
    draws = (weights @ hits)[below > 0] / below[below > 0]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(hits.sum() / totals.sum()), float(low), float(high), len(hits))


def mean(values: np.ndarray) -> Interval | None:
    """Give the mean of the values (one per question), resampling them; None when there are none."""
    return share(values, np.ones(len(values)))


def _weights(n: int) -> np.ndarray:
    """Give how often each of `n` units is drawn in each resample, as (resamples, n) floats; the same at every call."""
    return np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
