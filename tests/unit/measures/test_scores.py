import math
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl
import pytest

from distrace.measures.scores import SCORES, candidates_of, scored
from distrace.text.splitting import split

Token = tuple[int, int, float]  # first character, character after the last, natural log-prob

TEXTS = {"a": "One.\nTwo.\nThree.\n", "b": "Four.\n", "c": "Five.\nSix.\n"}
TEACHER = {"a": [0.9, 0.5, 0.3], "b": [0.2], "c": [0.8, 0.8]}
STUDENT = {"a": [0.5, 0.45, 0.6], "b": [0.8], "c": [0.1, 0.1]}


def bounds(text: str) -> list[tuple[int, int]]:
    return list(pairwise(split(text, "lines")))


def one_token_each(values: dict[str, list[float]]) -> dict[str, list[Token]]:
    """Return a token for each sentence of the responses, by its probability."""
    return {
        name: [(*span, math.log(p)) for span, p in zip(bounds(TEXTS[name]), found, strict=True)]
        for name, found in values.items()
    }


def logprobs(tokens: dict[str, list[Token]]) -> pl.DataFrame:
    rows = [(name, *([token[column] for token in found] for column in range(3))) for name, found in tokens.items()]
    types = (pl.String, pl.List(pl.Int32), pl.List(pl.Int32), pl.List(pl.Float32))
    names = ("rollout_id", "starts", "ends", "logprobs")
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


@dataclass(frozen=True)
class Candidates:
    """The responses of `teacher`, and the tokens of both scorers."""

    teacher: dict[str, list[Token]]
    student: dict[str, list[Token]]

    def rank(self, beta: float = 0.1, seed: int = 0) -> dict[str, dict]:
        """Return the scores by rollout id."""
        sentences = [(name, n, *span) for name in self.teacher for n, span in enumerate(bounds(TEXTS[name]))]
        candidates = candidates_of(
            pl.DataFrame({"rollout_id": list(self.teacher), "text": [TEXTS[name] for name in self.teacher]}),
            pl.DataFrame(sentences, schema=["rollout_id", "sentence", "start", "end"], orient="row"),
            logprobs(self.teacher),
            logprobs(self.student),
            beta,
            seed,
        )
        found = scored(candidates, SCORES)
        return {row["rollout_id"]: row for row in found.iter_rows(named=True)}


@pytest.fixture
def candidates():
    return Candidates(one_token_each(TEACHER), one_token_each(STUDENT))


def test_sentences_count_as_the_teachers_where_the_student_is_further_below_than_beta(candidates):
    ranked = candidates.rank(beta=0.1)
    assert {name: row["teacher_count"] for name, row in ranked.items()} == {"a": 1, "b": 0, "c": 2}
    assert {name: row["teacher_ratio"] for name, row in ranked.items()} == {"a": pytest.approx(1 / 3), "b": 0, "c": 1}
    assert {name: row["sentences"] for name, row in ranked.items()} == {"a": 3, "b": 1, "c": 2}
    assert candidates.rank(beta=0.04)["a"]["teacher_count"] == 2
    assert candidates.rank(beta=0.5)["a"]["teacher_count"] == 0


def test_grape_and_length_go_by_the_tokens_of_the_student(candidates):
    student = {
        "a": [(0, 5, -0.5), (5, 7, -1.0), (7, 10, -3.0), (10, 17, -0.25)],
        "b": [(0, 6, -2.0)],
        "c": [(0, 6, -0.1), (6, 11, -0.2)],
    }
    ranked = replace(candidates, student=student).rank()
    assert ranked["a"]["grape"] == pytest.approx((-0.5 - 1.0 - 3.0 - 0.25) / 4)
    assert ranked["b"]["grape"] == -2
    assert ranked["c"]["grape"] == pytest.approx(-0.15)
    assert {name: row["longest"] for name, row in ranked.items()} == {"a": 4, "b": 1, "c": 2}
    assert ranked["a"]["characters"] == 17
    # p_student of the first sentence of a is exp(-0.5) = 0.61, of the second exp(-2) = 0.14, of the third 0.78.
    assert ranked["a"]["teacher_count"] == 2


def test_random_scores_follow_from_the_seed_and_the_response_alone(candidates):
    def drawn(ranked: dict) -> dict:
        return {name: row["random"] for name, row in ranked.items()}

    first = drawn(candidates.rank(seed=1))
    assert drawn(candidates.rank(seed=1, beta=0.3)) == first
    assert all(0 <= value < 1 for value in first.values())
    assert len(set(first.values())) == 3
    assert set(drawn(candidates.rank(seed=2)).values()).isdisjoint(first.values())
    alone = Candidates(one_token_each({"b": [0.2]}), one_token_each({"b": [0.8]}))
    assert drawn(alone.rank(seed=1)) == {"b": first["b"]}


def test_a_sentence_without_a_token_counts_neither_for_nor_against_a_response(candidates):
    teacher = {
        "a": [(0, 5, math.log(0.9)), (5, 17, math.log(0.9))],
        "b": [(0, 6, -1.0)],
        "c": [(0, 6, -1.0), (6, 11, -1.0)],
    }
    row = replace(candidates, teacher=teacher).rank()["a"]
    # The second token lies mostly in the third sentence, and leaves the second without one.
    assert (row["teacher_count"], row["sentences"], row["unscored_sentences"]) == (2, 2, 1)
    assert row["teacher_ratio"] == 1
