"""The selection scores of a teacher's candidate responses; `docs/scores.md` has the table of all.

Scores are computed from existing log-probs; no model runs. `SCORES` names them. A score is a pure function of the
candidates of a part; all candidates of a question are in the same part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import polars as pl

from distrace.identity import short_id
from distrace.measures.probabilities import sentence_log_means

Pick = Literal["highest", "lowest"]


@dataclass(frozen=True)
class Candidates:
    """Candidate responses and what models say of them; `candidates_of` puts them together.

    - `responses`: a row for each candidate, with `rollout_id`, `question_id` and `text`
    - `sentences`: a row for each sentence, with `rollout_id`, `sentence`, `start` and `end`
    - `teacher`, `student`: a row for each candidate, in the order of `responses`, with lists over its tokens: `starts`,
      `ends`, `logprobs` and what else their log-probs hold; null where the model did not score the candidate
    - `contexts`: the same for the student in other contexts, by name (`window-1`, `alone`)
    - `beta`: the difference of probability from which on a sentence is a Teacher sentence
    - `seed`: what random scores depend on
    """

    responses: pl.DataFrame
    sentences: pl.DataFrame
    teacher: pl.DataFrame
    student: pl.DataFrame
    beta: float
    seed: int
    contexts: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @cached_property
    def probabilities(self) -> pl.DataFrame:
        """The sentences of candidates that both models scored: `rollout_id`, `sentence`, `p_teacher`, `p_student`.

        A probability is null where no token of the model lies in the sentence.
        """
        by_teacher, by_student = (
            sentence_log_means(self.sentences, scored).select(
                "rollout_id", "sentence", pl.col("log_mean").exp().alias(name)
            )
            for name, scored in (("p_teacher", self.teacher), ("p_student", self.student))
        )
        return by_teacher.join(by_student, on=["rollout_id", "sentence"])

    def of_sentences(self, value: pl.Expr) -> pl.Series:
        """Return an aggregate over the `probabilities` of each candidate; null if a model did not score it."""
        return self.in_order(self.probabilities.group_by("rollout_id").agg(value.alias("value")))

    def in_order(self, found: pl.DataFrame) -> pl.Series:
        """Return the column `value` of a frame with a `rollout_id` for each candidate; null for those it lacks."""
        names = self.responses.select("rollout_id")
        return names.join(found, on="rollout_id", how="left", maintain_order="left")["value"]


@dataclass(frozen=True)
class Score:
    """A selection score.

    `compute` returns a float for each candidate, in order, null where it has none; `why_null` says why. `pick` is which
    candidate of a question the score's source takes. `needs` names what is asked of the student beyond its log-probs
    in context `full`: further contexts, or `top_probabilities`.
    """

    compute: Callable[[Candidates], pl.Series]
    pick: Pick
    needs: tuple[str, ...] = ()
    why_null: str = "a model did not score it"


def candidates_of(
    responses: pl.DataFrame,
    sentences: pl.DataFrame,
    teacher: pl.DataFrame,
    student: pl.DataFrame,
    beta: float,
    seed: int,
    contexts: Mapping[str, pl.DataFrame] | None = None,
) -> Candidates:
    """Return the candidates with their log-probs, which may be in another order and lack some, beside them."""

    def beside(scored: pl.DataFrame) -> pl.DataFrame:
        names = responses.select("rollout_id")
        return names.join(scored, on="rollout_id", how="left", maintain_order="left", validate="1:1")

    others = {name: beside(scored) for name, scored in (contexts or {}).items()}
    return Candidates(responses, sentences, beside(teacher), beside(student), beta, seed, others)


def scored(candidates: Candidates, scores: Mapping[str, Score]) -> pl.DataFrame:
    """Return the responses, without their text, and a column for each score.

    The further columns are `characters`; `tokens` under the student's tokenizer; `sentences`, the number of sentences
    with a token of each model, and `unscored_sentences`, that of the others.
    """
    difference = pl.col("p_teacher") - pl.col("p_student")
    return candidates.responses.drop("text").with_columns(
        candidates.responses["text"].str.len_chars().alias("characters"),
        longest(candidates).alias("tokens"),
        candidates.of_sentences(difference.count()).alias("sentences"),
        candidates.of_sentences(difference.null_count()).alias("unscored_sentences"),
        *(score.compute(candidates).cast(pl.Float64).alias(name) for name, score in scores.items()),
    )


def why_unranked() -> pl.Expr:
    """Return the reason why a candidate cannot be ranked, from its scores; null if it can."""
    return (
        pl.when(pl.col("finish_reason") == "length")
        .then(pl.lit("cut off at max_tokens: a student would learn not to end"))
        .when(pl.col("characters") == 0)
        .then(pl.lit("an empty response"))
        .when(pl.col("grape").is_null())
        .then(pl.lit("the student did not score it"))
        .when(pl.col("teacher_count").is_null())
        .then(pl.lit("the teacher did not score it"))
        .when(pl.col("sentences") == 0)
        .then(pl.lit("no sentence has tokens of both teacher and student"))
    )


def teacher_count(candidates: Candidates) -> pl.Series:
    """Return the number of Teacher sentences: those with p_teacher - p_student > beta.

    Source: teacher-guided selection, arXiv 2512.20908, section 5; takes the highest. Needs teacher and student.
    """
    return candidates.of_sentences((_difference() > candidates.beta).sum())


def teacher_ratio(candidates: Candidates) -> pl.Series:
    """Return the share of Teacher sentences among the sentences with a token of each model.

    Source: arXiv 2512.20908, section 5; takes the highest. Needs teacher and student.
    """
    return candidates.of_sentences((_difference() > candidates.beta).mean())


def teacher_margin(candidates: Candidates) -> pl.Series:
    """Return the mean of p_teacher - p_student over the sentences with a token of each model.

    Source: none; `teacher_count` without its threshold and without its growth with length. Takes the highest. Needs
    teacher and student.
    """
    return candidates.of_sentences(_difference().mean())


def random(candidates: Candidates) -> pl.Series:
    """Return a number uniform in [0, 1), which depends on the seed and the response's id alone.

    Source: "Vanilla" of arXiv 2512.20908. Needs no model.
    """
    ids = candidates.responses["rollout_id"]
    return pl.Series([int(short_id("random", candidates.seed, name), 16) / 2**64 for name in ids], dtype=pl.Float64)


def longest(candidates: Candidates) -> pl.Series:
    """Return the number of tokens of the response under the student's tokenizer.

    Source: the usual control. Needs the student.
    """
    return _of_tokens(candidates, pl.col("logprobs").list.len().cast(pl.Float64))


def grape(candidates: Candidates) -> pl.Series:
    """Return the mean natural log-prob of the response's tokens under the student.

    Source: GRAPE, arXiv 2502.04194 (normalised by length since its version 3; no public code); takes the highest. Needs
    the student.
    """
    return _of_tokens(candidates, _logprobs().list.mean())


def _difference() -> pl.Expr:
    """Return p_teacher - p_student of a sentence."""
    return pl.col("p_teacher") - pl.col("p_student")


def _logprobs() -> pl.Expr:
    """Return the log-probs of a candidate's tokens, in double precision for sums."""
    return pl.col("logprobs").cast(pl.List(pl.Float64))


def _of_tokens(candidates: Candidates, value: pl.Expr) -> pl.Series:
    """Return a value of each candidate's tokens under the student; null if there are none."""
    return candidates.student.select(pl.when(pl.col("logprobs").list.len() > 0).then(value)).to_series()


SCORES: dict[str, Score] = {
    "teacher_count": Score(teacher_count, "highest"),
    "teacher_ratio": Score(teacher_ratio, "highest"),
    "teacher_margin": Score(teacher_margin, "highest"),
    "fewest_teacher": Score(teacher_count, "lowest"),
    "random": Score(random, "highest"),
    "longest": Score(longest, "highest"),
    "shortest": Score(longest, "lowest"),
    "grape": Score(grape, "highest"),
}
