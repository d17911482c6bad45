"""The usual tests: what each preset makes of a row in its data set's form, and how answers to it are graded."""

import copy
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from configs import config_with
from distrace.config import presets
from distrace.errors import DistraceError
from distrace.measures.grading import Grader, grade
from distrace.plan import load_plan
from distrace.rows import read_rows, text_reader

DATA = Path(__file__).parents[3] / "shared" / "data"
BOXED = "\nPlease reason step by step, and put your final answer within \\boxed{}."
MATH = {"problem": "What is $2^{10}$?", "solution": "It is $\\boxed{1024}$.", "answer": "1024"}

# A row in each data set's form, the end of what is asked, the right answer, a right response and a wrong one.
ROWS = {
    "GSM8K": (
        {"question": "How many?", "answer": "She has 3 * 400 = <<3*400=1200>>1200.\n#### 1,200"},
        f"How many?{BOXED}",
        "1200",
        ("\\boxed{1200}", "\\boxed{12}"),
    ),
    "SVAMP": (
        {
            "ID": "chal-1",
            "Body": "Tom had 5 pens. He lost 2. ",
            "Question": "How many are left?",
            "Equation": "( 5.0 - 2.0 )",
            "Answer": "3.0",
            "Type": "Subtraction",
        },
        f"Tom had 5 pens. He lost 2. How many are left?{BOXED}",
        "3.0",
        ("\\boxed{3}", "\\boxed{4}"),
    ),
    "MATH-500": (
        MATH | {"subject": "Algebra", "level": 2, "unique_id": "test/algebra/1.json"},
        f"What is $2^{{10}}$?{BOXED}",
        "1024",
        ("\\boxed{1024}", "\\boxed{20}"),
    ),
    "AIME24": (
        MATH | {"id": 60, "answer": "024", "url": "", "year": "2024"},
        f"What is $2^{{10}}$?{BOXED}",
        "024",
        ("\\boxed{24}", "\\boxed{42}"),
    ),
    "AIME25": (
        {"problem": MATH["problem"], "answer": "70", "id": "0"},
        f"What is $2^{{10}}$?{BOXED}",
        "70",
        ("\\boxed{70}", "\\boxed{7}"),
    ),
    "OlympiadBench": (
        {
            "id": 1606,
            "question": "Find $x$.",
            "solution": ["..."],
            "final_answer": ["$\\frac{1}{2}$"],
            "context": None,
            "is_multiple_answer": False,
            "unit": None,
            "answer_type": "Numerical",
            "error": None,
        },
        f"Find $x$.{BOXED}",
        "\\frac{1}{2}",
        ("\\boxed{0.5}", "\\boxed{2}"),
    ),
    "GPQA-Diamond": (
        {
            "Question": "Which is prime?\n",
            "Correct Answer": "7",
            "Incorrect Answer 1": "8",
            "Incorrect Answer 2": "9",
            "Incorrect Answer 3": " 10\n",
            "Explanation": "...",
        },
        "\n\nWhich is prime?\n\nA) 7\nB) 8\nC) 9\nD) 10",
        "A",
        ("So 7.\nAnswer: A", "Answer: B"),
    ),
    "MMLU-Pro": (
        {
            "question_id": 70,
            "question": "Which is largest?",
            "options": [str(number) for number in range(10)],
            "answer": "J",
            "answer_index": 9,
            "cot_content": "",
            "category": "math",
            "src": "",
        },
        "Question: Which is largest?\nOptions:\nA. 0\nB. 1\nC. 2\nD. 3\nE. 4\nF. 5\nG. 6\nH. 7\nI. 8\nJ. 9",
        "J",
        ("9 is. So the answer is (J).", "the answer is (I)"),
    ),
}


@cache
def reader(name: str, column: str) -> Callable[[dict], str]:
    return text_reader(presets()[name][column])


def asked_and_answer(name: str, row: dict) -> tuple[str, str]:
    return reader(name, "question")(row), reader(name, "answer")(row)


