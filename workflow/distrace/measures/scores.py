"""The selection scores of a teacher's candidate responses; `docs/scores.md` has the table of all.

Scores are computed from existing log-probs; no model runs. `SCORES` names them. A score is a pure function of the
candidates of a part; all candidates of a question are in the same part. l is the natural log-prob of a token under the
student, given the question and the response so far; a mean is over the response's tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.identity import short_id
from distrace.measures.probabilities import head_log_means, lists_of, sentence_log_means

# What a ranking says of a candidate beside its scores.
RANKING_COLUMNS = (
    "rollout_id",
    "question_id",
    "sample",
    "finish_reason",
    "characters",
    "tokens",
    "sentences",
    "unscored_sentences",
    "missing",
)
HEAD = 2  # tokens at the beginning of a sentence that `drop` leaves out and `casl` looks at
TOP = 50  # most probable tokens that `lark` takes a distribution to consist of
TOP_PROBABILITIES = "top_probabilities"
_LEAST = 1e-12  # of a surprisal that something is divided by

Floats = NDArray[np.floating]
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
        return self.in_order(self.probabilities.group_by("rollout_id", maintain_order=True).agg(value))

    @cached_property
    def heads(self) -> pl.DataFrame:
        """The means of `head_log_means` under the student, a row for each candidate, in order."""
        found = head_log_means(self.sentences, self.student, HEAD)
        return _beside(self.responses, found).drop("rollout_id")

    def in_order(self, found: pl.DataFrame) -> pl.Series:
        """Return the second column of a frame, after `rollout_id`, for each candidate; null for those it lacks."""
        return _beside(self.responses, found).to_series(1)


@dataclass(frozen=True)
class Score:
    """A selection score.

    `compute` returns a float for each candidate, in order, null where it has none; `why_null` says why. `pick` is which
    candidate of a question the score's source takes. `needs` names what is asked of the student beyond its log-probs
    in context `full`: further contexts, or `top_probabilities`. A score that compares candidates has `over_pool`:
    `compute` then returns a struct for each, and `over_pool` the floats, from a frame with `question_id` and the fields
    of the structs, of the candidates of all parts that can be ranked.
    """

    compute: Callable[[Candidates], pl.Series]
    pick: Pick
    needs: tuple[str, ...] = ()
    why_null: str = "a model did not score it"
    over_pool: Callable[[pl.DataFrame], pl.Series] | None = None


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
    others = {name: _beside(responses, scored) for name, scored in (contexts or {}).items()}
    by_teacher, by_student = _beside(responses, teacher), _beside(responses, student)
    return Candidates(responses, sentences, by_teacher, by_student, beta, seed, others)


def _beside(responses: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each response, in order, with what was found for it; null where nothing was."""
    names = responses.select("rollout_id")
    return names.join(found, on="rollout_id", how="left", maintain_order="left", validate="1:1")


def scored(candidates: Candidates, scores: Mapping[str, Score]) -> pl.DataFrame:
    """Return the responses, without their text, and a column for each score: its floats, or structs for `over_pool`.

    The further columns are `characters`; `tokens` under the student's tokenizer; `sentences`, the number of sentences
    with a token of each model, and `unscored_sentences`, that of the others.
    """
    difference = pl.col("p_teacher") - pl.col("p_student")
    return candidates.responses.drop("text").with_columns(
        candidates.responses["text"].str.len_chars().alias("characters"),
        longest(candidates).alias("tokens"),
        candidates.of_sentences(difference.count()).alias("sentences"),
        candidates.of_sentences(difference.null_count()).alias("unscored_sentences"),
        *(score.compute(candidates).alias(name) for name, score in scores.items()),
    )


