"""From which of several teachers did a distilled model learn?

A sentence speaks for one of two teachers if its probability under that teacher is larger by more than `beta`. The lean
of a response towards a teacher is the share of its sentences that speak for it, minus the share that speak for the
other. One teacher may find the student's prose likelier from the start, so the lean of the student's own answers to the
same question is subtracted. Training moves leans a little, whoever is imitated, so a teacher is named only for a mean
move of more than `MARGIN`. `docs/scores.md` describes the test.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

MARGIN = 0.05  # of the lean, in [-1, 1]; students distilled from themselves moved by at most 0.012 (docs/world.md)
KIN = 2  # times as near to one teacher as to another: below it, what tells the two apart need not be what was learned


def lean(sentences: pl.DataFrame, teacher: str, other: str, beta: float) -> pl.DataFrame:
    """Return for each response its `lean` in [-1, 1] towards `teacher`, and the number of `sentences` it is a mean of.

    A sentence speaks for the teacher under which its probability (column `p_NAME`) is larger by more than `beta`.
    Sentences without a probability under one of the two do not count. `p_teacher` and `p_other` are the mean
    probabilities of those that count.
    """
    p_teacher, p_other = pl.col(f"p_{teacher}"), pl.col(f"p_{other}")
    difference = p_teacher - p_other
    votes = (difference > beta).cast(pl.Int32) - (difference < -beta).cast(pl.Int32)
    counts = difference.is_not_null()
    return (
        sentences.select(
            "rollout_id",
            votes.alias("vote"),
            p_teacher.alias("p_teacher"),
            p_other.alias("p_other"),
            counts.alias("counts"),
        )
        .group_by("rollout_id", maintain_order=True)
        .agg(
            pl.col("vote").mean().alias("lean"),
            pl.col("vote").count().cast(pl.Int32).alias("sentences"),
            pl.col("p_teacher", "p_other").filter(pl.col("counts")).mean(),
        )
    )


def lean_differences(leans: pl.DataFrame) -> NDArray[np.float64]:
    """Return the distilled model's mean lean minus the student's, for each question that both answered [questions]."""
    return _differences(leans, pl.col("lean"))


def nearness_differences(leans: pl.DataFrame, teacher: str) -> NDArray[np.float64]:
    """Return how much likelier sentences became under a teacher, for each question that both answered [questions].

    That is the mean probability of the distilled model's sentences minus that of the student's, both under the teacher.
    """
    mine = leans.filter((pl.col("teacher") == teacher) | (pl.col("other") == teacher))
    return _differences(mine, pl.when(pl.col("teacher") == teacher).then("p_teacher").otherwise("p_other"))


def _differences(leans: pl.DataFrame, value: pl.Expr) -> NDArray[np.float64]:
    means = leans.group_by("question_id", "role", maintain_order=True).agg(value.mean().alias("value"))
    distilled, student = (means.filter(pl.col("role") == role) for role in ("distilled", "student"))
    both = distilled.join(student, on="question_id", suffix="_student", maintain_order="left")
    return (both["value"] - both["value_student"]).to_numpy()


def not_excluded(pairs: Iterable[Mapping[str, Any]], approaches: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the teachers that cannot be excluded at 5 %: none if nothing moved towards any.

    A teacher is excluded if the model did not come nearer to it, or if it moved from that teacher towards another one
    to which it came more than `KIN` times as near; each is told by adjusted p-values below 0.05. A model comes about as
    near to siblings, and its lean moves the same way whichever of them it learned from (docs/results.md).
    """
    came = {found["teacher"]: found["difference"]["mean"] for found in approaches if found["p_adjusted"] < 0.05}
    nearer = {teacher: mean for teacher, mean in came.items() if mean > 0}
    left = set()
    for pair in pairs:
        names = (pair["teacher"], pair["other"])
        towards, away = names if pair["difference"]["mean"] > 0 else names[::-1]
        if pair["p_adjusted"] < 0.05 and nearer.get(towards, 0) > KIN * nearer.get(away, 0):
            left.add(away)
    return [teacher for teacher in nearer if teacher not in left]


def attributed_to(pairs: list[dict[str, Any]], teachers: list[str]) -> str | None:
    """Return the teacher towards which answers moved from every other one, each at an adjusted p-value below 0.05."""
    wins = Counter(
        pair["teacher"] if pair["difference"]["mean"] > 0 else pair["other"]
        for pair in pairs
        if pair["p_adjusted"] < 0.05
    )
    return next((teacher for teacher in teachers if wins[teacher] == len(teachers) - 1), None)
