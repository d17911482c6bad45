"""What the graded answers of a model to a set of questions say, question by question: accuracy, pass@k, majority vote.

An answer is judged where `correct` is not null; only judged answers count. Each number is one value per question, whose
mean and interval `measures/statistics.py` gives; `docs/evaluation.md` has the formulas and their sources.
"""

import math
import re
from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def answers_by_question(answers: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each question with a judged answer, in the order of the answers.

    Columns: `judged` and `right` (answers), `accuracy` (their ratio) and `majority` (`majority_votes`). The answers
    have `question_id`, `correct` and `extracted`.
    """
    judged = answers.filter(pl.col("correct").is_not_null())
    counts = judged.group_by("question_id", maintain_order=True).agg(
        pl.len().alias("judged"),
        pl.col("correct").sum().alias("right"),
        pl.col("correct").mean().alias("accuracy"),
    )
    votes = counts.join(majority_votes(judged), on="question_id", how="left", maintain_order="left")
    return votes.with_columns(pl.col("majority").fill_null(0.0))


def majority_votes(judged: pl.DataFrame) -> pl.DataFrame:
    """Return for each question, as `majority`, the chance that its most frequent answer is right (arXiv 2203.11171).

    If several answers are the most frequent, each is as likely to be taken: one right of three tied ones gives 1/3. All
    answers judged right are one answer, however they are written; wrong ones are the same if their `normal_form` is. A
    response without an answer has no vote; a question on which none votes is left out.
    """
    written = judged["extracted"].drop_nulls().unique()
    forms = dict(zip(written, map(normal_form, written), strict=True))
    form = pl.col("extracted").replace_strict(forms, default=None, return_dtype=pl.String)
    votes = (
        judged.filter(pl.col("correct") | pl.col("extracted").is_not_null())
        .with_columns(pl.when(~pl.col("correct")).then(form).alias("answer"))
        .group_by("question_id", "correct", "answer", maintain_order=True)
        .agg(pl.len().alias("votes"))
    )
    tied = votes.filter(pl.col("votes") == pl.col("votes").max().over("question_id"))
    return tied.group_by("question_id", maintain_order=True).agg(pl.col("correct").mean().alias("majority"))


_DOLLARS = re.compile(r"^\\?\$|\\?\$$")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_THOUSANDS = re.compile(r"([-+]?\d{1,3})((?:,\d{3})+)(\.\d*)?")
_NUMBER = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+))(?:/(\d+))?")
_LONGEST = 1000  # characters of a number; Python reads no more than 4300 digits


def normal_form(answer: str) -> str:
    r"""Return an answer in one writing: a number as a fraction in lowest terms, other text without case and wide space.

    A number may be a fraction or have a dollar sign, commas between thousands and zeros at its end.

    >>> [normal_form(answer) for answer in ("1,000", "1000.0", "$1000", "0.5", r"\frac{2}{4}", "Blue  Car")]
    ['1000', '1000', '1000', '1/2', '1/2', 'blue car']
    """
    plain = " ".join(answer.casefold().split())
    number = _FRACTION.sub(r"\1\2/\3", _DOLLARS.sub("", plain))
    if _THOUSANDS.fullmatch(number):
        number = number.replace(",", "")
    found = _NUMBER.fullmatch(number) if len(number) <= _LONGEST else None
    if found is None or (found[2] and not int(found[2])):
        return plain
    return str(Fraction(found[1]) / int(found[2] or 1))


def pass_at(k: int, right: NDArray[np.int64], judged: NDArray[np.int64]) -> Numbers:
    """Return 1 - C(judged - right, k) / C(judged, k) for each question with at least `k` judged answers [questions].

    The chance that of `k` answers, drawn without replacement from those judged, one is right: the unbiased estimate of
    pass@k of Chen et al. (2021, arXiv 2107.03374, section 2.1).
    """
    pairs = [(int(n), int(c)) for n, c in zip(judged, right, strict=True) if n >= k]
    return np.array([1 - math.comb(n - c, k) / math.comb(n, k) for n, c in pairs])


def numbers_of_samples(most: int) -> list[int]:
    """Return the k for which pass@k is reported: 1, 2, 4, ... below `most`, and `most` itself; none if that is 0."""
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most] if most else []
