import math

import polars as pl
import pytest

from builders import (
    rejects_of,
    write_lines,
    write_logprobs,
    write_probabilities,
    write_questions,
    write_rollouts,
)
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import LABELS, Thresholds
from distrace.nodes.provenance import write_provenance

# Thresholds and probabilities below are sums of powers of two, so that their differences are exact.
QUARTERS = Thresholds(alpha=0.125, beta=0.25)


class Traced:
    """The artifacts of one part: two responses of two lines and of one."""

    def __init__(self, folder):
        self.folder = folder
        self.questions = write_questions(folder / "q.arrow", {"Why?": "so"})
        texts = {"r0": ("Why?", "One.\nTwo."), "r1": ("Why?", "Three.")}
        self.rollouts = write_rollouts(folder / "r.arrow", self.questions, texts)
        self.sentences = write_lines(folder / "s.arrow", self.rollouts)
        self.teacher = self.scored("teacher", {"r0": [0.9, 0.1], "r1": [0.5]})
        self.student = self.scored("student", {"r0": [0.1, 0.9], "r1": [0.5]})
        self.distilled = self.scored("distilled", {"r0": [0.5, 0.5], "r1": [0.9]})
        self.out = folder / "p.arrow"

    def scored(self, name: str, values: dict):
        return write_probabilities(self.folder / f"{name}.arrow", self.sentences, self.rollouts, values)

    def write(self, thresholds: Thresholds = QUARTERS, **others) -> pl.DataFrame:
        inputs = {name: getattr(self, name) for name in ("rollouts", "sentences", "teacher", "student", "distilled")}
        write_provenance(**inputs | others, thresholds=thresholds, out=self.out)
        return open_artifact(self.out, kinds.PROVENANCE).read()


@pytest.fixture
def traced(tmp_path):
    return Traced(tmp_path)


def test_every_sentence_is_labelled_with_its_probabilities_and_token_counts(traced):
    table = traced.write()
    assert table.select("rollout_id", "sentence", "start", "end", "label").rows() == [
        ("r0", 0, 0, 5, "Teacher"),
        ("r0", 1, 5, 9, "Student"),
        ("r1", 0, 0, 6, "Boosted"),
    ]
    assert table["p_teacher"].to_list() == pytest.approx([0.9, 0.1, 0.5], rel=1e-6)
    assert table["p_student"].to_list() == pytest.approx([0.1, 0.9, 0.5], rel=1e-6)
    assert table["p_distilled"].to_list() == pytest.approx([0.5, 0.5, 0.9], rel=1e-6)
    assert table["tokens_distilled"].to_list() == [1, 1, 1]
    assert set(table["label"]) <= set(LABELS)
    assert rejects_of(traced.out) == []


def test_a_probability_is_the_geometric_mean_over_a_models_own_tokens(traced):
    teacher = write_logprobs(
        traced.folder / "t.arrow",
        traced.rollouts,
        {
            "r0": [(0, 5, math.log(0.5)), (5, 7, math.log(0.9)), (7, 8, math.log(0.1)), (8, 9, math.log(0.3))],
            "r1": [(0, 3, math.log(0.2)), (3, 6, math.log(0.8))],
        },
    )
    table = traced.write(teacher=teacher)
    expected = [0.5, (0.9 * 0.1 * 0.3) ** (1 / 3), (0.2 * 0.8) ** (1 / 2)]
    assert table["p_teacher"].to_list() == pytest.approx(expected, rel=1e-6)
    assert table["tokens_teacher"].to_list() == [1, 3, 2]
    assert table["tokens_student"].to_list() == [1, 1, 1]


def test_a_sentence_without_a_token_is_rejected_and_its_neighbours_kept(traced):
    student = write_logprobs(
        traced.folder / "t.arrow", traced.rollouts, {"r0": [(0, 9, math.log(0.1))], "r1": [(0, 6, math.log(0.5))]}
    )
    assert traced.write(student=student).select("rollout_id", "sentence").rows() == [("r0", 0), ("r1", 0)]
    assert rejects_of(traced.out) == [{"source": "r0", "row": 1, "reason": "no token of the student lies in it"}]


def test_a_response_that_a_model_did_not_score_is_rejected(traced):
    distilled = traced.scored("fewer", {"r1": [0.5]})
    assert len(traced.write(distilled=distilled)) == 1
    reason = "the distilled did not score the response"
    assert rejects_of(traced.out) == [{"source": "r0", "row": row, "reason": reason} for row in (0, 1)]


@pytest.mark.parametrize("name", ["sentences", "teacher", "student", "distilled"])
def test_what_was_made_from_other_rollouts_is_refused(traced, tmp_path, name):
    (tmp_path / "other").mkdir()
    other = Traced(tmp_path / "other")
    texts = {"r0": ("Why?", "1.\n2."), "r1": ("Why?", "3.")}
    other.rollouts = write_rollouts(other.folder / "r.arrow", other.questions, texts)
    other.sentences = write_lines(other.folder / "s.arrow", other.rollouts)
    stray = other.sentences if name == "sentences" else other.scored(name, {"r1": [0.5]})
    with pytest.raises(DistraceError, match=f"{stray} was computed from rollouts"):
        traced.write(**{name: stray})
    assert not traced.out.exists()


def test_no_responses_have_no_labels(tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {})
    sentences = write_lines(tmp_path / "s.arrow", rollouts)
    scored = write_logprobs(tmp_path / "l.arrow", rollouts, {})
    write_provenance(rollouts, sentences, scored, scored, scored, QUARTERS, tmp_path / "p.arrow")
    assert open_artifact(tmp_path / "p.arrow", kinds.PROVENANCE).rows == 0


def test_the_fingerprint_follows_thresholds_and_every_input(traced):
    found = {open_artifact(traced.out).fingerprint for _ in [traced.write()]}
    for change in (
        {"thresholds": Thresholds(0.125, 0.5)},
        {"thresholds": Thresholds(0.25, 0.25)},
        {"teacher": traced.student, "student": traced.teacher},
        {"distilled": traced.teacher},
    ):
        traced.write(**change)
        found.add(open_artifact(traced.out).fingerprint)
    assert len(found) == 5


def test_the_same_inputs_give_the_same_bytes(traced):
    traced.write()
    first = traced.out.read_bytes()
    traced.write()
    assert traced.out.read_bytes() == first
