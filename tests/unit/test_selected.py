"""Which responses are read for a selection, and in which order."""

from pathlib import Path

import pytest

from builders import SUMS, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import Artifact, open_artifact, write
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.parts import open_parts
from distrace.selected import selected_responses


def question_of(name: str) -> str:
    return SUMS[ord(name.lower()) - ord("a")][0]


class Selection:
    """Responses `x x` of a teacher for the letters of each part, and those that are chosen, in order."""

    def __init__(self, folder: Path, chosen: str, *teachers: list[str], passed_over: str = "", asked: str = "abcd"):
        self.questions = write_questions(folder / "q.arrow", {question_of(name): "0" for name in asked})
        self.rollouts = []
        for teacher, parts in enumerate(teachers):
            written = folder / f"t{teacher}"
            for number, names in enumerate(parts):
                texts = {name: (question_of(name), f"{name} {name}") for name in names}
                write_rollouts(written / f"{number}.arrow", self.questions, texts)
            self.rollouts.append(write_parts(written))
        rows = [
            {"rollout_id": name, "question_id": short_id(question_of(name)), "rank": rank, "reason": ""}
            for names, rank in ((passed_over, None), (chosen, 1))
            for name in names
        ]
        self.selection = folder / "s.arrow"
        write(self.selection, kinds.SELECTION, rows, {"chosen": chosen})

    def read(self) -> list[tuple]:
        rollouts = [open_parts(path, kinds.ROLLOUTS) for path in self.rollouts]
        frames = selected_responses(open_parts(self.questions), rollouts, open_artifact(self.selection))
        columns = ("source", "question", "text", "answer_start", "rollouts_fingerprint")
        return [row for frame in frames for row in frame.select(columns).iter_rows()]


def test_chosen_responses_come_in_the_order_of_the_selection_with_the_fingerprint_of_their_part(tmp_path):
    selection = Selection(tmp_path, "dab", ["ab", "", "cd"], passed_over="c")
    found = selection.read()
    parts = [open_artifact(tmp_path / f"t0/{part}.arrow").fingerprint for part in (2, 0, 0)]
    wanted = [(name, question_of(name), f"{name} {name}", 0) for name in "dab"]
    assert found == [(*row, part) for row, part in zip(wanted, parts, strict=True)]


def test_responses_of_several_teachers_are_mixed_as_the_selection_has_them(tmp_path):
    selection = Selection(tmp_path, "BaCd", ["ab", "cd"], ["AB", "CD"])
    assert [row[0] for row in selection.read()] == list("BaCd")


def test_the_texts_of_a_part_are_read_once(tmp_path, monkeypatch):
    selection, read = Selection(tmp_path, "abd", ["ab", "", "cd"]), []
    whole = Artifact.read
    monkeypatch.setattr(Artifact, "read", lambda *asked: read.append((asked[0].path.stem, *asked[1:])) or whole(*asked))
    selection.read()
    assert [part for part, *columns in read if "text" in columns] == ["0", "2"]


def test_a_chosen_response_that_no_part_holds_is_refused(tmp_path):
    with pytest.raises(DistraceError, match="chose 2 responses; the rollouts hold only 1 of them"):
        Selection(tmp_path, "ce", ["ab", "c"]).read()


def test_a_chosen_response_to_a_question_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DistraceError, match=rf"question {short_id(question_of('b'))} is not in .*q\.arrow"):
        Selection(tmp_path, "ab", ["ab"], asked="a").read()
