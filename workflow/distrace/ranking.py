"""The ranking node: every selection score of every candidate response of a teacher.

`docs/scores.md` names the paper behind each score. Scores come from log-probs that are there; no model runs.
Run by the workflow as `python -m distrace.ranking --rollouts FILE... --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import NODE_VERSIONS, short_id
from distrace.probabilities import sentence_log_means


def write_ranking(
    rollouts: list[Path],
    sentences: list[Path],
    teacher: list[Path],
    student: list[Path],
    beta: float,
    seed: int,
    out: Path,
) -> None:
    """Write one row per candidate with a column per score; the lists hold the parts in the same order."""
    frames, rejects, rows_in = [], [], 0
    for paths in zip(rollouts, sentences, teacher, student, strict=True):
        for path in paths[1:]:
            artifacts.require_made_from(path, "rollouts", paths[0])
        responses = artifacts.read(
            paths[0], "rollouts", ["rollout_id", "question_id", "sample", "text", "finish_reason"]
        )
        scored = scores(responses, *_tables(*paths[1:]), beta, seed)
        unusable = _unusable(scored)
        frames.append(scored.filter(unusable.is_null()))
        rejects += [
            {"source": rollout_id, "row": rows_in + row, "reason": reason}
            for row, (rollout_id, reason) in enumerate(zip(scored["rollout_id"], unusable, strict=True))
            if reason is not None
        ]
        rows_in += len(responses)
    identity = {
        "version": NODE_VERSIONS["ranking"],
        "inputs": [[artifacts.metadata(p).fingerprint for p in parts] for parts in (sentences, teacher, student)],
        "rollouts": [artifacts.metadata(path).fingerprint for path in rollouts],
        "beta": beta,
        "seed": seed,
    }
    artifacts.write_with_rejects(out, "ranking", pl.concat(frames), rejects, identity, rows_in)


def scores(
    responses: pl.DataFrame,
    sentences: pl.DataFrame,
    teacher: pl.DataFrame,
    student: pl.DataFrame,
    beta: float,
    seed: int,
) -> pl.DataFrame:
    """Give the responses with their scores, null where a scorer left a response out.

    `teacher_count`: sentences with p_teacher - p_student > beta (arXiv 2512.20908, section 5); `teacher_ratio`: their
    share of `sentences`, those in which both models have a token (`unscored_sentences` are the others);
    `grape`: mean log-prob of the response's tokens under the student (arXiv 2502.04194); `longest`: tokens of
    the student; `random`: uniform in [0, 1), following from `seed` and the response alone.
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


def _tables(sentences: Path, teacher: Path, student: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    columns = ["rollout_id", "starts", "ends", "logprobs"]
    return (
        artifacts.read(sentences, "sentences"),
        artifacts.read(teacher, "logprobs", columns),
        artifacts.read(student, "logprobs", columns),
    )


def _unusable(scored: pl.DataFrame) -> pl.Series:
    """Give the reason why a candidate cannot be ranked, null where it can."""
    return scored.select(
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
    ).to_series()


if __name__ == "__main__":
    command.run(write_ranking)
