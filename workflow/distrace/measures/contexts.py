"""How labels depend on what the models see: the same sentences, labelled in several contexts (docs/report.md).

A student that reads a response copies its habits, so the share of Teacher falls from the first sentence, before which
there is nothing to copy, to the later ones. Where models see less of the response, less of that fall is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.measures.labels import LABELS
from distrace.measures.statistics import resamples, share

CLAIMED = "Teacher"
_KEYS = ["rollout_id", "sentence"]
_COUNTS = ("first", "first_claimed", "later", "later_claimed")
_FALLS = ("first", "later", "fall", "gone", "gone_share")

Numbers = NDArray[np.float64]


def in_all(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Return, of the labelled sentences of a part in each context, those that are labelled in all contexts."""
    common = tables[0].select(_KEYS)
    for table in tables[1:]:
        common = common.join(table, on=_KEYS, how="semi", maintain_order="left")
    return [table.join(common, on=_KEYS, how="semi", maintain_order="left") for table in tables]


def place_counts(placed: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each question: its sentences, and of those the Teacher ones, `first` and `later` in a response.

    The first one of a response is that with no `earlier` one.
    """
    first, claimed = pl.col("earlier") == 0, pl.col("label") == CLAIMED
    return placed.group_by("question_id", maintain_order=True).agg(
        first.sum().alias("first"),
        (first & claimed).sum().alias("first_claimed"),
        (~first).sum().alias("later"),
        (~first & claimed).sum().alias("later_claimed"),
    )


def falls(counts: Mapping[str, pl.DataFrame], whole: str) -> dict[str, dict[str, Any]]:
    """Return, for each context, the share of Teacher in the first and in later sentences, and how far it falls.

    `counts` are the `place_counts` of all parts, of the same sentences in each context. `fall` is first minus later;
    beside the `whole` context, `gone` is by how much the share of later ones is higher than there, `gone_share` that as
    a share of the whole fall, where the interval of that one lies above 0. The difference of the falls would not do:
    it counts first ones that are lost, too. Each has a 95 % bootstrap interval over questions, the same resamples for
    all; each is None where there is nothing to count.
    """
    summed = {context: _by_question(table) for context, table in counts.items()}
    questions = summed[whole].shape[1]
    if not questions:
        return {context: dict.fromkeys(_FALLS) for context in counts}
    shares = {context: _shares(np.ones((1, questions)), table) for context, table in summed.items()}
    draws = {context: _draws(table) for context, table in summed.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for context in counts:
        pairs = zip(_places(shares[context], shares[whole]), _places(draws[context], draws[whole]), strict=True)
        found = [_interval(mean, drawn, questions) for mean, drawn in pairs]
        numbers[context] = dict(zip(_FALLS, found, strict=True))
    falls_at_all = numbers[whole]["fall"] and numbers[whole]["fall"]["low"] > 0
    for context in counts:
        if context == whole or not falls_at_all:
            numbers[context]["gone_share"] = None
    numbers[whole]["gone"] = None
    return numbers


def label_changes(whole: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Return how many sentences of each question have which label in the whole and in another context.

    The columns are `question_id`, `label`, `became` and `sentences`; both tables are of the same sentences.
    """
    both = whole.join(other.select(*_KEYS, pl.col("label").alias("became")), on=_KEYS, maintain_order="left")
    return both.group_by("question_id", "label", "became", maintain_order=True).agg(pl.len().alias("sentences"))


def changed_labels(changes: pl.DataFrame) -> dict[str, Any]:
    """Return the share of sentences whose label changes, with its interval over questions, and which became which."""
    changed = pl.col("sentences").filter(pl.col("label") != pl.col("became")).sum()
    by_question = changes.group_by("question_id", maintain_order=True).agg(
        pl.col("sentences").sum().alias("all"), changed.alias("changed")
    )
    moved = share(by_question["changed"].to_numpy(), by_question["all"].to_numpy())
    pairs = {(a, b): n for a, b, n in changes.group_by("label", "became").agg(pl.col("sentences").sum()).iter_rows()}
    return {
        "changed": asdict(moved) if moved else None,
        "became": {label: {other: pairs.get((label, other), 0) for other in LABELS} for label in LABELS},
    }


def _by_question(counts: pl.DataFrame) -> Numbers:
    """Return the counts [of `_COUNTS`, questions], those of a question in several parts added up."""
    table = counts.group_by("question_id").agg(pl.col(*_COUNTS).sum()).sort("question_id")
    return table.select(_COUNTS).to_numpy().T.astype(float)


def _shares(weights: NDArray[Any], counts: Numbers) -> Numbers:
    """Return the share of Teacher in first and later sentences under each weighting of questions [2, weights]."""
    first, first_claimed, later, later_claimed = (weights @ row for row in counts)
    return np.stack([_divided(first_claimed, first), _divided(later_claimed, later)])


def _draws(counts: Numbers) -> Numbers:
    drawn: Iterator[Numbers] = (_shares(weights, counts) for weights in resamples(counts.shape[1]))
    return np.concatenate(list(drawn), axis=1)


def _places(shares: Numbers, whole: Numbers) -> list[Numbers]:
    """Return the numbers of `_FALLS` from the shares of Teacher in a context and in the whole one."""
    (first, later), (whole_first, whole_later) = shares, whole
    gone = later - whole_later
    return [first, later, first - later, gone, _divided(gone, whole_first - whole_later)]


def _divided(above: Numbers, below: Numbers) -> Numbers:
    found: Numbers = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    return found


def _interval(found: Numbers, draws: Numbers, n: int) -> dict[str, Any] | None:
    """Return a number with the 2.5 % and 97.5 % points of those draws that are numbers."""
    [mean] = np.ravel(found)
    if np.isnan(mean):
        return None
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"mean": float(mean), "low": float(low), "high": float(high), "n": n}
