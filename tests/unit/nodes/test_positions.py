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
from distrace.identity import short_id
from distrace.measures.labels import Thresholds
from distrace.nodes.positions import write_positions
from distrace.nodes.provenance import write_provenance


@pytest.fixture
def part(tmp_path):
    """Return a function that writes rollouts, sentences, provenance and grades of a part.

    `text` is the response of each rollout.
    """

    def write(name: str, text: str, rollout_ids: str, answer_start: int = 0) -> tuple:
        folder = tmp_path / name
        questions = write_questions(folder / "q.arrow", {f"Why {name}?": "so"})
        texts = dict.fromkeys(rollout_ids, (f"Why {name}?", text))
        rollouts = write_rollouts(folder / "r.arrow", questions, texts, answer_start=answer_start)
        sentences = write_lines(folder / "s.arrow", rollouts)
        lines = [0.5] * len(text.splitlines())
        scored = write_probabilities(folder / "l.arrow", sentences, rollouts, dict.fromkeys(rollout_ids, lines))
        out = folder / "p.arrow"
        write_provenance(rollouts, sentences, scored, scored, scored, Thresholds(0.05, 0.1), out)
        return rollouts, sentences, out, write_grades(folder / "g.arrow", rollouts, dict.fromkeys(rollout_ids, True))

    return write


def positions_of(folder, *parts) -> tuple:
    """Return both artifacts of the node, as frames, from its inputs by part."""
    lists = [write_parts(folder / str(n), *artifacts) for n, artifacts in enumerate(zip(*parts, strict=True))]
    write_positions(*lists, folder / "by.arrow", folder / "out.arrow")
    by_question = open_artifact(folder / "by.arrow", kinds.POSITIONS_BY_QUESTION).read()
    return open_artifact(folder / "out.arrow", kinds.POSITIONS).read(), by_question


def test_positions_run_over_all_parts(part, tmp_path):
    sums, by_question = positions_of(
        tmp_path / "all", part("0", "Yes.", "ab"), part("1", "No.", "c"), part("2", "No.", "")
    )
    assert position_counts(sums) == {(0, True): {"Shared": (3, 3)}}
    assert sorted(by_question.select("question_id", "scale", "Shared").rows()) == sorted(
        (short_id(f"Why {question}?"), scale, counts)
        for question, number in (("0", 2), ("1", 1))
        for scale, counts in (("sentence", [number]), ("tenth", [0] * 5 + [number]))
    )


def test_where_some_response_has_reasoning_it_is_counted_apart_from_the_answer(part, tmp_path):
    _, by_question = positions_of(
        tmp_path / "all", part("0", "Hm.\nSo.\n12\n", "a", answer_start=8), part("1", "13\n", "b")
    )
    found = by_question.filter(scale="sentence").sort("section", "question_id")
    counts = {
        (section, question): row for section, question, row in found.select("section", "question_id", "Shared").rows()
    }
    zero, one = (short_id(f"Why {name}?") for name in "01")
    assert counts == {
        ("all", zero): [1, 1, 1],
        ("reasoning", zero): [1, 1],
        ("answer", zero): [1],
        ("all", one): [1],
        ("answer", one): [1],
    }


def test_grades_of_other_responses_are_refused(part, tmp_path):
    *mine, _ = part("0", "Yes.", "a")
    *_, grades = part("1", "No.", "a")
    with pytest.raises(DistraceError, match=r"p\.arrow was computed from rollouts .*, .*g\.arrow from"):
        write_positions(*mine, grades, tmp_path / "by.arrow", tmp_path / "out.arrow")
