import polars as pl
import pytest

import results
from builders import write_parts, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import LABELS, Thresholds
from distrace.nodes.provenance import write_provenance
from distrace.nodes.sensitivity import write_sensitivity
from distrace.parts import open_parts
from distrace.plan import sensitivity_path


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """The plan and the trace of results in the current folder."""
    monkeypatch.chdir(tmp_path)
    plan = results.write_results()
    [trace] = plan.traces("main")
    return plan, trace


def inputs_of(plan, trace) -> list:
    scored = [plan.logprobs_parts(scorer, trace.rollouts) for scorer in plan.scorers(trace).values()]
    return [plan.rollouts_parts("rollouts", trace.rollouts), plan.trace_parts(trace), *scored]


def test_at_each_threshold_the_counts_are_the_labels_that_provenance_gives(traced, tmp_path):
    plan, trace = traced
    found = open_artifact(sensitivity_path(trace), kinds.SENSITIVITY).read().filter(splitter="lines")
    points = found.select("alpha", "beta").unique().rows()
    assert len(points) == 25
    rollouts = open_parts(plan.rollouts_parts("rollouts", trace.rollouts))
    asked = rollouts.read("rollout_id", "question_id")
    for alpha, beta in points:
        labelled = []
        for part in plan.parts["test"]:
            files = [path.replace("parts.arrow", f"{part}.arrow") for path in inputs_of(plan, trace)]
            cut = plan.sentences_parts(trace.rollouts).replace("parts.arrow", f"{part}.arrow")
            out = tmp_path / f"{part}.arrow"
            write_provenance(files[0], cut, *files[2:], Thresholds(alpha, beta), out)
            labelled.append(open_artifact(out).read("rollout_id", "label"))
        table = pl.concat(labelled).join(asked, on="rollout_id")
        counted = table.group_by("question_id", "label").len().rows()
        expected = {(question, label): number for question, label, number in counted}
        here = found.filter(alpha=alpha, beta=beta)
        counts = {(row["question_id"], label): row[label] for row in here.iter_rows(named=True) for label in LABELS}
        assert {key: number for key, number in counts.items() if number} == expected


def test_other_splitters_cut_the_same_responses_anew(traced):
    _, trace = traced
    found = open_artifact(sensitivity_path(trace), kinds.SENSITIVITY).read()
    assert found.filter(alpha=0.05, beta=0.1)["splitter"].unique().sort().to_list() == [
        "lines",
        "paragraphs",
        "sentences",
    ]
    whole = found.filter(splitter="paragraphs").sort("question_id")
    # A response without an empty line is one paragraph; its probability is the geometric mean of its lines'.
    assert whole.select(pl.sum_horizontal(*LABELS))["Teacher"].to_list() == [1] * 4
    assert whole["Teacher"].sum() == 3
    assert whole["Student"].sum() == 1


def test_sentences_without_a_probability_are_counted_as_unlabelled(tmp_path):
    questions = results.write_questions(tmp_path / "q.arrow", {"Why?": "so"})
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, {"a": ("Why?", "Yes.\n\nNo.\n"), "b": ("Why?", "So.\n")})
    cut = results.write_lines(tmp_path / "s.arrow", rollouts)
    every, one = ({"a": [0.5, 0.5], "b": [0.5]}, {"a": [0.5, 0.5]})
    scored = [
        results.write_probabilities(tmp_path / f"{n}.arrow", cut, rollouts, values)
        for n, values in enumerate((one, every, every))
    ]
    write_provenance(rollouts, cut, *scored, Thresholds(0.05, 0.1), tmp_path / "p" / "0.arrow")
    write_sensitivity(
        rollouts, write_parts(tmp_path / "p"), *scored, "lines", Thresholds(0.05, 0.1), tmp_path / "out.arrow"
    )
    found = open_artifact(tmp_path / "out.arrow").read().filter(alpha=0.05, beta=0.1)
    assert found.select("splitter", "Shared", "unlabelled").rows() == [
        ("lines", 2, 1),
        ("paragraphs", 2, 1),
        ("sentences", 2, 1),
    ]


def test_log_probs_of_other_responses_are_refused(traced, tmp_path):
    plan, trace = traced
    rollouts, labelled, teacher, student, _ = inputs_of(plan, trace)
    other = plan.logprobs_parts("teacher", plan.candidates("main", "teacher"))
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        write_sensitivity(
            *(path.replace("parts.arrow", "0.arrow") for path in (rollouts, labelled, teacher, student)),
            other.replace("parts.arrow", "0.arrow"),
            "lines",
            Thresholds(0.05, 0.1),
            tmp_path / "out.arrow",
        )
