"""The attribution node: from which of several teachers did a distilled model learn?

Where two teachers find a sentence of different probability, it speaks for the likelier one. The lean of a response
towards a teacher is the share of its sentences that speak for it, minus the share that speak for the other. One teacher
may find the student's prose likelier from the start, so the lean of the student's own answers to the same question is
subtracted. Training moves leans a little whoever is imitated, so a teacher is named only for more than `MARGIN`.
Run by the workflow as `python -m distrace.attribution --teachers JSON --distilled-rollouts FILE... --out FILE`.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.provenance import with_probability

MARGIN = 0.05  # of the lean, which lies in [-1, 1]; students distilled from themselves moved by 0.012 at most
FLIPS = 10_000
_SEED = 20251220
_AT_ONCE = 100  # flips; bounds the memory to so many signs for each question


def write_attribution(
    teachers: list,
    beta: float,
    distilled_rollouts: list[Path],
    distilled_sentences: list[Path],
    distilled_logprobs: list[Path],
    student_rollouts: list[Path],
    student_sentences: list[Path],
    student_logprobs: list[Path],
    out: Path,
) -> None:
    """Write the lean of each response of distilled model and student between each two teachers.

    Lists hold the parts in order; log-probs hold all parts under the first teacher, then under the second, and so on.
    A response in which no sentence has a probability under both teachers is rejected.
    """
    sides = {
        "distilled": (distilled_rollouts, distilled_sentences, distilled_logprobs),
        "student": (student_rollouts, student_sentences, student_logprobs),
    }
    table = pl.concat([_leans(role, teachers, beta, *paths) for role, paths in sides.items()])
    unknown = pl.col("lean").is_null()
    reason = pl.format("no sentence has a probability under both {} and {}", "teacher", "other")
    rejects = table.with_row_index("row").filter(unknown).select(reason.alias("reason"), "row", source="rollout_id")
    identity = {
        "version": source_digest("attribution"),
        "teachers": teachers,
        "beta": beta,
        **{
            role: [[artifacts.metadata(path).fingerprint for path in group] for group in paths]
            for role, paths in sides.items()
        },
    }
    artifacts.write_with_rejects(
        out, "attribution", table.filter(~unknown), rejects.to_dicts(), identity, rows_in=len(table)
    )


def _leans(
    role: str, teachers: list[str], beta: float, rollouts: list[Path], sentences: list[Path], logprobs: list[Path]
) -> pl.DataFrame:
    """Give the leans of all responses of one author, part by part."""
    frames = []
    for part, (written, cut) in enumerate(zip(rollouts, sentences, strict=True)):
        artifacts.require_made_from(cut, "rollouts", written)
        table = artifacts.read(cut, "sentences")
        for teacher, path in zip(teachers, logprobs[part :: len(rollouts)], strict=True):
            artifacts.require_made_from(path, "rollouts", written)
            columns = ["rollout_id", "starts", "ends", "logprobs"]
            table = with_probability(table, artifacts.read(path, "logprobs", columns), teacher)
        responses = artifacts.read(written, "rollouts", ["rollout_id", "question_id"])
        for teacher, other in combinations(teachers, 2):
            leans = lean(table, teacher, other, beta)
            found = responses.join(leans, on="rollout_id", how="left", maintain_order="left")
            frames.append(found.with_columns(role=pl.lit(role), teacher=pl.lit(teacher), other=pl.lit(other)))
    return pl.concat(frames)


def lean(sentences: pl.DataFrame, teacher: str, other: str, beta: float) -> pl.DataFrame:
    """Give for each response its `lean` in [-1, 1] towards `teacher`, and the number of `sentences` it rests on.

    A sentence speaks for the teacher under which its probability (`p_NAME`) is more than `beta` larger.
    """
    difference = pl.col(f"p_{teacher}") - pl.col(f"p_{other}")
    votes = (difference > beta).cast(pl.Int32) - (difference < -beta).cast(pl.Int32)
    return (
        sentences.select("rollout_id", votes.alias("vote"))
        .group_by("rollout_id", maintain_order=True)
        .agg(pl.col("vote").mean().alias("lean"), pl.col("vote").count().cast(pl.Int32).alias("sentences"))
    )


def lean_differences(leans: pl.DataFrame) -> np.ndarray:
    """Give, of each question that both answered, the distilled model's mean lean minus the student's."""
    means = leans.group_by("question_id", "role", maintain_order=True).agg(pl.col("lean").mean())
    distilled, student = (means.filter(pl.col("role") == role) for role in ("distilled", "student"))
    both = distilled.join(student, on="question_id", suffix="_student", maintain_order="left")
    return (both["lean"] - both["lean_student"]).to_numpy()


def p_value_beyond(differences: np.ndarray, margin: float = MARGIN) -> float | None:
    """Give the two-sided p-value of a mean difference of at most `margin` either way; None without a question.

    If the mean were just `margin`, what a question is beyond it could have either sign: signs are flipped at random.
    The observed ones count as one of the flips (Phipson and Smyth 2010), so the p-value is never zero.
    """
    if not len(differences):
        return None
    beyond = differences * np.sign(differences.mean()) - margin
    if beyond.mean() <= 0:
        return 1.0
    rng = np.random.default_rng(_SEED)
    extreme = 1
    for _ in range(FLIPS // _AT_ONCE):
        signs = rng.integers(0, 2, (_AT_ONCE, len(beyond))) * 2 - 1
        extreme += int(((signs @ beyond) / len(beyond) >= beyond.mean() - 1e-12).sum())
    return min(1.0, 2 * extreme / (FLIPS + 1))


def holm(p_values: list[float]) -> list[float]:
    """Give p-values adjusted for having made them all, by Holm's method."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


if __name__ == "__main__":
    command.run(write_attribution)
