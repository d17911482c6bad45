import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.errors import DistraceError
from distrace.measures.probabilities import head_log_means, lists_of, sentence_log_means, token_shifts

SENTENCES = {"rollout_id": pl.String, "sentence": pl.Int32, "start": pl.Int32, "end": pl.Int32}
LOGPROBS = {
    "rollout_id": pl.String,
    "starts": pl.List(pl.Int32),
    "ends": pl.List(pl.Int32),
    "logprobs": pl.List(pl.Float32),
}


def sentences(**bounds: list[int]) -> pl.DataFrame:
    """Return the sentences of responses, each by where its sentences begin and where its text ends."""
    rows = [
        (name, number, start, end)
        for name, points in bounds.items()
        for number, (start, end) in enumerate(pairwise(points))
    ]
    return pl.DataFrame(rows, schema=SENTENCES, orient="row")


def logprobs(**tokens: list[tuple[int, int, float]]) -> pl.DataFrame:
    rows = [
        (name, [t[0] for t in found], [t[1] for t in found], [t[2] for t in found]) for name, found in tokens.items()
    ]
    return pl.DataFrame(rows, schema=LOGPROBS, orient="row")


def test_a_sentence_has_the_mean_of_the_log_probs_of_its_tokens():
    found = sentence_log_means(
        sentences(r=[0, 4, 9]), logprobs(r=[(0, 2, -1.0), (2, 4, -3.0), (4, 5, -0.5), (5, 8, -1.0), (8, 9, 0.0)])
    )
    assert found.to_dicts() == [
        {"rollout_id": "r", "sentence": 0, "tokens": 2, "log_mean": -2.0},
        {"rollout_id": "r", "sentence": 1, "tokens": 3, "log_mean": -0.5},
    ]


def test_a_token_counts_for_the_sentence_that_holds_most_of_it():
    found = sentence_log_means(sentences(r=[0, 4, 9]), logprobs(r=[(0, 3, -1.0), (3, 6, -2.0), (6, 9, -4.0)]))
    assert found["log_mean"].to_list() == [-1.0, -3.0]
    assert found["tokens"].to_list() == [1, 2]


def test_a_sentence_without_a_token_has_no_mean():
    found = sentence_log_means(sentences(r=[0, 4, 5, 9]), logprobs(r=[(0, 4, -1.0), (4, 9, -2.0)]))
    assert found["log_mean"].to_list() == [-1.0, None, -2.0]
    assert found["tokens"].to_list() == [1, 0, 1]


def test_responses_that_were_not_scored_are_left_out():
    found = sentence_log_means(sentences(a=[0, 4], b=[0, 3]), logprobs(b=[(0, 3, -1.0)]))
    assert found["rollout_id"].to_list() == ["b"]


def test_an_empty_response_has_log_probs_and_no_sentences():
    found = sentence_log_means(sentences(b=[0, 3]), logprobs(a=[], b=[(0, 3, -1.0)]))
    assert found["rollout_id"].to_list() == ["b"]


def test_nothing_gives_nothing():
    found = sentence_log_means(sentences(), logprobs())
    assert found.is_empty()
    assert found.columns == ["rollout_id", "sentence", "tokens", "log_mean"]
    assert found.schema["log_mean"] == pl.Float64


def test_a_probability_of_zero_is_one():
    found = sentence_log_means(sentences(r=[0, 2]), logprobs(r=[(0, 1, -math.inf), (1, 2, -1.0)]))
    assert found["log_mean"].to_list() == [-math.inf]


def test_a_log_prob_that_is_no_number_is_an_error():
    with pytest.raises(DistraceError, match="a log-prob of response b is not a number"):
        sentence_log_means(sentences(a=[0, 1], b=[0, 1]), logprobs(a=[(0, 1, -1.0)], b=[(0, 1, math.nan)]))


def test_log_probs_of_a_response_without_sentences_are_an_error():
    with pytest.raises(DistraceError, match="log-probs of response stray have no sentences"):
        sentence_log_means(sentences(a=[0, 1]), logprobs(stray=[(0, 1, -1.0)]))


def test_tokens_beyond_the_text_are_an_error():
    with pytest.raises(DistraceError, match="ends at character 9, the text at 4"):
        sentence_log_means(sentences(r=[0, 4]), logprobs(r=[(0, 9, -1.0)]))


@settings(deadline=None)
@given(st.data())
def test_every_token_counts_for_one_sentence(data):
    bounds, tokens = {}, {}
    for name in data.draw(st.sets(st.sampled_from("abcd"), min_size=1)):
        length = data.draw(st.integers(1, 12))
        cuts = st.sets(st.integers(1, length))
        bounds[name] = sorted({0, length} | data.draw(cuts))
        points = sorted({0, length} | data.draw(cuts))
        values = data.draw(st.lists(st.floats(-9, 0, width=32), min_size=len(points) - 1, max_size=len(points) - 1))
        tokens[name] = list(zip(points[:-1], points[1:], values, strict=True))
    found = sentence_log_means(sentences(**bounds), logprobs(**tokens))
    assert len(found) == sum(len(points) - 1 for points in bounds.values())
    for name, mine in tokens.items():
        rows = found.filter(pl.col("rollout_id") == name)
        assert rows["tokens"].sum() == len(mine)
        total = (rows["tokens"] * rows["log_mean"]).sum()
        assert total == pytest.approx(sum(value for _, _, value in mine), abs=1e-9)


def test_the_first_tokens_of_sentences_and_the_others_have_means_of_their_own():
    tokens = [(0, 1, -1.0), (1, 2, -2.0), (2, 3, -6.0), (3, 4, -3.0), (4, 5, -4.0), (5, 6, -8.0)]
    found = head_log_means(sentences(r=[0, 3, 6], s=[0, 1], t=[]), logprobs(r=tokens, s=[(0, 1, -5.0)], t=[]), 2)
    assert found.to_dicts() == [
        {"rollout_id": "r", "mean": -4.0, "head_share": 4 / 6, "head_mean": -2.5, "rest_mean": -7.0},
        {"rollout_id": "s", "mean": -5.0, "head_share": 1.0, "head_mean": -5.0, "rest_mean": None},
    ]
    none = head_log_means(sentences(r=[0, 3]), logprobs(), 2)
    assert (none.columns, len(none)) == (found.columns, 0)


def test_lists_come_out_as_they_went_in():
    values = [[1, 2], [], [3], [4, 5, 6]]
    column = pl.concat([pl.Series([[0]]), pl.Series(values[:2], dtype=pl.List(pl.Int64)), pl.Series(values[2:])])
    assert [list(found) for found in lists_of(column.slice(1))] == values
    assert all(isinstance(found, np.ndarray) for found in lists_of(column))


def test_shifts_are_absolute_and_over_all_tokens_of_the_responses_in_both():
    own = pl.DataFrame({"rollout_id": ["a", "b", "c"], "logprobs": [[-1.0, -2.0], [], [-3.0]]})
    float32 = pl.DataFrame({"rollout_id": ["b", "a"], "logprobs": [[], [-1.5, -1.75]]})
    assert token_shifts(own, float32).to_list() == [0.5, 0.25]
