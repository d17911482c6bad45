"""The positions node: how labels lie along a response, for right and wrong responses apart.

For each sentence position, counted from 0: how many sentences have each label, out of how many responses that are that
long (arXiv 2512.20908, section 4).
Run by the workflow as `python -m distrace.positions --provenance FILE... --grades FILE... --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.provenance import LABELS


def write_positions(provenance: list[Path], grades: list[Path], out: Path) -> None:
    """Write the label counts of a trace, over all its parts; `correct` is null for what the grades leave open."""
    for paths in zip(provenance, grades, strict=True):
        artifacts.require_same("rollouts", *paths)
    labelled = artifacts.concatenated(provenance, "provenance")
    graded = artifacts.concatenated(grades, "grades").select("rollout_id", "correct")
    identity = {
        "version": source_digest("positions"),
        "provenance": [artifacts.metadata(path).fingerprint for path in provenance],
        "grades": [artifacts.metadata(path).fingerprint for path in grades],
    }
    artifacts.write(out, "positions", label_positions(labelled, graded), identity)


def label_positions(labelled: pl.DataFrame, graded: pl.DataFrame) -> pl.DataFrame:
    """Give a row for each position, correctness and label: `sentences` with it, of `responses` so long."""
    table = labelled.join(graded, on="rollout_id", how="left").rename({"sentence": "position"})
    long = table.group_by("position", "correct").agg(pl.len().alias("responses"))
    counts = table.group_by("position", "correct", "label").agg(pl.len().alias("sentences"))
    labels = pl.DataFrame({"label": LABELS})
    return (
        long.join(labels, how="cross")
        .join(counts, on=["position", "correct", "label"], how="left", nulls_equal=True)
        .with_columns(pl.col("sentences").fill_null(0))
        .sort("position", "correct", "label", nulls_last=True)
    )


if __name__ == "__main__":
    command.run(write_positions)
