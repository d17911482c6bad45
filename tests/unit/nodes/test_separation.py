from pathlib import Path

import pytest

from builders import write_lines, write_logprobs, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.validation import Pair
from distrace.nodes.separation import write_separation
from distrace.nodes.truth import write_truth

PAIR = Pair("teacher", "student")


LINES = ["Plan to go from a to c.\n", "That looks easy enough.\n", "The answer is cup.\n", "Plan cup go.\n"]


ORIGINS = ["teacher", "student", "both", "none"]


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """One response that holds a sentence of each origin, scored by two models with one token a sentence."""
    questions = write_questions(tmp_path / "questions.arrow", {"What is in front?": "cup"})
    text = "".join(LINES)
    rollouts = write_rollouts(tmp_path / "rollouts.arrow", questions, {"r": ("What is in front?", text)})
    sentences = write_lines(tmp_path / "sentences.arrow", rollouts)
    write_truth(rollouts, sentences, tmp_path / "truth.arrow")
    for name, values in (("teacher", [0.9, 0.1, 0.8, 0.2]), ("student", [0.1, 0.9, 0.8, 0.2])):
        write_probabilities(tmp_path / f"{name}.arrow", sentences, rollouts, {"r": values})
    return {path.stem: path for path in tmp_path.glob("*.arrow")}


def test_separation_holds_both_probabilities_of_every_sentence(files, tmp_path):
    out = tmp_path / "separation.arrow"
    write_separation(files["sentences"], files["truth"], files["teacher"], files["student"], PAIR, out)
    table = open_artifact(out, kinds.SEPARATION).read()
    assert table["origin"].to_list() == ORIGINS
    assert table["p_teacher"].to_list() == pytest.approx([0.9, 0.1, 0.8, 0.2])
    assert table["p_student"].to_list() == pytest.approx([0.1, 0.9, 0.8, 0.2])


def test_separation_refuses_log_probs_of_other_rollouts(files, tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {"Else?": "1"})
    others = write_rollouts(tmp_path / "r.arrow", questions, {"r": ("Else?", "One.")})
    strange = write_logprobs(tmp_path / "l.arrow", others, {"r": [(0, 4, -1.0)]})
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        write_separation(files["sentences"], files["truth"], strange, files["student"], PAIR, tmp_path / "x.arrow")