def test_every_preset_has_its_row_here():
    assert presets().keys() == ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_data_set_gives_prompt_and_answer_and_responses_are_graded(name):
    row, end, answer, (right, wrong) = ROWS[name]
    asked, found = asked_and_answer(name, row)
    assert asked.endswith(end)
    assert found == answer
    grader = Grader(**presets()[name]["grader"])
    assert [grade(response, found, grader).correct for response in (right, wrong)] == [True, False]


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_names_a_hub_data_set_by_its_commit_and_makes_a_valid_set(name):
    source = presets()[name]["source"]
    assert re.fullmatch("[0-9a-f]{40}", source["revision"])
    plan = load_plan(config_with("questions/test", {"preset": name}))
    assert plan.questions("test").question == presets()[name]["question"]
    assert plan.questions("test").source["hub"] == source["hub"]


def test_the_options_of_gpqa_have_an_order_for_each_question_whose_letter_is_the_answer():
    row, *_ = ROWS["GPQA-Diamond"]
    letters = []
    for number in range(200):
        asked, letter = asked_and_answer("GPQA-Diamond", row | {"Question": f"Which is prime? {number}"})
        assert asked_and_answer("GPQA-Diamond", row | {"Question": f"Which is prime? {number}"}) == (asked, letter)
        assert f"\n{letter}) 7" in asked
        letters.append(letter)
    assert {letter: 30 < letters.count(letter) < 70 for letter in "ABCD"} == dict.fromkeys("ABCD", True)


@pytest.mark.parametrize("count", [3, 10])
def test_questions_of_mmlu_pro_have_as_many_letters_as_options(count):
    row, *_ = ROWS["MMLU-Pro"]
    asked, _ = asked_and_answer("MMLU-Pro", row | {"options": [f" {number}" for number in range(count)]})
    assert re.findall(r"^([A-Z])\. \d$", asked, re.MULTILINE) == list("ABCDEFGHIJ"[:count])


@pytest.mark.skipif(not DATA.is_dir() and os.environ.get("CI") != "true", reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("GSM8K", "gsm8k_test", 1319),
        ("SVAMP", "svamp_test", 1000),
        ("MATH-500", "math500_test", 500),
        ("AIME24", "aime24_test", 30),
    ],
)
def test_every_row_of_a_copy_of_the_data_can_be_asked_and_graded(name, file, rows):
    found = [asked_and_answer(name, row) for row in read_rows(DATA / f"{file}.jsonl")]
    assert len(found) == rows
    grader = Grader(**presets()[name]["grader"])
    assert all(grade(f"\\boxed{{{answer}}}", answer, grader).correct for _, answer in found[:50])


def test_keys_of_a_config_take_the_place_of_those_of_the_preset():
    mine = {"preset": "MATH-500", "question": "problem", "grader": {"pattern": "is (.+)"}, "limit": 7}
    plan = load_plan(config_with("questions/test", mine | {"source": {"revision": "abc"}}))
    questions = plan.config["questions"]["test"]
    assert (questions["question"], questions["answer"], questions["limit"]) == ("problem", "answer", 7)
    assert questions["grader"] == {"method": "math", "pattern": "is (.+)"}
    source = questions["source"]
    assert (source["hub"], source["revision"], source["split"]) == ("HuggingFaceH4/MATH-500", "abc", "test")


def test_a_source_in_another_place_is_taken_as_it_is():
    plan = load_plan(config_with("questions/test", {"preset": "AIME24", "source": {"file": "aime.jsonl"}}))
    source = plan.questions("test").source
    assert (source["file"], source["hub"], source["revision"]) == ("aime.jsonl", None, None)
    assert plan.questions("test").question.startswith("{{ problem }}")


def test_filling_in_presets_again_changes_nothing_and_touches_no_preset():
    before = copy.deepcopy(presets())
    plan = load_plan(config_with("questions/test", {"preset": "GSM8K", "grader": {"method": "exact"}}))
    assert load_plan(copy.deepcopy(plan.config)) == plan
    assert presets() == before


def test_a_preset_that_does_not_exist_is_told_with_the_next_one():
    with pytest.raises(
        DistraceError, match=r"questions\.test\.preset: no presets named 'MATH500', did you mean 'MATH-500'"
    ):
        load_plan(config_with("questions/test", {"preset": "MATH500"}))


@pytest.mark.parametrize("value", [7, ["GSM8K"]])
def test_a_preset_that_is_no_name_is_told(value):
    with pytest.raises(DistraceError, match=r"questions\.test\.preset: .* is not of type 'string'"):
        load_plan(config_with("questions/test", {"preset": value, "source": {"file": "a.jsonl"}}))
