import polars as pl

from builders import write_lines, write_parts, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.labels import Thresholds
from distrace.measures.validation import ALPHAS, BETAS, Pair
from distrace.nodes.provenance import write_provenance
from distrace.nodes.truth import write_truth
from distrace.nodes.validation import write_validation

PAIR = Pair("teacher", "student")
OWN = Thresholds(0.03, 0.25)  # not on the grid
TEXT = "Plan to go from a to c.\nThat looks easy enough.\nThe answer is cup.\n"


def part(folder, rollout_id: str) -> tuple:
    """Write provenance and truth of a part with one response: a teacher's, a student's and a shared sentence."""
    questions = write_questions(folder / "q.arrow", {"What is in front?": "cup"})
    rollouts = write_rollouts(folder / "r.arrow", questions, {rollout_id: ("What is in front?", TEXT)})
    sentences = write_lines(folder / "s.arrow", rollouts)
    scored = [
        write_probabilities(folder / f"{name}.arrow", sentences, rollouts, {rollout_id: values})
        for name, values in (("t", [0.9, 0.1, 0.8]), ("u", [0.1, 0.9, 0.8]), ("d", [0.9, 0.9, 0.8]))
    ]
    write_provenance(rollouts, sentences, *scored, OWN, folder / "p.arrow")
    write_truth(rollouts, sentences, folder / "truth.arrow")
    return folder / "p.arrow", folder / "truth.arrow"


def test_every_sentence_of_all_parts_is_counted_at_every_point_of_the_grid_and_at_the_traces_own(tmp_path):
    provenance, truth = zip(part(tmp_path / "0", "a"), part(tmp_path / "1", "b"), strict=True)
    labelled, known = write_parts(tmp_path / "labelled", *provenance), write_parts(tmp_path / "known", *truth)
    write_validation(labelled, known, PAIR, OWN, tmp_path / "out.arrow")
    counts = open_artifact(tmp_path / "out.arrow", kinds.VALIDATION).read()
    points = counts.group_by("alpha", "beta").agg(pl.col("sentences").sum())
    assert len(points) == len(ALPHAS) * len(BETAS) + 1
    assert set(points["sentences"]) == {6}
    own = counts.filter(pl.col("alpha") == OWN.alpha, pl.col("beta") == OWN.beta)
    assert set(own.select("origin", "label", "sentences").rows()) == {
        ("teacher", "Teacher", 2),
        ("student", "Student", 2),
        ("both", "Shared", 2),
    }
