"""How good labels are where the true origin of each sentence is known.

A label claims an origin: Teacher claims `teacher`, Student `student`, Shared and Boosted `both`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from distrace.measures.labels import LABELS, Thresholds, label_of
from distrace.measures.statistics import share

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


def oracle_agreement(table: pl.DataFrame, thresholds: Thresholds) -> dict[str, Any]:
    """Return how far the models' labels agree with the oracle's, and where and why they part.

    `table` has a row for each sentence: `question_id`, `form`, `follows`, `origin`, the models' `label`, `p_teacher`,
    `p_student` and `p_distilled`, and the oracle's as `label_exact`, `p_teacher_exact` and `p_student_exact`.
    `agreement` is a share with its interval over questions; precision and recall take the oracle's label for the truth.
    `parted` counts the sentences with another label by what would mend it: there an estimate is off. `defined`
    counts those whose oracle label claims another origin than their form has: there the rules of the labels part from
    who writes such sentences.
    """
    same, claim = pl.col("label") == pl.col("label_exact"), pl.col("label_exact").replace_strict(_CLAIMS)
    by_question = table.group_by("question_id", maintain_order=True).agg(
        same.sum().alias("same"), pl.len().alias("all")
    )
    counts = {(exact, label): n for exact, label, n in table.group_by("label_exact", "label").len().iter_rows()}
    agreement = share(by_question["same"].to_numpy(), by_question["all"].to_numpy())
    parted = _with_mend(table.filter(~same), thresholds)
    return {
        "agreement": agreement and asdict(agreement),
        "sentences": len(table),
        "follow": int(table["follows"].sum()),
        "precision": {label: _share_of(counts, label, of=1) for label in LABELS},
        "recall": {label: _share_of(counts, label, of=0) for label in LABELS},
        "confusion": {exact: {label: counts.get((exact, label), 0) for label in LABELS} for exact in LABELS},
        "parted": _counted(parted, "form", "label_exact", "label", "mend"),
        "defined": _counted(table.filter(claim != pl.col("origin")), "form", "label_exact", "origin"),
    }


def _with_mend(table: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Return the table with `mend`: which probability, were it exact, would mend the label of a sentence.

    `teacher` or `student`, `either` of them, or only `both`. `content` is for a sentence whose words do not follow:
    its form has a price in the grammar, its words have one under the models.
    """
    mended = {
        f"{role}_mends": table.with_columns(pl.col(f"p_{role}_exact").alias(f"p_{role}")).select(label_of(thresholds))
        for role in ("teacher", "student")
    }
    columns = [(found.to_series() == table["label_exact"]).alias(name) for name, found in mended.items()]
    teacher, student = (pl.col(name) for name in mended)
    mend = (
        pl.when(~pl.col("follows"))
        .then(pl.lit("content"))
        .when(teacher & student)
        .then(pl.lit("either"))
        .when(teacher)
        .then(pl.lit("teacher"))
        .when(student)
        .then(pl.lit("student"))
        .otherwise(pl.lit("both"))
    )
    return table.with_columns(columns).with_columns(mend.alias("mend"))


def _share_of(counts: Mapping[tuple[str, str], int], label: str, of: int) -> float | None:
    """Return the share of the sentences with this label, by the oracle (0) or the models (1), with it by both."""
    total = sum(n for labels, n in counts.items() if labels[of] == label)
    return counts.get((label, label), 0) / total if total else None


def _counted(table: pl.DataFrame, *columns: str) -> list[dict[str, Any]]:
    counts = table.group_by(columns).agg(pl.len().alias("sentences"))
    return counts.sort("sentences", *columns, descending=[True] + [False] * len(columns)).to_dicts()


def _total(counts: pl.DataFrame, *conditions: pl.Expr) -> int:
    return int(counts.filter(*conditions)["sentences"].sum())
