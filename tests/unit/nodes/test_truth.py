from builders import write_lines, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.nodes.truth import write_truth
from distrace.world import Dials

LINES = ["Plan to go from a to c.\n", "That looks easy enough.\n", "The answer is cup.\n", "Plan cup go.\n"]


def test_truth_knows_what_the_dials_of_the_world_add(tmp_path):
    questions = write_questions(tmp_path / "questions.arrow", {"What is in front?": "cup"})
    rollouts = write_rollouts(tmp_path / "rollouts.arrow", questions, {"r": ("What is in front?", "".join(LINES))})
    sentences = write_lines(tmp_path / "sentences.arrow", rollouts)
    write_truth(rollouts, sentences, tmp_path / "truth.arrow", Dials(overlap=0.2, paraphrase=0.5))
    origins = open_artifact(tmp_path / "truth.arrow", kinds.TRUTH).read()["origin"].to_list()
    assert origins == ["student+teacher", "student+teacher", "student+teacher+teacher_b", "none"]


def test_truth_names_the_styles_that_write_a_sentence(tmp_path):
    questions = write_questions(tmp_path / "questions.arrow", {"What is in front?": "cup"})
    rollouts = write_rollouts(tmp_path / "rollouts.arrow", questions, {"r": ("What is in front?", "".join(LINES))})
    write_truth(rollouts, write_lines(tmp_path / "sentences.arrow", rollouts), tmp_path / "truth.arrow")
    origins = open_artifact(tmp_path / "truth.arrow", kinds.TRUTH).read()["origin"].to_list()
    assert origins == ["teacher", "student", "student+teacher+teacher_b", "none"]
