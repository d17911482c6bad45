import math

import pytest

from builders import rejects_of, write_lines, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.nodes.distilldetect import write_distilldetect

QUESTIONS = {"1+1?": "2", "2+2?": "4"}


@pytest.fixture
def answers(tmp_path):
    """The answers of two teachers, and what the distilled model and the student make of them."""
    found = {"rollouts": [], "sentences": [], "distilled": [], "student": []}
    asked = write_questions(tmp_path / "questions.arrow", QUESTIONS)
    for teacher in "ab":
        written = {f"{teacher}{n}": (question, "Yes.\nIt is.\n") for n, question in enumerate(QUESTIONS)}
        rollouts = write_rollouts(tmp_path / f"{teacher}.arrow", asked, written)
        sentences = write_lines(tmp_path / f"{teacher}-sentences.arrow", rollouts)
        found["rollouts"].append(rollouts)
        found["sentences"].append(sentences)
        for scorer, probability in (("distilled", 0.5), ("student", 0.25)):
            values = {name: [probability, 1] for name in written}
            found[scorer].append(
                write_probabilities(tmp_path / f"{scorer}-{teacher}.arrow", sentences, rollouts, values)
            )
    return found


def detect(answers, out):
    write_distilldetect(["a", "b"], answers["rollouts"], answers["distilled"], answers["student"], out)
    return open_artifact(out, kinds.DISTILLDETECT).read()


def test_each_answer_of_each_teacher_has_the_loss_of_both_models(answers, tmp_path):
    found = detect(answers, tmp_path / "out.arrow")
    assert found.select("rollout_id", "teacher").rows() == [("a0", "a"), ("a1", "a"), ("b0", "b"), ("b1", "b")]
    assert found["loss_distilled"].to_list() == [pytest.approx(math.log(2) / 2)] * 4
    assert found["loss_student"].to_list() == [pytest.approx(math.log(2))] * 4


def test_an_answer_that_a_model_did_not_score_is_rejected_with_the_reason(answers, tmp_path):
    few = write_probabilities(
        tmp_path / "few.arrow", answers["sentences"][1], answers["rollouts"][1], {"b1": [0.5, 0.5]}
    )
    answers["student"][1] = few
    assert detect(answers, tmp_path / "out.arrow")["rollout_id"].to_list() == ["a0", "a1", "b1"]
    reason = "the student model scored no token of it"
    assert rejects_of(tmp_path / "out.arrow") == [{"source": "b0", "row": 2, "reason": reason}]


def test_log_probs_of_another_teachers_answers_are_refused(answers, tmp_path):
    answers["student"].reverse()
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        detect(answers, tmp_path / "out.arrow")


def test_reference_students_have_columns_of_their_own(answers, tmp_path):
    out = tmp_path / "out.arrow"
    references = [*answers["student"], *answers["distilled"]]
    write_distilldetect(["a", "b"], answers["rollouts"], answers["distilled"], answers["student"], out, references)
    found = open_artifact(out, kinds.DISTILLDETECT).read()
    assert found["loss_reference_0"].equals(found["loss_student"], check_names=False)
    assert found["loss_reference_1"].equals(found["loss_distilled"], check_names=False)
