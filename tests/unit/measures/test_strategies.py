import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import RANKED, SCORES, ranking
from distrace.measures.strategies import STRATEGIES, select


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [("teacher_count", ["0", "1"]), ("random", ["2", "4"]), ("longest", ["2", "4"]), ("grape", ["3", "1"])],
)
def test_the_largest_score_of_each_question_wins(strategy, chosen):
    found = select(RANKED, strategy)
    assert found["rollout_id"].to_list() == chosen
    assert found["question_id"].to_list() == ["x", "y"]
    assert found["rank"].to_list() == [1, 1]


def test_a_length_match_is_the_candidate_nearest_in_length_to_the_one_that_teacher_count_takes():
    ranked = ranking(
        ("x", 3, 0.1, 50, -0.9),
        ("x", 2, 0.9, 90, -0.2),
        ("x", 1, 0.5, 44, -0.1),
        ("x", 0, 0.2, 56, -0.1),
        ("alone", 1, 0.2, 10, -0.1),
    )
    assert select(ranked, "length_matched")["rollout_id"].to_list() == ["2", "4"]


def test_the_reason_says_what_the_response_won_by():
    assert select(RANKED, "grape")["reason"].to_list() == [
        "grape -0.1 is the largest of 3",
        "grape -0.1 is the largest of 2",
    ]


def test_ties_go_to_the_larger_random_number():
    tied = ranking(("x", 2, 0.1, 9, -1), ("x", 2, 0.8, 1, -3), ("x", 2, 0.3, 99, -2), ("x", 1, 0.9, 5, -1))
    assert select(tied, "teacher_count")["rollout_id"].to_list() == ["1"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), *[st.integers(0, 3)] * len(SCORES)), min_size=1, max_size=12),
    st.sampled_from(sorted(STRATEGIES)),
)
def test_one_response_of_each_question_is_chosen_in_the_order_of_the_ranking(rows, strategy):
    ranked = ranking(*rows)
    found = select(ranked, strategy)
    assert found["question_id"].to_list() == list(dict.fromkeys(row[0] for row in rows))
    ranked = ranked.with_columns(STRATEGIES[strategy](ranked).alias("score"))
    best = dict(ranked.group_by("question_id").agg(pl.col("score").max()).iter_rows())
    chosen = found.join(ranked, on=["rollout_id", "question_id"])
    assert len(chosen) == len(found)
    assert {row["question_id"]: row["score"] for row in chosen.iter_rows(named=True)} == best