def compared(ranked: pl.DataFrame, scores: Mapping[str, Score]) -> pl.DataFrame:
    """Return the candidates of all parts with a column of floats for each score, and `missing`.

    `missing` says of each score that is null why it is; null where none is.
    """
    found = ranked.with_columns(
        score.over_pool(ranked.select("question_id", name).unnest(name)).alias(name)
        for name, score in scores.items()
        if score.over_pool
    ).cast(dict.fromkeys(scores, pl.Float64))
    reasons = [
        pl.when(pl.col(name).is_null()).then(pl.lit(f"{name}: {score.why_null}")) for name, score in scores.items()
    ]
    all_reasons = pl.concat_str(reasons, separator="; ", ignore_nulls=True)
    return found.with_columns(pl.when(all_reasons != "").then(all_reasons).alias("missing"))


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

    Source: teacher-guided selection, arXiv 2512.20908, section 5; takes the highest. `fewest_teacher`, its control, is
    the same and takes the lowest. Needs teacher and student.
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

    Source: the usual control; `shortest` is the same and takes the lowest. Needs the student.
    """
    return _of_tokens(candidates, pl.col("logprobs").list.len().cast(pl.Float64))


def grape(candidates: Candidates) -> pl.Series:
    """Return the mean natural log-prob of the response's tokens under the student.

    Source: GRAPE, arXiv 2502.04194 (normalised by length since its version 3; no public code); takes the highest. Needs
    the student.
    """
    return _of_tokens(candidates, _logprobs().list.mean())


def perplexity(candidates: Candidates) -> pl.Series:
    """Return exp(-mean l): the perplexity of the response under the student.

    Source: the usual baseline; takes the lowest, so it orders candidates as `grape` does. Needs the student.
    """
    return (-grape(candidates)).exp()


def rsr(candidates: Candidates) -> pl.Series:
    """Return the rank-surprisal ratio: the sum of the tokens' ranks over the sum of -l.

    A rank is 1 + the number of tokens of the vocabulary with a larger logit, at most 100. Source: arXiv 2601.14249 and
    its code, whose limits of ranks (100) and surprisal (1e-12) are followed; takes the lowest. Needs the student with
    ranks.
    """
    surprisal = -_logprobs().list.sum()
    return _of_tokens(
        candidates, pl.col("ranks").cast(pl.List(pl.Int64)).list.sum() / pl.max_horizontal(surprisal, _LEAST)
    )


def rsr_of_all(ranked: pl.DataFrame) -> float | None:
    """Return the rank-surprisal ratio of a data set, from the ranking of its responses; None without any.

    It is the mean over responses of their mean rank, over the mean over responses of their mean surprisal: a ratio of
    means (arXiv 2601.14249), not the mean of ratios.
    """
    known = ranked.filter(pl.col("rsr").is_not_null())
    if known.is_empty():
        return None
    surprisal = np.maximum(-known["grape"].to_numpy(), _LEAST / known["tokens"].to_numpy())
    return float((known["rsr"].to_numpy() * surprisal).mean() / surprisal.mean())


def drop(candidates: Candidates) -> pl.Series:
    """Return the mean of l without the first two tokens of every sentence.

    Source: ASLEC-DROP, arXiv 2604.06834; takes the highest. Two as its code does by default, where the paper leaves out
    one. Needs the student.
    """
    return candidates.heads["rest_mean"]


def head_means(candidates: Candidates) -> pl.Series:
    """Return, of each candidate, what `casl` is computed from: a struct of the columns of `head_log_means`."""
    return candidates.heads.to_struct()


def casl(means: pl.DataFrame) -> pl.Series:
    """Return mean l - g F, where F is the share of the first two tokens of sentences among all, and g its effect.

    g is the coefficient of F in the least squares fit, over all candidates of the teacher that can be ranked, of
    mean l ~ b1 (mean l of the other tokens) + b2 (mean l of the first tokens) + g F + c. So length of sentences, which
    F follows from, no longer counts. Null without such means, and for all where they do not determine the fit.
    Source: ASLEC-CASL, arXiv 2604.06834; takes the highest. Needs the student.
    """
    known = means.drop_nulls()
    terms = known.select("head_share", "rest_mean", "head_mean", one=1.0).to_numpy()
    if len(known) < 4 or np.linalg.matrix_rank(terms) < 4:
        return pl.Series([None] * len(means), dtype=pl.Float64)
    effect = float(np.linalg.lstsq(terms, known["mean"].to_numpy(), rcond=None)[0][0])
    score = pl.col("mean") - effect * pl.col("head_share")
    return means.select(pl.when(pl.col("rest_mean").is_not_null()).then(score)).to_series()


def lalp(candidates: Candidates, window: int) -> pl.Series:
    """Return the local log-prob: the mean over sentences of the mean l of their tokens, given less.

    l is here given the question and the sentence so far with the `window` sentences before it. Source: arXiv
    2510.03988, which tries 1 and 4 and has no public code; takes the highest. Needs the student in context
    `window-1` or `window-4`.
    """
    means = sentence_log_means(candidates.sentences, candidates.contexts[f"window-{window}"])
    return candidates.in_order(means.group_by("rollout_id", maintain_order=True).agg(pl.col("log_mean").mean()))


def ifd(candidates: Candidates) -> pl.Series:
    """Return the instruction-following difficulty: mean l over mean l of the response alone, without the question.

    Null where it is above 1: the question then makes the response less likely, and the source leaves it out. Source:
    Cherry LLM, arXiv 2308.12032; takes the highest. Needs the student, also in context `alone`.
    """
    alone = candidates.contexts["alone"].select(_logprobs().list.mean()).to_series()
    means = pl.DataFrame({"given": grape(candidates), "alone": alone})
    ratio = pl.col("given") / pl.col("alone")
    return means.select(pl.when(pl.col("alone") < 0, ratio <= 1).then(ratio)).to_series()


def loss_and_brier(candidates: Candidates) -> pl.Series:
    """Return, of each candidate, what `lark` is computed from: a struct of `loss` and `brier`.

    `loss` is the mean of -l. `brier` is the mean over tokens of 1 - 2 q + (sum of q squared): q is the probability of
    the token among the 50 most probable ones, scaled to add up to 1, and 0 if it is not one of them.
    """
    columns = [lists_of(candidates.student[name]) for name in ("logprobs", "ranks", "top_masses", "top_squares")]
    brier = [_brier(*tokens) for tokens in zip(*columns, strict=True)]
    return pl.DataFrame({"loss": -grape(candidates), "brier": pl.Series(brier, dtype=pl.Float64)}).to_struct()


def _brier(logprobs: Floats, ranks: Floats, masses: Floats, squares: Floats) -> float | None:
    if not len(ranks) or not len(masses):
        return None
    own = np.where(ranks <= TOP, np.exp(logprobs.astype(np.float64)) / masses, 0)
    return float((1 - 2 * own + squares).mean())


def lark(means: pl.DataFrame) -> pl.Series:
    """Return how much a candidate adds to the loss of its question's candidates, weighed by how it can be learned.

    With L the loss and B the Brier score of a candidate (`loss_and_brier`), rho = B / L, and sums over the candidates
    of the question that can be ranked: (L / sum L) (2 rho - sum(rho L) / sum L). Null where L is 0. Source: LARK, arXiv
    2605.30651; takes the highest. Needs the student with the 50 largest probabilities of each token.
    """
    loss, brier = pl.col("loss"), pl.col("brier")
    all_loss, all_brier = (value.sum().over("question_id") for value in (loss, brier))
    gain = loss / all_loss * (2 * brier / loss - all_brier / all_loss)
    return means.select(pl.when(loss > 0).then(gain)).to_series()


def _difference() -> pl.Expr:
    """Return p_teacher - p_student of a sentence."""
    return pl.col("p_teacher") - pl.col("p_student")


def _logprobs() -> pl.Expr:
    """Return the log-probs of a candidate's tokens, in double precision for sums."""
    return pl.col("logprobs").cast(pl.List(pl.Float64))


