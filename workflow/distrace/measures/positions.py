"""Labels by position in a response, separately for right and wrong responses (arXiv 2512.20908, section 4)."""

from collections.abc import Iterable

import polars as pl

from distrace.measures.labels import LABELS


def label_positions(labelled: pl.DataFrame, graded: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each position (from 0), correctness and label.

    `sentences` counts the sentences with the label, `responses` the responses that reach the position. `correct` is
    null if the grades leave it open.
    """
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


def summed_positions(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the positions of all parts together, from those of each; parts hold different responses."""
    return (
        pl.concat(parts)
        .group_by("position", "correct", "label")
        .agg(pl.col("sentences").sum(), pl.col("responses").sum())
        .sort("position", "correct", "label", nulls_last=True)
    )


def area_between_curves(positions: pl.DataFrame) -> dict[str, float]:
    """Return for each label its share in right responses minus its share in wrong ones, the mean over positions.

    Positions that only right or only wrong responses reach are left out (arXiv 2512.20908, section 4).
    """
    shares = positions.with_columns((pl.col("sentences") / pl.col("responses")).alias("share"))
    wide = shares.filter(pl.col("correct")).join(
        shares.filter(~pl.col("correct")), on=["position", "label"], suffix="_wrong"
    )
    areas = wide.group_by("label").agg((pl.col("share") - pl.col("share_wrong")).mean().alias("area"))
    return dict(sorted(areas.iter_rows()))
