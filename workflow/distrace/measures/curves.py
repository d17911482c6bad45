"""How often each label is written along a response, with 95 % bootstrap bands over questions.

Read from the counts of `positions.positions_by_question`; `docs/report.md` says what each number is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.measures.labels import LABELS
from distrace.measures.probabilities import lists_of
from distrace.measures.statistics import resamples

MOST_POINTS = 100  # of a curve: sentences of longer responses are taken together
GROUPS: dict[str, pl.Expr] = {"all": pl.lit(True), "right": pl.col("correct"), "wrong": ~pl.col("correct")}
_AT_ONCE = 100  # positions whose counts and resamples are in memory together
_COLUMNS = (*LABELS, "responses")

Counts = NDArray[np.float32]  # [questions, positions, labels and, last, responses]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class _Rows:
    """The counts of one section on one scale, of all responses, the right or the wrong ones: a list for each row."""

    questions: int
    of: NDArray[np.int64]  # the number of the question of each row
    lists: list[list[NDArray[np.int32]]]  # of each column, of each row
    positions: int

    def counts(self, first: int, after: int) -> Counts:
        """Return the counts at the positions from `first` up to but not including `after`."""
        found = np.zeros((self.questions, after - first, len(_COLUMNS)), np.float32)
        for column, rows in enumerate(self.lists):
            for question, values in zip(self.of, rows, strict=True):
                part = values[first:after]
                found[question, : len(part), column] += part
        return found


def label_curves(counts: pl.DataFrame) -> dict[str, Any]:
    """Return the curves of one section on one scale, and the area between those of right and of wrong responses.

    Of `all`, `right` and `wrong` responses: `responses` at each point, and in `labels` lists of each label's `mean`,
    `low` and `high`. A point stands for `width` positions, and for the last one for those that are left. A position
    that no response of the group has, or that is in no resample, has null. `n` counts the questions.
    """
    groups = _groups(counts)
    positions = groups["all"].positions
    width = max(1, -(-positions // MOST_POINTS))
    return {
        "n": groups["all"].questions,
        "positions": positions,
        "width": width,
        **{name: _curve(rows, positions, width) for name, rows in groups.items()},
        "area": _areas(groups["right"], groups["wrong"], positions),
    }


def _groups(counts: pl.DataFrame) -> dict[str, _Rows]:
    asked = counts["question_id"].unique(maintain_order=True)
    numbered = counts.join(pl.DataFrame({"question_id": asked}).with_row_index("question"), on="question_id")
    positions = max(counts["responses"].list.len(), default=0)
    groups = {}
    for name, within in GROUPS.items():
        rows = numbered.filter(within)
        lists = [lists_of(rows[column]) for column in _COLUMNS]
        groups[name] = _Rows(len(asked), rows["question"].to_numpy().astype(np.int64), lists, positions)
    return groups


def _curve(rows: _Rows, positions: int, width: int) -> dict[str, Any]:
    points, reached = [], []
    step = max(1, _AT_ONCE // width) * width
    for first in range(0, positions, step):
        counts = rows.counts(first, min(positions, first + step))
        starts = np.arange(0, counts.shape[1], width)
        reached.append(counts[:, starts, -1].sum(axis=0))
        points.append(np.add.reduceat(counts[..., :-1], starts, axis=1))
    if not points:
        return {"responses": [], "labels": {label: {"mean": [], "low": [], "high": []} for label in LABELS}}
    found = np.concatenate(points, axis=1)
    mean = _shares(np.ones((1, len(found))), found)[0]
    low, high = _bounds(np.concatenate([_shares(weights, found) for weights in resamples(len(found))]))
    bands = {"mean": mean, "low": low, "high": high}
    return {
        "responses": [int(number) for number in np.concatenate(reached)],
        "labels": {
            label: {name: _plain(values[:, column]) for name, values in bands.items()}
            for column, label in enumerate(LABELS)
        },
    }


def _areas(right: _Rows, wrong: _Rows, positions: int) -> dict[str, dict[str, Any] | None]:
    """Return for each label the mean over positions of its share in right responses minus that in wrong ones.

    Positions that only right or only wrong responses reach are left out, in each resample anew (arXiv 2512.20908,
    section 4). None where there is no other.
    """
    means, numbers = (np.zeros((1, len(LABELS))) for _ in range(2))
    draws, drawn = (np.zeros((0, len(LABELS))) for _ in range(2))
    for found in _blocks(right, wrong, positions):
        every = np.ones((1, right.questions))
        mean, number = _differences(every, *found)
        means, numbers = means + mean, numbers + number
        pairs = [_differences(weights, *found) for weights in resamples(right.questions)]
        sums, counted = (np.concatenate(values) for values in zip(*pairs, strict=True))
        draws, drawn = (sums, counted) if not len(draws) else (draws + sums, drawn + counted)
    if not numbers.any():
        return dict.fromkeys(LABELS)
    with np.errstate(invalid="ignore"):
        bounds = _bounds(draws / np.where(drawn > 0, drawn, np.nan))
    return {
        label: {"mean": float(means[0, n] / numbers[0, n]), "low": float(bounds[0][n]), "high": float(bounds[1][n])}
        | {"n": right.questions, "positions": int(numbers[0, n])}
        for n, label in enumerate(LABELS)
    }


def _blocks(right: _Rows, wrong: _Rows, positions: int) -> Iterator[tuple[Counts, Counts]]:
    for first in range(0, positions, _AT_ONCE):
        after = min(positions, first + _AT_ONCE)
        yield right.counts(first, after)[..., :-1], wrong.counts(first, after)[..., :-1]


def _differences(weights: NDArray[Any], right: Counts, wrong: Counts) -> tuple[Numbers, Numbers]:
    """Return the sum of right minus wrong shares over the positions of both, and their number [weights, labels]."""
    found = _shares(weights, right) - _shares(weights, wrong)
    return np.nansum(found, axis=1), np.isfinite(found).sum(axis=1).astype(float)


def _shares(weights: NDArray[Any], counts: NDArray[np.float32]) -> Numbers:
    """Return each label's share under each weighting of the questions [weights, positions, labels]; NaN of none."""
    flat = counts.reshape(len(counts), -1)
    sums = (weights.astype(np.float32) @ flat).reshape(len(weights), *counts.shape[1:]).astype(np.float64)
    totals = sums.sum(axis=-1, keepdims=True)
    shares: Numbers = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    return shares


def _bounds(draws: Numbers) -> tuple[Numbers, Numbers]:
    """Return the 2.5 % and 97.5 % points over the draws that are numbers; NaN where none is."""
    none = np.isnan(draws).all(axis=0)
    low, high = np.nanquantile(np.where(none, 0, draws), [0.025, 0.975], axis=0)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _plain(values: Numbers) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
