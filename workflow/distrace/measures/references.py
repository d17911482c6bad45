"""How far do students of one teacher differ? With reference students, a teacher is excluded only beyond that.

A reference student is a model that is known to have learned from a teacher. Two students of one teacher differ by
their training, so the leans of a model that learned from a sibling of the teacher say little alone. The students of
each teacher answer the same questions as the model in question. If it learned from that teacher, it is one more of
them.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from distrace.measures.statistics import t_test

Pair = tuple[str, str]


def mean_leans(leans: pl.DataFrame) -> dict[Pair, dict[str, float]]:
    """Return, by teacher and other, the mean lean of each author over the questions that all authors answered.

    `leans` has a row for each response and pair: `author`, `question_id`, `teacher`, `other`, `lean`. A pair for which
    no question is left has no author.
    """
    found = {}
    for (teacher, other), rows in leans.group_by("teacher", "other", maintain_order=True):
        means = rows.group_by("author", "question_id", maintain_order=True).agg(pl.col("lean").mean())
        wide = means.pivot("author", index="question_id", values="lean", maintain_order=True)
        complete = wide.drop_nulls().drop("question_id")
        found[str(teacher), str(other)] = {name: complete[name].mean() for name in complete.columns if len(complete)}
    return found  # type: ignore[return-value]  # the mean of a column of numbers is a number


def reference_p_values(
    moved: Mapping[Pair, float], students: Mapping[Pair, Mapping[str, Sequence[float]]], teachers: Sequence[str]
) -> dict[str, float]:
    """Return for each teacher the p-value of the hypothesis that the model is one more of its students.

    `moved` holds the mean lean of the model between two teachers, `students` those of the students of each. The model
    is compared with the students of the teacher along the lean to each other teacher (`t_test`; students of unrelated
    teachers differ by different amounts), and the smallest p-value is multiplied by the number of these (Bonferroni).
    """
    found = dict.fromkeys(teachers, 1.0)
    for pair, lean in moved.items():
        for teacher in pair:
            p_value = t_test(lean, students[pair][teacher])
            found[teacher] = min(found[teacher], p_value * (len(teachers) - 1))
    return found
