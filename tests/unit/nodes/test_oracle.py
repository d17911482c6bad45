import math

import pytest

from builders import write_lines, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import Thresholds
from distrace.measures.validation import Pair
from distrace.nodes.oracle import write_oracle
from distrace.nodes.provenance import write_provenance
from distrace.world import NO_DIALS, Dials

QUESTION = "A row holds hat pin key cup bag. Swap a pin hat. What is in front?"
LINES = [
    "Plan to go from a to a.\n",
    "At first the row is hat pin key cup bag.\n",
    "Swap a pin hat gives bag bag bag bag bag.\n",  # a wrong row
    "Hocus pocus.\n",
    "The answer is pin.\n",
]
PAIR, THRESHOLDS = Pair("teacher", "student"), Thresholds(0.05, 0.1)


def inputs(folder, name: str = "r") -> list:
    """Write questions, rollouts, sentences and provenance of one response; its models find all its sentences likely."""
    questions = write_questions(folder / f"{name}q.arrow", {QUESTION: "pin"})
    rollouts = write_rollouts(folder / f"{name}r.arrow", questions, {name: (QUESTION, "".join(LINES))})
    sentences = write_lines(folder / f"{name}s.arrow", rollouts)
    scored = [
        write_probabilities(folder / f"{name}{model}.arrow", sentences, rollouts, {name: [0.97] * len(LINES)})
        for model in "tud"
    ]
    write_provenance(rollouts, sentences, *scored, THRESHOLDS, folder / f"{name}p.arrow")
    return [questions, rollouts, sentences, folder / f"{name}p.arrow"]


def test_the_oracle_labels_by_exact_probabilities_and_the_tokens_of_each_author(tmp_path):
    write_oracle(*inputs(tmp_path), PAIR, NO_DIALS, THRESHOLDS, tmp_path / "oracle.arrow")
    table = open_artifact(tmp_path / "oracle.arrow", kinds.ORACLE).read()
    tokens = open_artifact(tmp_path / "rp.arrow", kinds.PROVENANCE).read()
    assert table["form"].to_list() == ["plan", "row", "step", None, "answer"]
    assert table["origin"].to_list() == ["teacher", "both", "teacher", "none", "both"]
    assert table["follows"].to_list() == [True, True, False, False, False]
    # Of ten answers to one swap, six make it, two forget it and two do not begin.
    assert table["exact_teacher"].to_list() == pytest.approx([0.8, 1, 0.75, 0, 1])
    assert table["exact_student"].to_list() == [0, 1, 0, 0, 1]
    assert table["p_teacher"][0] == pytest.approx(math.pow(0.8, 1 / tokens["tokens_teacher"][0]))
    assert table["label"].to_list() == ["Teacher", "Shared", "Teacher", "Boosted", "Shared"]


def test_with_overlap_the_oracle_knows_that_the_student_writes_the_teachers_forms(tmp_path):
    write_oracle(*inputs(tmp_path), PAIR, Dials(overlap=1.0), THRESHOLDS, tmp_path / "oracle.arrow")
    table = open_artifact(tmp_path / "oracle.arrow", kinds.ORACLE).read()
    assert table["origin"].to_list() == ["both", "both", "both", "none", "both"]
    assert table["p_teacher"].to_list() == table["p_student"].to_list()


def test_labels_of_other_responses_are_refused(tmp_path):
    questions, rollouts, sentences, _ = inputs(tmp_path)
    *_, provenance = inputs(tmp_path, "other")
    with pytest.raises(DistraceError, match="otherp"):
        write_oracle(questions, rollouts, sentences, provenance, PAIR, NO_DIALS, THRESHOLDS, tmp_path / "o.arrow")
