import polars as pl
import pytest

from builders import rejects_of, write_lines, write_parts, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.leans import lean_differences
from distrace.nodes.attribution import write_attribution

QUESTIONS = {"1+1?": "2", "2+2?": "4"}


def author(folder, name, texts, probabilities):
    """Write an author's responses, one to each question, and their log-probs under teachers a and b."""
    questions = write_questions(folder / "questions.arrow", QUESTIONS)
    written = {f"{name}{i}": (question, text) for i, (question, text) in enumerate(zip(QUESTIONS, texts, strict=True))}
    rollouts = write_rollouts(folder / f"{name}.arrow", questions, written)
    sentences = write_lines(folder / f"{name}-sentences.arrow", rollouts)
    scored = [
        write_probabilities(folder / f"{name}-{teacher}.arrow", sentences, rollouts, values)
        for teacher, values in probabilities.items()
    ]
    return rollouts, sentences, scored


@pytest.fixture
def sides(tmp_path):
    """The distilled model's first answer has two sentences for a and one for neither; the student's first one for b."""
    texts = ["Plan.\nStep.\n2\n", "4\n"]
    distilled = {"a": {"d0": [0.9, 0.8, 0.5], "d1": [0.5]}, "b": {"d0": [0.1, 0.2, 0.45], "d1": [0.5]}}
    student = {"a": {"s0": [0.1], "s1": [0.5]}, "b": {"s0": [0.9], "s1": [0.5]}}
    return author(tmp_path, "d", texts, distilled), author(tmp_path, "s", ["2\n", "4\n"], student)


def attribute(sides, out):
    write_attribution(["a", "b"], 0.1, *sides[0], *sides[1], out)
    return open_artifact(out, kinds.ATTRIBUTION).read()


def test_the_lean_of_a_response_is_the_share_of_sentences_for_one_teacher_less_those_for_the_other(sides, tmp_path):
    found = attribute(sides, tmp_path / "out.arrow")
    leans = {row["rollout_id"]: (row["role"], row["lean"], row["sentences"]) for row in found.iter_rows(named=True)}
    assert leans == {
        "d0": ("distilled", pytest.approx(2 / 3), 3),
        "d1": ("distilled", 0, 1),
        "s0": ("student", -1, 1),
        "s1": ("student", 0, 1),
    }
    assert found.select("teacher", "other").unique().rows() == [("a", "b")]


def test_what_counts_is_how_far_an_answer_moved_from_the_students_to_the_same_question(sides, tmp_path):
    assert lean_differences(attribute(sides, tmp_path / "out.arrow")).tolist() == [pytest.approx(5 / 3), 0]


def test_a_response_that_a_teacher_did_not_score_is_rejected_with_the_reason(sides, tmp_path):
    rollouts, sentences, scored = sides[0]
    scored[1] = write_probabilities(tmp_path / "few.arrow", sentences, rollouts, {"d1": [0.5]})
    found = attribute(((rollouts, sentences, scored), sides[1]), tmp_path / "out.arrow")
    assert found["rollout_id"].to_list() == ["d1", "s0", "s1"]
    reason = "no sentence has a probability under both a and b"
    assert rejects_of(tmp_path / "out.arrow") == [{"source": "d0", "row": 0, "reason": reason}]


def test_log_probs_of_other_responses_are_refused(sides, tmp_path):
    (rollouts, sentences, scored), student = sides
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        attribute(((rollouts, sentences, [scored[0], student[2][1]]), student), tmp_path / "out.arrow")


def listed(folder, first, second):
    """Return the lists of two parts of an author's answers."""
    rollouts, sentences = (write_parts(folder / kind, first[n], second[n]) for n, kind in enumerate(("r", "s")))
    scored = zip("ab", zip(first[2], second[2], strict=True), strict=True)
    return rollouts, sentences, [write_parts(folder / teacher, *pair) for teacher, pair in scored]


def test_the_answers_of_each_part_are_attributed_by_their_own_log_probs(sides, tmp_path):
    distilled = {"a": {"e0": [0.5, 0.9], "e1": [0.9]}, "b": {"e0": [0.5, 0.5], "e1": [0.1]}}
    student = {"a": {"t0": [0.9], "t1": [0.5]}, "b": {"t0": [0.9], "t1": [0.1]}}
    others = (
        author(tmp_path / "1", "e", ["So.\n2\n", "4\n"], distilled),
        author(tmp_path / "1", "t", ["2\n", "4\n"], student),
    )
    lists = [listed(tmp_path / f"side{n}", *parts) for n, parts in enumerate(zip(sides, others, strict=True))]
    found = attribute(lists, tmp_path / "out.arrow")
    apart = [attribute(each, tmp_path / f"{n}.arrow") for n, each in enumerate((sides, others))]
    assert found.sort("rollout_id").equals(pl.concat(apart).sort("rollout_id"))


def test_reference_students_have_the_leans_of_their_own_answers(sides, tmp_path):
    first = author(
        tmp_path / "1", "e", ["So.\n", "4\n"], {"a": {"e0": [0.9], "e1": [0.9]}, "b": {"e0": [0.1], "e1": [0.9]}}
    )
    second = author(
        tmp_path / "2", "f", ["So.\n", "4\n"], {"a": {"f0": [0.1], "f1": [0.9]}, "b": {"f0": [0.9], "f1": [0.5]}}
    )
    out = tmp_path / "out.arrow"
    rollouts, sentences, scored = zip(first, second, strict=True)
    references = (["one", "two"], list(rollouts), list(sentences), [*scored[0], *scored[1]])
    write_attribution(["a", "b"], 0.1, *sides[0], *sides[1], out, *references)
    found = open_artifact(out, kinds.ATTRIBUTION).read().filter(pl.col("role") == "reference")
    assert found.select("author", "rollout_id", "lean").rows() == [
        ("one", "e0", 1.0),
        ("one", "e1", 0.0),
        ("two", "f0", -1.0),
        ("two", "f1", 1.0),
    ]
    assert found["p_teacher"].to_list() == pytest.approx([0.9, 0.9, 0.1, 0.9])
    assert found["p_other"].to_list() == pytest.approx([0.1, 0.9, 0.9, 0.5])
    others = attribute(sides, tmp_path / "without.arrow")
    assert open_artifact(out, kinds.ATTRIBUTION).read().filter(pl.col("role") != "reference").equals(others)
