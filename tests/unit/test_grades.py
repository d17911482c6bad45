import pytest
from builders import write_questions, write_rollouts

from distrace import artifacts
from distrace.errors import DistraceError
from distrace.grades import Grade, Grader, grade, write_grades

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


def test_only_the_answer_part_of_a_response_is_graded(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {"1+1?": "2", "2+2?": "4"})
    texts = {"r0": ("2+2?", "Is it 4? So 5"), "r1": ("1+1?", "Is it 3? So 2"), "r2": ("1+1?", "Is it 2 I wonder")}
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, texts, answer_start=9)
    write_grades(rollouts, questions, MATH, tmp_path / "g.arrow")
    table = artifacts.read(tmp_path / "g.arrow", "grades")
    assert dict(table.select("rollout_id", "correct").iter_rows()) == {"r0": False, "r1": True, "r2": False}
    assert table["question_id"].to_list() == artifacts.read(rollouts, "rollouts")["question_id"].to_list()


def test_no_responses_have_no_grades(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {})
    write_grades(rollouts, questions, MATH, tmp_path / "g.arrow")
    assert artifacts.metadata(tmp_path / "g.arrow", "grades").rows == 0


def test_responses_to_other_questions_are_refused(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {"1+1?": "2"})
    others = write_questions(tmp_path / "o.arrow", {"1+1?": "3"})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {"r0": ("1+1?", "2")})
    with pytest.raises(DistraceError, match=r"r\.arrow was computed from questions"):
        write_grades(rollouts, others, MATH, tmp_path / "g.arrow")


def test_the_fingerprint_follows_the_grader(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {})
    found = set()
    for grader in (MATH, Grader("exact"), Grader("exact", "(a)")):
        write_grades(rollouts, questions, grader, tmp_path / "g.arrow")
        found.add(artifacts.metadata(tmp_path / "g.arrow").fingerprint)
    assert len(found) == 3
