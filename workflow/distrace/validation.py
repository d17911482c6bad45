"""The validation node: how good the labels of a trace are where the truth is known.

A label claims an origin: Teacher the teacher, Student the student, Shared and Boosted both. The artifact counts
sentences by label and true origin for a grid of alpha and beta, and by length in characters.
Run by the workflow as `python -m distrace.validation --provenance FILE... --truth FILE... --out FILE`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.provenance import LABELS, Thresholds, label_of

CLAIMS = dict(zip(LABELS, ("teacher", "student", "both", "both"), strict=True))
ORIGINS = ("teacher", "student", "both", "none")
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2)
BETAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
LENGTHS = (0, 16, 24, 32, 48, 64)  # characters: where classes of sentence length begin


@dataclass(frozen=True)
class Pair:
    """The styles of the world that teacher and student were trained on."""

    teacher: str
    student: str


def write_validation(provenance: list[Path], truth: list[Path], pair: Pair, thresholds: Thresholds, out: Path) -> None:
    """Write the counts over all parts of a trace; the trace's own thresholds are on the grid, too."""
    labelled = artifacts.concatenated(provenance, "provenance")
    origins = artifacts.concatenated(truth, "truth").with_columns(origin_of(pair))
    table = labelled.join(origins, on=["rollout_id", "sentence"], how="left", maintain_order="left")
    grid = {(alpha, beta) for alpha in ALPHAS for beta in BETAS} | {(thresholds.alpha, thresholds.beta)}
    counts = pl.concat([confusion(table, Thresholds(*point)) for point in sorted(grid)])
    identity = {
        "version": source_digest("validation"),
        "provenance": [artifacts.metadata(path).fingerprint for path in provenance],
        "truth": [artifacts.metadata(path).fingerprint for path in truth],
        "pair": asdict(pair),
        "thresholds": asdict(thresholds),
    }
    artifacts.write(out, "validation", counts, identity)


def origin_of(pair: Pair) -> pl.Expr:
    """Turn the styles in `origin` into one of `ORIGINS`, as this teacher and this student see them."""
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
    """Give sentences by length class, origin and the label that they get at these thresholds."""
    classes = np.searchsorted(LENGTHS, (table["end"] - table["start"]).to_numpy(), side="right") - 1
    length = pl.Series("length", np.array(LENGTHS)[classes], dtype=pl.Int32)
    return (
        table.with_columns(length, label_of(thresholds).alias("label"))
        .group_by("length", "origin", "label")
        .agg(pl.len().alias("sentences"))
        .sort("length", "origin", "label")
        .with_columns(alpha=pl.lit(thresholds.alpha), beta=pl.lit(thresholds.beta))
    )


def precision_and_recall(counts: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """Give each label's precision and recall; None where no sentence has the label, or the origin that it claims.

    Precision is the share of the label's sentences that have the origin it claims, recall the share of the sentences
    of that origin that have the label.
    """
    found = {}
    for label, claimed in CLAIMS.items():
        right = _total(counts, pl.col("label") == label, pl.col("origin") == claimed)
        labelled, true = _total(counts, pl.col("label") == label), _total(counts, pl.col("origin") == claimed)
        found[label] = {
            "precision": right / labelled if labelled else None,
            "recall": right / true if true else None,
            "labelled": labelled,
            "of_origin": true,
        }
    return found


def _total(counts: pl.DataFrame, *conditions: pl.Expr) -> int:
    return counts.filter(*conditions)["sentences"].sum()


def roc_auc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Give the chance that a value of `positive` is above one of `negative` (ties count half); None if one is empty."""
    if not len(positive) or not len(negative):
        return None
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))


if __name__ == "__main__":
    command.run(write_validation)