def _of_tokens(candidates: Candidates, value: pl.Expr) -> pl.Series:
    """Return a value of each candidate's tokens under the student; null if there are none."""
    return candidates.student.select(pl.when(pl.col("logprobs").list.len() > 0).then(value)).to_series()


_NO_REST = "no sentence has more than two tokens"


SCORES: dict[str, Score] = {
    "teacher_count": Score(teacher_count, "highest"),
    "teacher_ratio": Score(teacher_ratio, "highest"),
    "teacher_margin": Score(teacher_margin, "highest"),
    "fewest_teacher": Score(teacher_count, "lowest"),
    "random": Score(random, "highest"),
    "longest": Score(longest, "highest"),
    "shortest": Score(longest, "lowest"),
    "grape": Score(grape, "highest"),
    "perplexity": Score(perplexity, "lowest"),
    "rsr": Score(rsr, "lowest", why_null="the student's engine does not tell ranks"),
    "drop": Score(drop, "highest", why_null=_NO_REST),
    "casl": Score(head_means, "highest", why_null=f"{_NO_REST}, or too few candidates for a fit", over_pool=casl),
    "lalp_1": Score(partial(lalp, window=1), "highest", ("window-1",), "not scored in context window-1"),
    "lalp_4": Score(partial(lalp, window=4), "highest", ("window-4",), "not scored in context window-4"),
    "ifd": Score(ifd, "highest", ("alone",), "likelier alone than after its question, or not scored alone"),
    "lark": Score(
        loss_and_brier, "highest", (TOP_PROBABILITIES,), "its loss is 0, or its tokens have no ranks", over_pool=lark
    ),
}

# The scores that are columns of every ranking, since they cost no model.
ALWAYS = [name for name, score in SCORES.items() if not score.needs]
