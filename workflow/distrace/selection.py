"""The selection node: one candidate response for each question, by one strategy.

Run by the workflow as `python -m distrace.selection --ranking FILE --strategy grape --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.errors import DistraceError
from distrace.identity import NODE_VERSIONS

# The column that a strategy maximises; `length_matched` is not in the ranking, since it follows from another choice.
STRATEGIES = {
    "teacher_count": "teacher_count",
    "random": "random",
    "longest": "longest",
    "grape": "grape",
    "length_matched": "length_matched",
}


def write_selection(ranking: Path, strategy: str, out: Path) -> None:
    """Write the chosen response of each question; `rank` is 1, `reason` says what it won by."""
    ranked = artifacts.read(ranking, "ranking")
    if ranked.is_empty():
        raise DistraceError(
            f"{ranking}: no candidate is left to select from; {artifacts.rejects_path(ranking)} says why"
        )
    identity = {
        "version": NODE_VERSIONS["selection"],
        "ranking": artifacts.metadata(ranking).fingerprint,
        "strategy": strategy,
    }
    artifacts.write(out, "selection", select(ranked, strategy), identity)


def select(ranked: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Give the candidate with the largest score of each question, in the order of the ranking.

    Ties go to the candidate with the larger seeded random number, so that they favour neither short nor early ones.
    """
    score = STRATEGIES[strategy]
    if score == "length_matched":
        ranked = with_length_match(ranked)
    best = ranked.sort(score, "random", descending=True, maintain_order=True).group_by(
        "question_id", maintain_order=True
    )
    chosen = best.agg(pl.col("rollout_id").first(), pl.col(score).first().alias("score"), pl.len().alias("candidates"))
    reason = pl.format("{} {} is the largest of {}", pl.lit(strategy), pl.col("score").round(4), "candidates")
    order = ranked.select("question_id").unique(maintain_order=True)
    return order.join(chosen, on="question_id", maintain_order="left").select(
        "rollout_id", "question_id", pl.lit(1).alias("rank"), reason.alias("reason")
    )


def with_length_match(ranked: pl.DataFrame) -> pl.DataFrame:
    """Add `length_matched`: minus the distance in tokens to the candidate that `teacher_count` takes, which comes last.

    So the choice is as long as that of `teacher_count`, and another one wherever there is another: what the two differ
    in is not length.
    """
    taken = select(ranked, "teacher_count").select("rollout_id")
    wanted = ranked.join(taken, on="rollout_id", how="semi").select("question_id", "rollout_id", "longest")
    joined = ranked.join(wanted, on="question_id", suffix="_taken", maintain_order="left")
    distance = (pl.col("longest") - pl.col("longest_taken")).abs()
    itself = pl.col("rollout_id") == pl.col("rollout_id_taken")
    return joined.with_columns(pl.when(itself).then(-float("inf")).otherwise(-distance).alias("length_matched"))


if __name__ == "__main__":
    command.run(write_selection)
