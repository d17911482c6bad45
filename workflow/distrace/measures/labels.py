"""Where did a sentence come from? Four labels, from its probability under teacher, student and distilled model.

The rules and their order are those of arXiv 2512.20908, section 3: differences of probability, not ratios. Beside them
stands a rule of our own, `raised`, which asks first whether the distillation made the sentence likelier. How well each
agrees with what the model writes when it is trained without a form, docs/results.md says.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from distrace.measures.statistics import proportions

ROLES = ("teacher", "student", "distilled")
LABELS = ("Teacher", "Student", "Shared", "Boosted")
RULES = (PAPER, RAISED) = ("paper", "raised")


@dataclass(frozen=True)
class Thresholds:
    """Differences of probability: `alpha` bounds Shared, `beta` separates Teacher from Student, by the rule named."""

    alpha: float
    beta: float
    rule: str = field(default=PAPER, metadata={"later": True})


def thresholds_of(run: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds and the rule of a run, by its config."""
    return Thresholds(run["alpha"], run["beta"], run["label_rule"])


def label_of(thresholds: Thresholds, suffix: str = "") -> pl.Expr:
    """Return the label, from the columns `p_teacher`, `p_student` and `p_distilled`, each with `suffix` after it."""
    teacher, student, distilled = (pl.col(f"p_{role}{suffix}") for role in ROLES)
    labels = {name: pl.lit(name) for name in LABELS}
    by_teacher, by_student = teacher - student > thresholds.beta, student - teacher > thresholds.beta
    if thresholds.rule == RAISED:
        learned = pl.when(by_teacher).then(labels["Teacher"]).otherwise(labels["Boosted"])
        kept = pl.when(by_student).then(labels["Student"]).otherwise(labels["Shared"])
        return pl.when(distilled - student > thresholds.alpha).then(learned).otherwise(kept)
    pairs = [(student, distilled), (teacher, distilled), (teacher, student)]
    shared = pl.all_horizontal([(a - b).abs() <= thresholds.alpha for a, b in pairs])
    return (
        pl.when(shared)
        .then(labels["Shared"])
        .when(by_teacher)
        .then(labels["Teacher"])
        .when(by_student)
        .then(labels["Student"])
        .otherwise(labels["Boosted"])
    )


def label_counts(sentences: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each question: the number of its sentences, `all`, and of those with each label."""
    return sentences.group_by("question_id", maintain_order=True).agg(
        pl.len().alias("all"), *((pl.col("label") == label).sum().alias(label) for label in LABELS)
    )


def label_shares(counts: pl.DataFrame) -> dict[str, dict[str, Any] | None]:
    """Return each label's share of the sentences with a 95 % interval over questions; None without any.

    `counts` are those of `label_counts`.
    """
    found = proportions([counts[label].to_numpy() for label in LABELS], counts["all"].to_numpy())
    return {label: asdict(interval) if interval else None for label, interval in zip(LABELS, found, strict=True)}


def with_earlier(sentences: pl.DataFrame) -> pl.DataFrame:
    """Return sentences, in order, with the column `earlier`: how many of them come before in the same response."""
    ordered = sentences.sort("rollout_id", "sentence")
    return ordered.with_columns(pl.int_range(pl.len()).over("rollout_id").alias("earlier"))


def habit_labels(shown: pl.DataFrame) -> dict[str, Any]:
    """Return the label shares of the sentences that show a habit.

    Of all such sentences, and apart by how many came before in the same response.
    """
    shown = with_earlier(shown)
    return {
        "sentences": len(shown),
        "responses": shown["rollout_id"].n_unique(),
        "labels": label_shares(label_counts(shown)),
        "by_occurrence": [
            {"occurrence": number + 1, "sentences": len(rows)} | {"labels": label_shares(label_counts(rows))}
            for (number,), rows in shown.sort("earlier", maintain_order=True).group_by("earlier", maintain_order=True)
        ],
    }
