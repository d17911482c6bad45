from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.answers import answers_by_question, majority_votes, normal_form, numbers_of_samples, pass_at

# Of an answer to "2 + 2": what was extracted, and whether it is right; the right ones are written in two ways.
ANSWERS = {"4": True, "four": True, "5": False, "6": False, None: False, "?": None}
SAMPLES = st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=6)


def table(**samples: list[str | None]) -> pl.DataFrame:
    """Return the graded answers of each question."""
    rows = [
        {"question_id": question, "extracted": written, "correct": ANSWERS[written]}
        for question, answers in samples.items()
        for written in answers
    ]
    return pl.DataFrame(rows, schema={"question_id": pl.String, "extracted": pl.String, "correct": pl.Boolean})


def judged(written: list[str | None]) -> list[str | None]:
    return [answer for answer in written if ANSWERS[answer] is not None]


@settings(deadline=None)
@given(SAMPLES)
def test_the_counts_of_a_question_are_those_of_its_judged_answers(written):
    found = answers_by_question(table(q=written))
    right = [ANSWERS[answer] for answer in judged(written)]
    if not right:
        assert found.is_empty()
        return
    [row] = found.iter_rows(named=True)
    assert (row["judged"], row["right"], row["accuracy"]) == (len(right), sum(right), sum(right) / len(right))


def vote(written: list[str | None]) -> float:
    """Return the chance that the most frequent answer is right: each of those tied is taken once."""
    votes = Counter("right" if ANSWERS[answer] else answer for answer in judged(written) if answer is not None)
    tied = [answer for answer, count in votes.items() if count == max(votes.values())]
    return sum(answer == "right" for answer in tied) / len(tied) if tied else 0.0


@settings(deadline=None)
@given(SAMPLES)
def test_the_majority_is_the_most_frequent_answer_and_a_tie_is_shared(written):
    found = answers_by_question(table(q=written))
    if judged(written):
        assert found["majority"].to_list() == [vote(written)]


def test_right_answers_are_one_answer_however_they_are_written_and_wrong_ones_by_text():
    voted = majority_votes(table(q=["4", "four", "5"]))
    assert voted["majority"].to_list() == [1.0]
    spaced = pl.DataFrame(
        {
            "question_id": ["q"] * 5,
            "extracted": ["A  b", "a b ", "x", "x", "y"],
            "correct": [False, False, True, True, True],
        }
    )
    assert majority_votes(spaced)["majority"].to_list() == [1.0]
    assert majority_votes(spaced.head(4))["majority"].to_list() == [0.5]


def test_wrong_numbers_in_several_writings_are_one_answer():
    answers = pl.DataFrame(
        {
            "question_id": ["q"] * 5,
            "extracted": ["1,000", "1000", "1000.0", "7", "7"],
            "correct": [False, False, False, True, True],
        }
    )
    assert majority_votes(answers)["majority"].to_list() == [0.0]
    assert majority_votes(answers.tail(4))["majority"].to_list() == [0.5]


NUMBERS = st.fractions(min_value=-(10**7), max_value=10**7, max_denominator=1000)


@settings(deadline=None)
@given(NUMBERS, st.integers(1, 9), st.booleans())
def test_a_number_has_one_normal_form_however_it_is_written(number, factor, dollar):
    above, below = number.numerator * factor, number.denominator * factor
    sign = "-" if above < 0 else ""
    written = [
        f"{above}/{below}",
        rf"{sign}\frac{{{abs(above)}}}{{{below}}}",
        rf"{sign}\dfrac{{{abs(above)}}}{{{below}}}",
    ]
    if below == factor:
        whole = above // factor
        written += [str(whole), f"{whole:,}", f"{whole}.00", f"{whole:,}.0", f" {whole}. "]
    else:
        number = Fraction(round(number * 100), 100)
        written = [f"{float(number):.2f}", f"{float(number):,.2f}", f"{float(number):.4f}"]
    if dollar:
        written += [f"${text.strip()}" for text in written] + [rf"\${text.strip()}" for text in written]
    assert {normal_form(text) for text in written} == {str(number)}


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[-+$\\0-9.,/ ]*", fullmatch=True)))
def test_a_normal_form_is_its_own_and_no_text_breaks_it(text):
    assert normal_form(normal_form(text)) == normal_form(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("3 1/2", "31/2"), ("1,00", "100"), ("1, 200", "1200"), ("50%", "50"), ("1/0", "0"), ("x/2", "x"), ("1e3", "13")],
)
def test_answers_that_are_not_the_same_number_stay_apart(one, other):
    assert normal_form(one) != normal_form(other)


def test_a_question_on_which_no_answer_is_given_has_no_right_majority():
    found = answers_by_question(table(silent=[None, None], asked=["4", None]))
    assert found["majority"].to_list() == [0.0, 1.0]


def test_no_judged_answers_give_no_rows():
    assert answers_by_question(table(q=["?", "?"])).is_empty()
    assert answers_by_question(table()).is_empty()


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=7), min_size=1, max_size=4), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_the_draws_of_k_answers_that_hold_a_right_one(samples, k):
    expected = [np.mean([any(draw) for draw in combinations(found, k)]) for found in samples if len(found) >= k]
    right, drawn = ([f(found) for found in samples] for f in (sum, len))
    assert pass_at(k, np.array(right), np.array(drawn)) == pytest.approx(expected)


def test_pass_at_k_is_unbiased():
    # Samples that are right with chance 0.2: four of them contain a right one with chance 1 - 0.8^4.
    right = np.random.default_rng(0).binomial(8, 0.2, 20_000)
    assert pass_at(4, right, np.full(20_000, 8)).mean() == pytest.approx(1 - 0.8**4, abs=0.01)


def test_large_numbers_of_samples_are_exact():
    assert pass_at(1000, np.array([0, 1, 2000]), np.array([2000] * 3)).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("most", "found"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10])]
)
def test_k_doubles_up_to_the_number_of_samples(most, found):
    assert numbers_of_samples(most) == found
