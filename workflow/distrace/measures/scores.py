"""The selection scores of a teacher's candidate responses; `docs/scores.md` names the paper behind each.

Scores are computed from existing log-probs; no model runs.
"""

import polars as pl

from distrace.identity import short_id
from distrace.measures.probabilities import sentence_log_means


def scores(
    responses: pl.DataFrame,
    sentences: pl.DataFrame,
    teacher: pl.DataFrame,
    student: pl.DataFrame,
    beta: float,
    seed: int,
) -> pl.DataFrame:
    """Return the responses with a column for each score, null if a scorer left the response out.

    - `teacher_count`: sentences with p_teacher - p_student > beta (arXiv 2512.20908, section 5)
    - `teacher_ratio`: their share of `sentences`, the number of sentences with a token of each model;
      `unscored_sentences` is the number of the others
    - `grape`: mean natural log-prob of the response's tokens under the student (arXiv 2502.04194)
    - `longest`: tokens of the response under the student's tokenizer
    - `random`: uniform in [0, 1), depends on `seed` and the response's id alone
    """
    by_teacher = sentence_log_means(sentences, teacher).rename({"log_mean": "teacher"}).drop("tokens")
    by_student = sentence_log_means(sentences, student).rename({"log_mean": "student"}).drop("tokens")
    difference = pl.col("teacher").exp() - pl.col("student").exp()
    counts = (
        by_teacher.join(by_student, on=["rollout_id", "sentence"])
        .group_by("rollout_id")
        .agg(
            (difference > beta).sum().cast(pl.Float64).alias("teacher_count"),
            (difference > beta).mean().alias("teacher_ratio"),
            difference.count().alias("sentences"),
            difference.null_count().alias("unscored_sentences"),
        )
    )
    likelihood = student.select(
        "rollout_id",
        pl.col("logprobs").cast(pl.List(pl.Float64)).list.mean().alias("grape"),
        pl.col("logprobs").list.len().cast(pl.Float64).alias("longest"),
    )
    drawn = [int(short_id("random", seed, rollout_id), 16) / 2**64 for rollout_id in responses["rollout_id"]]
    return (
        responses.with_columns(pl.col("text").str.len_chars().alias("characters"))
        .drop("text")
        .join(counts, on="rollout_id", how="left", maintain_order="left")
        .join(likelihood, on="rollout_id", how="left", maintain_order="left")
        .with_columns(pl.Series("random", drawn, dtype=pl.Float64))
    )


def why_unranked() -> pl.Expr:
    """Return the reason why a candidate cannot be ranked, from its scores; null if it can."""
    return (
        pl.when(pl.col("finish_reason") == "length")
        .then(pl.lit("cut off at max_tokens: a student would learn not to end"))
        .when(pl.col("characters") == 0)
        .then(pl.lit("an empty response"))
        .when(pl.col("grape").is_null())
        .then(pl.lit("the student did not score it"))
        .when(pl.col("teacher_count").is_null())
        .then(pl.lit("the teacher did not score it"))
        .when(pl.col("sentences") == 0)
        .then(pl.lit("no sentence has tokens of both teacher and student"))
    )
