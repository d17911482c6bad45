"""How good labels are where the true origin of each sentence is known.

A label claims an origin: Teacher claims `teacher`, Student `student`, Shared and Boosted `both`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from distrace.measures.labels import LABELS, Thresholds, label_of

ORIGINS = ("teacher", "student", "both", "none")
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2)
BETAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
_CLAIMS = dict(zip(LABELS, ("teacher", "student", "both", "both"), strict=True))
_LENGTHS = (0, 16, 24, 32, 48, 64)  # characters: where each class of sentence lengths begins


@dataclass(frozen=True)
class Pair:
    """The styles of the world that teacher and student were trained on."""

    teacher: str
    student: str


def origin_of(pair: Pair) -> pl.Expr:
    """Return one of `ORIGINS`, for this teacher and student, from the column `origin` (styles joined by "+")."""
    styles = pl.col("origin").str.split("+")
    teacher, student = styles.list.contains(pair.teacher), styles.list.contains(pair.student)
    return (
        pl.when(teacher & student)
        .then(pl.lit("both"))
        .when(teacher)
        .then(pl.lit("teacher"))
        .when(student)
        .then(pl.lit("student"))
        .otherwise(pl.lit("none"))
        .alias("origin")
    )


def confusion(table: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Return the number of sentences by length class, origin and label at these thresholds."""
    classes = np.searchsorted(_LENGTHS, (table["end"] - table["start"]).to_numpy(), side="right") - 1
    length = pl.Series("length", np.array(_LENGTHS)[classes], dtype=pl.Int32)
    return (
        table.with_columns(length, label_of(thresholds).alias("label"))
        .group_by("length", "origin", "label")
        .agg(pl.len().alias("sentences"))
        .sort("length", "origin", "label")
        .with_columns(alpha=pl.lit(thresholds.alpha), beta=pl.lit(thresholds.beta))
    )


def summed_confusion(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the counts of all parts together, from those of each."""
    keys = ("alpha", "beta", "length", "origin", "label")
    return pl.concat(parts).group_by(keys).agg(pl.col("sentences").sum()).sort(keys)


def precision_and_recall(counts: pl.DataFrame) -> dict[str, dict[str, float | int | None]]:
    """Return each label's precision and recall; None if no sentence has the label, or the origin that it claims.

    Precision is the share of the label's sentences that have the origin it claims, recall the share of the sentences
    of that origin that have the label.
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for label, claimed in _CLAIMS.items():
        right = _total(counts, pl.col("label") == label, pl.col("origin") == claimed)
        labelled, true = _total(counts, pl.col("label") == label), _total(counts, pl.col("origin") == claimed)
        found[label] = {
            "precision": right / labelled if labelled else None,
            "recall": right / true if true else None,
            "labelled": labelled,
            "of_origin": true,
        }
    return found


def agreement(counts: pl.DataFrame) -> float | None:
    """Return the share of sentences whose label claims their true origin; None if there are none."""
    right = sum(_total(counts, pl.col("label") == label, pl.col("origin") == o) for label, o in _CLAIMS.items())
    return right / _total(counts) if _total(counts) else None


def confusion_table(counts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of sentences by true origin and label."""
    sums = {
        (o, label): n for o, label, n in counts.group_by("origin", "label").agg(pl.col("sentences").sum()).iter_rows()
    }
    return {origin: {label: sums.get((origin, label), 0) for label in LABELS} for origin in ORIGINS}


def _total(counts: pl.DataFrame, *conditions: pl.Expr) -> int:
    return int(counts.filter(*conditions)["sentences"].sum())
