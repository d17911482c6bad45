"""Strategies: which candidate response to each question a student is trained on.

A strategy maximises a column of the ranking, or a column that `STRATEGIES` computes from the ranking.
"""

from collections.abc import Callable

import polars as pl


def select(ranked: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Return the candidate with the largest score for each question, in the order of the ranking.

    `rank` is 1, `reason` names the score. Ties go to the candidate with the larger seeded random number, so that they
    favour neither short nor early candidates.
    """
    scored = ranked.with_columns(STRATEGIES[strategy](ranked).alias("score"))
    best = scored.sort("score", "random", descending=True, maintain_order=True).group_by(
        "question_id", maintain_order=True
    )
    chosen = best.agg(pl.col("rollout_id").first(), pl.col("score").first(), pl.len().alias("candidates"))
    reason = pl.format("{} {} is the largest of {}", pl.lit(strategy), pl.col("score").round(4), "candidates")
    order = ranked.select("question_id").unique(maintain_order=True)
    return order.join(chosen, on="question_id", maintain_order="left").select(
        "rollout_id", "question_id", pl.lit(1).alias("rank"), reason.alias("reason")
    )


def length_match(ranked: pl.DataFrame) -> pl.Series:
    """Return minus the distance in tokens to the candidate that `teacher_count` selects, -inf for that candidate.

    So the selected candidate is about as long as that of `teacher_count`, but another one if there is another: the two
    differ in something other than length.
    """
    taken = select(ranked, "teacher_count").select("rollout_id")
    wanted = ranked.join(taken, on="rollout_id", how="semi").select("question_id", "rollout_id", "longest")
    joined = ranked.join(wanted, on="question_id", suffix="_taken", maintain_order="left")
    distance = (pl.col("longest") - pl.col("longest_taken")).abs()
    itself = pl.col("rollout_id") == pl.col("rollout_id_taken")
    return joined.select(pl.when(itself).then(-float("inf")).otherwise(-distance)).to_series()


def _column(name: str) -> Callable[[pl.DataFrame], pl.Series]:
    return lambda ranked: ranked[name]


# By name: a function from the ranking to the score of each candidate; the largest score is selected.
STRATEGIES: dict[str, Callable[[pl.DataFrame], pl.Series]] = {
    "teacher_count": _column("teacher_count"),
    "random": _column("random"),
    "longest": _column("longest"),
    "grape": _column("grape"),
    "length_matched": length_match,
}
