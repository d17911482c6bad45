"""From which of several teachers did a distilled model learn, by whose answers it came to expect?

DistillDetect (arXiv 2607.09692): the mean loss of the distilled model minus that of its base, here the student, on each
candidate teacher's own answers. Both read the same tokens, so what is easy for every model cancels. The teacher with
the lowest difference is the one that the model learned from. Here the sign is turned: how far the loss fell.
`docs/scores.md` describes the test.
"""

import polars as pl

# In nats a token; a student distilled from itself fell by 0.066, students of a teacher by 2.6 (docs/results.md).
LEAST_FALL = 0.1


def mean_losses(logprobs: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return `rollout_id` and, as `loss_NAME`, the mean of -log-prob over the tokens of each response, in nats.

    It is null where a response has no tokens.
    """
    mean = pl.col("logprobs").list.eval(pl.element().cast(pl.Float64)).list.mean()
    return logprobs.select("rollout_id", (-mean).alias(f"loss_{name}"))


def loss_falls(losses: pl.DataFrame, model: str = "distilled") -> pl.DataFrame:
    """Return a column for each teacher: loss of the student minus that of a `model`, by question [questions].

    A question counts if all teachers answered it; several samples of one are averaged. `losses` has a row for each
    answer of each teacher: `teacher`, `question_id`, `loss_student` and `loss_MODEL`. Falls are in nats a token.
    """
    means = losses.group_by("teacher", "question_id", maintain_order=True).agg(
        (pl.col("loss_student") - pl.col(f"loss_{model}")).mean().alias("fall")
    )
    wide = means.pivot("teacher", index="question_id", values="fall", maintain_order=True)
    return wide.drop_nulls().drop("question_id")
