import math

import polars as pl
import pytest

from distrace.measures.losses import loss_falls, mean_losses


def test_the_loss_of_a_response_is_the_mean_over_its_tokens_and_there_is_none_without_tokens():
    schema = {"rollout_id": pl.String, "logprobs": pl.List(pl.Float32)}
    table = pl.DataFrame({"rollout_id": ["a", "b"], "logprobs": [[math.log(0.5), math.log(0.25)], []]}, schema=schema)
    found = mean_losses(table, "student")["loss_student"].to_list()
    assert found == [pytest.approx(1.5 * math.log(2)), None]


def test_a_question_counts_once_and_only_where_all_teachers_answered_it():
    rows = [
        ("a", "q", 1.0, 3.0),
        ("a", "q", 2.0, 3.0),  # a second sample
        ("b", "q", 2.0, 2.5),
        ("a", "r", 0.0, 9.0),  # b did not answer it
    ]
    losses = pl.DataFrame(rows, schema=["teacher", "question_id", "loss_distilled", "loss_student"], orient="row")
    assert loss_falls(losses).to_dict(as_series=False) == {"a": [1.5], "b": [0.5]}
