"""The provenance node: where did each sentence of a distilled model's response come from?

Four labels from the differences of sentence probabilities under teacher, student and distilled model
(arXiv 2512.20908, section 3).
Run by the workflow as `python -m distrace.provenance --rollouts ... --out FILE`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.probabilities import sentence_log_means

ROLES = ("teacher", "student", "distilled")
LABELS = ("Teacher", "Student", "Shared", "Boosted")


@dataclass(frozen=True)
class Thresholds:
    """Differences of probability: `alpha` bounds Shared, `beta` separates Teacher from Student."""

    alpha: float
    beta: float


def write_provenance(
    rollouts: Path,
    sentences: Path,
    teacher: Path,
    student: Path,
    distilled: Path,
    thresholds: Thresholds,
    out: Path,
) -> None:
    """Write the labelled sentences of a part; `teacher`, `student` and `distilled` are its log-probs under each."""
    logprobs = dict(zip(ROLES, (teacher, student, distilled), strict=True))
    for path in (sentences, *logprobs.values()):
        artifacts.require_made_from(path, "rollouts", rollouts)
    table = artifacts.read(sentences, "sentences")
    rows_in = len(table)
    for role, path in logprobs.items():
        columns = ["rollout_id", "starts", "ends", "logprobs"]
        table = with_probability(table, artifacts.read(path, "logprobs", columns), role)
    table = table.with_columns(why_unknown(ROLES).alias("unknown"))
    rejects = table.filter(pl.col("unknown").is_not_null())
    known = table.filter(pl.col("unknown").is_null()).drop("unknown")
    identity = {
        "version": source_digest("provenance"),
        "rollouts": artifacts.metadata(rollouts).fingerprint,
        "sentences": artifacts.metadata(sentences).fingerprint,
        "logprobs": {role: artifacts.metadata(path).fingerprint for role, path in logprobs.items()},
        "thresholds": asdict(thresholds),
    }
    artifacts.write_with_rejects(
        out,
        "provenance",
        known.with_columns(label_of(thresholds).alias("label")),
        rejects.select(source="rollout_id", row="sentence", reason="unknown").to_dicts(),
        identity,
        rows_in,
    )


def with_probability(sentences: pl.DataFrame, logprobs: pl.DataFrame, role: str) -> pl.DataFrame:
    """Add `p_<role>` and `tokens_<role>` to sentences; null where the response was not scored or has no such token."""
    means = sentence_log_means(sentences, logprobs).select(
        "rollout_id",
        "sentence",
        pl.col("log_mean").exp().alias(f"p_{role}"),
        pl.col("tokens").alias(f"tokens_{role}"),
    )
    return sentences.join(means, on=["rollout_id", "sentence"], how="left", maintain_order="left")


def why_unknown(roles: Iterable[str]) -> pl.Expr:
    """Give the reason why a sentence has no probability under one of the roles, null where it has all."""
    reasons = []
    for role in roles:
        reasons.append(
            pl.when(pl.col(f"tokens_{role}").is_null()).then(pl.lit(f"the {role} did not score the response"))
        )
        reasons.append(pl.when(pl.col(f"p_{role}").is_null()).then(pl.lit(f"no token of the {role} lies in it")))
    return pl.coalesce(reasons)


def label_of(thresholds: Thresholds) -> pl.Expr:
    """Give the label from `p_teacher`, `p_student` and `p_distilled`, tested in the paper's order (section 3)."""
    teacher, student, distilled = (pl.col(f"p_{role}") for role in ROLES)
    pairs = [(student, distilled), (teacher, distilled), (teacher, student)]
    shared = pl.all_horizontal([(a - b).abs() <= thresholds.alpha for a, b in pairs])
    return (
        pl.when(shared)
        .then(pl.lit("Shared"))
        .when(teacher - student > thresholds.beta)
        .then(pl.lit("Teacher"))
        .when(student - teacher > thresholds.beta)
        .then(pl.lit("Student"))
        .otherwise(pl.lit("Boosted"))
    )


if __name__ == "__main__":
    command.run(write_provenance)
