import json
import os
from functools import reduce
from pathlib import Path

import pytest

from distrace.measures.grading import Grade, grade
from distrace.settings import Grader

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests/grading"
DATA = ROOT.parent / "shared" / "data"
IN_CI = os.environ.get("CI") == "true"

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


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text("utf-8").splitlines()]


def disagreements(found: list[dict]) -> list[str]:
    """Return a line for each case of which the grader says something else than the verdict by hand."""
    lines = []
    for case in found:
        verdict = grade(case["response"], case["answer"], Grader(case["method"], case.get("pattern"))).correct
        if verdict is not case["correct"]:
            end = case["response"][-60:]
            lines.append(f"{case['answer']!r} and ...{end!r}: {verdict}, not {case['correct']} ({case['why']})")
    return lines


def test_at_least_99_percent_of_the_verdicts_are_those_by_hand():
    found = cases("answers.jsonl")
    wrong = disagreements(found)
    assert len(found) >= 400
    assert len(wrong) <= 0.01 * len(found), "\n".join(wrong)


@pytest.mark.skipif(not DATA.is_dir() and not IN_CI, reason="needs real responses in ../shared/data")
def test_all_verdicts_on_real_responses_are_those_by_hand():
    found = cases("real_answers.jsonl")
    files = {name: (DATA / name).read_text("utf-8").splitlines() for name in {case["file"] for case in found}}
    for case in found:
        row = json.loads(files[case["file"]][case["row"]])
        case["response"] = reduce(lambda value, key: value[key], case["field"], row)
    assert len(found) >= 60
    assert disagreements(found) == []


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"$\boxed{1}$ and $\boxed{2}$", "1,2"),
        (r"$\boxed{1}$. Then we add one more to the number that was found above, and get $\boxed{2}$", "2"),
        (r"$\boxed{\frac{\boxed{1}}{2}}$", "1/2"),
        ("$\\boxed{1}$\n\n" + "more $x$ words " * 1000, "1"),
        ("It is 12 of 7.\n#### 12", "12"),
    ],
)
def test_the_last_box_counts_with_those_it_is_joined_to_whatever_follows(response, answer):
    assert grade(response, answer, MATH).correct is True
    assert grade(response, "99", MATH) == Grade(grade(response, answer, MATH).extracted, False, WRONG)


def test_letters_that_differ_in_case_are_other_variables_but_not_other_names_of_one():
    assert grade(r"$\boxed{3r^2}$", "3R^2", MATH).correct is False
    assert grade(r"$\boxed{(b)}$", r"\text{(B)}", MATH).correct is True


def test_an_extracted_answer_is_short_and_can_be_written_to_a_file():
    long = grade("\ud800" + "7" * 100_000, "8", Grader("exact"))
    assert len(long.extracted) == 1000
    assert long.extracted.encode("utf-8")
