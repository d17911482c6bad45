"""How the labels depend on what was chosen: alpha, beta, and how responses are cut into sentences.

All from log-probs that are there, so no model runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl

from distrace.measures.labels import LABELS, ROLES, Thresholds, label_of
from distrace.measures.probabilities import with_probability

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the run's own alpha and beta
UNLABELLED = "unlabelled"
KEYS = ("splitter", "alpha", "beta", "question_id")


def grid_around(thresholds: Thresholds) -> list[Thresholds]:
    """Return the thresholds of a grid around these, in order: half to double each, at most 1, themselves included."""
    alphas, betas = (_around(value) for value in (thresholds.alpha, thresholds.beta))
    return [replace(thresholds, alpha=alpha, beta=beta) for alpha in alphas for beta in betas]


def _around(value: float) -> list[float]:
    # Rounded, since 0.1 * 1.5 is a little more than 0.15; the run's own value stays exactly what it is.
    return sorted({value if factor == 1 else min(1.0, round(value * factor, 12)) for factor in FACTORS})


def labels_at(known: pl.DataFrame, splitter: str, points: Iterable[Thresholds]) -> pl.DataFrame:
    """Return, for each question and each of the thresholds, how many sentences have each label.

    `known` are sentences with `question_id` and their three probabilities; those without one count as `unlabelled`.
    """
    unknown = pl.any_horizontal(pl.col(f"p_{role}").is_null() for role in ROLES)
    labels = {f"{point.alpha} {point.beta}": (point, pl.when(~unknown).then(label_of(point))) for point in points}
    table = known.select("question_id", *(label.alias(name) for name, (_, label) in labels.items()))
    grouped = table.group_by("question_id", maintain_order=True)
    return pl.concat(
        grouped.agg(
            pl.lit(splitter).alias("splitter"),
            pl.lit(point.alpha).alias("alpha"),
            pl.lit(point.beta).alias("beta"),
            *((pl.col(name) == label).sum().cast(pl.Int32).alias(label) for label in LABELS),
            pl.col(name).null_count().cast(pl.Int32).alias(UNLABELLED),
        ).select(*KEYS, *LABELS, UNLABELLED)
        for name, (point, _) in labels.items()
    )


def with_probabilities(sentences: pl.DataFrame, logprobs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return sentences, cut in any way, with their probability under each role; null where it has none under one."""
    for role, frame in logprobs.items():
        sentences = with_probability(sentences, frame, role)
    return sentences
