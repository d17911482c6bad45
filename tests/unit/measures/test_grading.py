import pytest

from distrace.measures.grading import Grade, grade
from distrace.settings import Grader

MATH = Grader("math")
WRONG = "another answer"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("#### 72", "72"),
        ("so it is 0.5.", "1/2"),
        (r"thus $\boxed{\frac{1}{2}}$", "0.5"),
        ("The answer is $1,200$.", "1200"),
        ("first 3, then 18 apples", "18"),
        ("72", "$72$"),
        (r"$\boxed{2x + 1}$", "1 + 2x"),
    ],
)
def test_mathematics_is_compared_by_value(response, answer):
    found = grade(response, answer, MATH)
    assert found.correct is True
    assert found.extracted
    assert found.reason is None


def test_a_wrong_number_is_wrong():
    assert grade("The answer is 7.", "8", MATH) == Grade("7", False, WRONG)


@pytest.mark.parametrize("response", ["", "I do not know"])
def test_a_response_without_an_answer_is_wrong(response):
    assert grade(response, "8", MATH) == Grade(None, False, "no answer found")


@pytest.mark.parametrize("answer", ["", "?", r"\frac"])
def test_where_the_right_answer_is_no_mathematics_nothing_is_judged(answer):
    found = grade("8", answer, MATH)
    assert found == Grade(None, None, f"the right answer {answer!r} is not mathematics")


def test_exact_answers_are_compared_without_spaces_and_case():
    assert grade(" Red\n  cup. ", "red cup", Grader("exact")) == Grade("red cup", True, None)
    assert grade("blue cup", "red cup", Grader("exact")) == Grade("blue cup", False, WRONG)


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (b).", "B"),
        ("ANSWER: **C**", "C"),
        ("Answer D", "D"),
        (r"Hence $\boxed{C}$.", "C"),
        ("The answer is A. No, wait: the answer is B, as C fails", "B"),
        ("The answer is a bird, so C", "C"),
        ("It is a dog. So B", "B"),
        ("Between A and D, take (D)", "D"),
    ],
)
def test_the_last_named_letter_is_the_choice(response, letter):
    assert grade(response, f"({letter.lower()})", Grader("choice")) == Grade(letter, True, None)
    assert grade(response, "E", Grader("choice")) == Grade(letter, False, WRONG)


@pytest.mark.parametrize("response", ["", "I'm lost", "a dog", "ABC"])
def test_a_response_without_a_letter_is_wrong(response):
    assert grade(response, "A", Grader("choice")) == Grade(None, False, "no letter found")


def test_a_pattern_takes_the_first_group_of_its_last_match():
    grader = Grader("exact", r"answer is (\w+)|^=(\w+)")
    assert grade("answer is hat\nanswer is cup\n=bag", "cup", grader).correct is True
    assert grade("nothing", "cup", grader) == Grade(None, False, "the pattern matches nothing in the response")
