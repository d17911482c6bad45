import pytest

from builders import (
    position_counts,
    write_grades,
    write_lines,
    write_parts,
    write_probabilities,
    write_questions,
    write_rollouts,
)
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import Thresholds
from distrace.nodes.positions import write_positions
from distrace.nodes.provenance import write_provenance


@pytest.fixture
def part(tmp_path):
    """Return a function that writes provenance and grades of a part; `text` is the response of each rollout."""

    def write(name: str, text: str, rollout_ids: str) -> tuple:
        folder = tmp_path / name
        questions = write_questions(folder / "q.arrow", {"Why?": "so"})
        rollouts = write_rollouts(folder / "r.arrow", questions, dict.fromkeys(rollout_ids, ("Why?", text)))
        sentences = write_lines(folder / "s.arrow", rollouts)
        scored = write_probabilities(folder / "l.arrow", sentences, rollouts, {r: [0.5] for r in rollout_ids})
        out = folder / "p.arrow"
        write_provenance(rollouts, sentences, scored, scored, scored, Thresholds(0.05, 0.1), out)
        return out, write_grades(folder / "g.arrow", rollouts, dict.fromkeys(rollout_ids, True))

    return write


def test_positions_run_over_all_parts(part, tmp_path):
    provenance, grades = zip(part("0", "Yes.", "ab"), part("1", "No.", "c"), part("2", "No.", ""), strict=True)
    labelled, graded = write_parts(tmp_path / "labelled", *provenance), write_parts(tmp_path / "graded", *grades)
    write_positions(labelled, graded, tmp_path / "out.arrow")
    assert position_counts(open_artifact(tmp_path / "out.arrow", kinds.POSITIONS).read()) == {
        (0, True): {"Shared": (3, 3)}
    }


def test_grades_of_other_responses_are_refused(part, tmp_path):
    (provenance, _), (_, grades) = part("0", "Yes.", "a"), part("1", "No.", "a")
    with pytest.raises(DistraceError, match=r"p\.arrow was computed from rollouts .*, .*g\.arrow from"):
        write_positions(provenance, grades, tmp_path / "out.arrow")
