"""The evidence of traced sentences: planted ones are found in what was learned, and in nothing else."""

from pathlib import Path

import polars as pl
import pytest

from builders import write_lines, write_parts, write_questions, write_rollouts
from distrace import command, kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.nodes import evidence
from distrace.nodes.evidence import write_evidence
from distrace.parts import open_parts

PLANTED = "First, we count all of the apples twice.\n"
OWN = "I think that the answer is surely seven here.\n"


class Learned:
    """A model that learned some responses of two teachers, and answers in two parts; its student answers as well."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.questions = write_questions(folder / "q.arrow", {"Why?": "so", "How?": "thus"})
        self.candidates = [
            self.written("one", {"c0": ("Why?", "No.\nNone.\n"), "c1": ("How?", f"Well.\n{PLANTED}")}, {}),
            self.written("two", {"d0": ("Why?", f"{PLANTED}{OWN}"), "d1": ("How?", "Ten.\n")}),
        ]
        self.control = self.written("control", {"s0": ("Why?", OWN)}, {"s1": ("How?", "Ten.\n")})
        traced = {"r0": ("Why?", f"{OWN}{PLANTED}"), "r1": ("Why?", "")}
        self.traced = self.written("traced", traced, {"r2": ("How?", "Well, ten.\nNone.\n")})
        self.selections = [self.selection("chosen", "c1", "d1")]
        self.out = folder / "out/parts.arrow"

    def written(self, name: str, *parts: dict) -> tuple[Path, Path]:
        for number, texts in enumerate(parts):
            write_rollouts(self.folder / name / f"{number}.arrow", self.questions, texts)
            write_lines(self.folder / f"{name}-lines/{number}.arrow", self.folder / name / f"{number}.arrow")
        return write_parts(self.folder / name), write_parts(self.folder / f"{name}-lines")

    def selection(self, name: str, *chosen: str) -> Path:
        rows = [
            {"rollout_id": rollout_id, "question_id": "", "rank": 1 if rollout_id in chosen else None, "reason": ""}
            for rollout_id in ("c0", "c1", "d0", "d1", *chosen)
        ]
        write(self.folder / f"{name}.arrow", kinds.SELECTION, rows, {"chosen": chosen})
        return self.folder / f"{name}.arrow"

    def write(self) -> pl.DataFrame:
        rollouts, sentences = self.traced
        candidates, lines = (list(paths) for paths in zip(*self.candidates, strict=True))
        inputs = {"rollouts": rollouts, "sentences": sentences, "training": candidates, "training_sentences": lines}
        control, control_lines = self.control
        options = inputs | {"selections": self.selections, "control": [control], "control_sentences": [control_lines]}
        command._each_part(write_evidence, 1, self.out, options)
        return open_parts(self.out, kinds.EVIDENCE).read()


@pytest.fixture
def learned(tmp_path):
    return Learned(tmp_path)


def test_every_sentence_has_a_row_in_order_and_planted_ones_their_place_in_what_was_learned(learned):
    table = learned.write()
    sentences = open_parts(learned.traced[1], kinds.SENTENCES).read()
    assert table.select("rollout_id", "sentence", "start", "end").equals(sentences)
    place = ("verbatim", "responses", "source_rollout_id", "source_sentence", "source_start", "source_end")
    own, planted, ten, _ = table.select(place).rows()
    assert planted == (True, 1, "c1", 1, 6, 6 + len(PLANTED) - 1)
    assert not own[0]
    assert not ten[0]
    assert table["source_question_id"][1] == short_id("How?")
    assert table.select("stretch_start", "stretch_end").row(1) == (len(OWN), len(OWN + PLANTED) - 1)
    assert table["similar_text"].to_list()[1:3] == [None, "Well.\n"]


def test_the_control_is_what_the_student_answered_itself(learned):
    table = learned.write()
    place = ("control_verbatim", "control_source_rollout_id", "control_source_start", "control_similar_text")
    own, planted, ten, _ = table.select(place).rows()
    assert own == (True, "s0", 0, None)
    assert planted[0] is False
    assert ten[3] == "Ten.\n"
    assert table["control_searched_responses"].unique().to_list() == [2]
    assert table["searched_responses"].unique().to_list() == [2]
    assert table["searched_words"].unique().to_list() == [14]


def test_what_a_model_learned_before_it_is_searched_too_and_a_response_chosen_twice_is_one(learned):
    learned.selections.append(learned.selection("before", "c1", "d0"))
    table = learned.write()
    assert table.select("verbatim", "responses", "source_rollout_id").rows()[:2] == [(True, 1, "d0"), (True, 2, "c1")]


def test_a_chosen_response_that_no_teacher_wrote_is_an_error(learned):
    learned.selections = [learned.selection("strange", "c1", "x9")]
    with pytest.raises(DistraceError, match=r"strange\.arrow.* chose 2 responses; the rollouts hold only 1"):
        learned.write()


def test_a_part_that_is_there_is_left_alone_and_nothing_is_searched_for_it(learned, monkeypatch):
    learned.write()
    monkeypatch.setattr(evidence, "build_index", None)
    learned.write()


def test_what_is_searched_is_made_ready_once_for_all_parts(learned, monkeypatch):
    made = []
    monkeypatch.setattr(
        evidence, "build_index", lambda *given, _build=evidence.build_index, **o: made.append(1) or _build(*given, **o)
    )
    learned.write()
    assert len(made) == 2
    assert open_artifact(learned.out.with_name("1.arrow"), kinds.EVIDENCE).rows == 2
