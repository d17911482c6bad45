import pytest

from builders import write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.nodes.grades import write_grades
from distrace.settings import Grader

MATH = Grader("math")


def test_only_the_answer_part_of_a_response_is_graded(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {"1+1?": "2", "2+2?": "4"})
    texts = {"r0": ("2+2?", "Is it 4? So 5"), "r1": ("1+1?", "Is it 3? So 2"), "r2": ("1+1?", "Is it 2 I wonder")}
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, texts, answer_start=9)
    write_grades(rollouts, questions, MATH, tmp_path / "g.arrow")
    table = open_artifact(tmp_path / "g.arrow", kinds.GRADES).read()
    assert dict(table.select("rollout_id", "correct").iter_rows()) == {"r0": False, "r1": True, "r2": False}
    assert table["question_id"].to_list() == open_artifact(rollouts, kinds.ROLLOUTS).read()["question_id"].to_list()


def test_no_responses_have_no_grades(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {})
    write_grades(rollouts, questions, MATH, tmp_path / "g.arrow")
    assert open_artifact(tmp_path / "g.arrow", kinds.GRADES).rows == 0


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
        found.add(open_artifact(tmp_path / "g.arrow").fingerprint)
    assert len(found) == 3
