import copy
import math
from pathlib import Path

import pytest

import results
from builders import write_grades, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, rejects_path, write_with_rejects
from distrace.nodes.report import write_report
from distrace.pages.numbers import (
    accounting,
    accuracy,
    numbers_of,
)
from distrace.plan import RolloutSet
from distrace.rejects import Reject


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        yield results.write_results()


@pytest.fixture(scope="module")
def numbers(plan):
    return numbers_of(plan)


@pytest.fixture(scope="module")
def trace(numbers):
    [trace] = numbers["runs"]["main"]["traces"]
    return trace


def means(shares: dict) -> dict:
    return {label: share["mean"] for label, share in shares.items() if share and share["mean"]}


def test_accuracy_is_the_share_of_right_answers_over_questions(numbers):
    accuracy = numbers["runs"]["main"]["accuracy"]["test"]
    assert list(accuracy) == ["teacher", "student", results.DISTILLED]
    assert [value["mean"] for value in accuracy.values()] == [1, 0, pytest.approx(2 / 3)]
    assert accuracy["teacher"]["n"] == 4


def test_answers_that_were_not_judged_are_counted_and_left_out(numbers):
    accuracy = numbers["runs"]["main"]["accuracy"]["test"][results.DISTILLED]
    assert (accuracy["n"], accuracy["responses"], accuracy["not_judged"], accuracy["cut_off"]) == (3, 4, 1, 0)


def test_label_shares_are_over_sentences_and_apart_for_right_and_wrong(trace):
    assert (trace["sentences"], trace["responses"]) == (8, 4)
    assert means(trace["labels"]) == {"Teacher": 4 / 8, "Student": 1 / 8, "Shared": 2 / 8, "Boosted": 1 / 8}
    assert means(trace["labels_correct"]) == {"Teacher": 3 / 5, "Shared": 2 / 5}
    assert means(trace["labels_incorrect"]) == {"Teacher": 1 / 2, "Boosted": 1 / 2}
    assert trace["labels"]["Teacher"]["n"] == 4


def test_the_area_between_the_curves_is_over_positions_that_right_and_wrong_responses_reach(trace):
    # Right minus wrong, first sentence: Teacher 2/2 - 0, Boosted 0 - 1; second sentence: Teacher 1/2 - 1, Shared 1/2.
    assert trace["area_between_curves"] == {"Teacher": 0.25, "Student": 0, "Shared": 0.25, "Boosted": -0.5}


def test_a_habit_is_followed_by_how_often_it_came_before(trace):
    habit = trace["habits"]["notes"]
    assert (habit["pattern"], habit["sentences"], habit["responses"]) == ("<<", 3, 2)
    assert means(habit["labels"]) == {"Teacher": pytest.approx(2 / 3), "Shared": pytest.approx(1 / 3)}
    first, second = habit["by_occurrence"]
    assert (first["occurrence"], first["sentences"], means(first["labels"])) == (1, 2, {"Teacher": 1})
    assert (second["occurrence"], second["sentences"], means(second["labels"])) == (2, 1, {"Shared": 1})


def test_a_habit_that_never_shows_has_no_shares(plan, monkeypatch):
    monkeypatch.setitem(plan.config["runs"]["main"], "habits", {"shouts": "!!", "notes": "<<"})
    [trace] = numbers_of(plan)["runs"]["main"]["traces"]
    habit = trace["habits"]["shouts"]
    assert (habit["pattern"], habit["sentences"], habit["responses"], habit["by_occurrence"]) == ("!!", 0, 0, [])
    assert set(habit["labels"].values()) == {None}
    assert trace["habits"]["notes"]["sentences"] == 3


@pytest.mark.parametrize("parts", [1, 4])
def test_the_numbers_are_the_same_in_how_many_parts_the_responses_lie(numbers, parts, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(results.CONFIG)
    config["questions"]["test"]["parts"] = parts
    assert numbers_of(results.write_results(config)) == numbers


def test_a_selection_is_described_by_its_means(numbers):
    [selection] = numbers["runs"]["main"]["selections"]
    assert (selection["strategy"], selection["teacher"]) == ("longest", "teacher")
    assert (selection["selected"], selection["candidates"]) == (1, 2)
    assert (selection["correct"]["mean"], selection["mean_longest"], selection["mean_teacher_count"]) == (1, 2, 1)


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """The plan of a run in bfloat16, whose results lie in the current folder: in float32, one label is another."""
    monkeypatch.chdir(tmp_path)
    student = {"source": {"folder": "student"}, "dtype": "bfloat16"}
    plan = results.write_results(results.CONFIG | {"models": results.CONFIG["models"] | {"student": student}})
    # In bfloat16 the student gave the last sentence 0.1: the Teacher's.
    in_float32 = {"d0": [0.1, 0.5, 0.5], "d1": [0.5, 0.875]}
    same = {"d0": [0.9, 0.5, 0.5], "d1": [0.9, 0.9]}
    results.write_comparison(plan, {"student": in_float32, results.DISTILLED: same})
    return plan


def test_number_formats_are_compared_by_shift_and_by_flipped_labels(compared):
    [trace] = numbers_of(compared)["runs"]["main"]["traces"]
    found = trace["float32_check"]["compared"]
    assert (found["part"], found["sentences"], found["responses"]) == ("0", 5, 2)
    assert (found["flipped"]["mean"], found["flipped"]["n"]) == (pytest.approx(1 / 5), 2)
    flips = {(a, b): n for a, row in found["flips"].items() for b, n in row.items() if n}
    assert flips == {
        ("Teacher", "Teacher"): 1,
        ("Shared", "Shared"): 2,
        ("Boosted", "Boosted"): 1,
        ("Teacher", "Shared"): 1,
    }
    assert set(found["shifts"]) == {"student", "distilled"}
    student = found["shifts"]["student"]
    assert (student["model"], student["dtype"], student["tokens"]) == ("student", "bfloat16", 5)
    assert student["max"] == pytest.approx(math.log(8.75), abs=1e-6)
    assert student["mean"] == pytest.approx(math.log(8.75) / 5, abs=1e-6)
    assert found["shifts"]["distilled"]["max"] == 0


def test_the_comparison_of_number_formats_is_accounted_for(compared):
    names = {entry["artifact"] for entry in numbers_of(compared)["accounting"]}
    folder = f"{results.DISTILLED}/test/answer"
    assert {f"results/float32_check/main/teacher/{folder}", f"results/logprobs/student@float32/full/{folder}"} <= names
    assert f"results/logprobs/teacher@float32/full/{folder}" not in names


def test_the_report_shows_the_comparison_of_number_formats(compared):
    write_report(compared.config, Path("report"))
    page = Path("report/index.html").read_text("utf-8")
    assert "The label of 20.0 %" in page
    assert "<td>student</td><td>student</td><td>bfloat16</td><td>5</td><td>0.434</td><td>2.169</td>" in page


def test_in_float32_there_is_nothing_to_compare(plan, trace):
    assert trace["float32_check"] is None
    assert not any("float32_check" in path or "@" in path for path in plan.report_inputs())


def test_a_served_model_is_said_not_to_be_checked(plan, monkeypatch):
    monkeypatch.setitem(plan.config["models"]["teacher"], "engine", "server")
    monkeypatch.setitem(plan.config["models"]["teacher"], "dtype", "bfloat16")
    [trace] = numbers_of(plan)["runs"]["main"]["traces"]
    assert trace["float32_check"] == {"not_checked": ["teacher"], "compared": None}
    assert not any("float32_check" in path or "@" in path for path in plan.report_inputs())


def parts_of(path: Path) -> list[Path]:
    return [path.with_name(f"{part}.arrow") for part in open_artifact(path, kinds.PARTS).read("part")["part"]]


def test_every_artifact_of_the_report_is_accounted_for(plan, numbers):
    rows = {entry["artifact"]: entry["rows"] for entry in numbers["accounting"]}
    listed = [Path(path) for path in plan.report_inputs()]
    found = [path for one in listed for path in (parts_of(one) if one.name == "parts.arrow" else [one])]
    assert len(found) > len(listed)
    assert sum(rows.values()) == sum(open_artifact(path).rows for path in found)
    assert rows["results/questions/test"] == 4
    assert rows[f"results/models/{results.DISTILLED}/training.arrow"] == 1


def test_rejects_are_counted_by_reason_over_parts(tmp_path):
    for part, reasons in (("0", ["long", "long"]), ("1", ["short", "long"])):
        rejects = [Reject("x", row, reason) for row, reason in enumerate(reasons)]
        write_with_rejects(tmp_path / f"{part}.arrow", kinds.GRADES, [], rejects, {}, 2)
    [entry] = accounting([str(write_parts(tmp_path))])
    assert (entry["artifact"], entry["rows"], entry["rejected"]) == (str(tmp_path), 0, 4)
    assert list(entry["reasons"].items()) == [("long", 3), ("short", 1)]


def test_the_report_reads_only_what_its_inputs_name(plan, monkeypatch, tmp_path):
    wanted = [Path(path) for path in plan.report_inputs()]
    wanted += [rejects for path in wanted if (rejects := rejects_path(path)).is_file()]
    wanted += [part for path in wanted if path.name == "parts.arrow" for part in parts_of(path)]
    for path in wanted:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.read_bytes())
    expected = numbers_of(plan)
    monkeypatch.chdir(tmp_path)
    assert numbers_of(plan) == expected


def test_accuracy_weighs_questions_alike(plan, monkeypatch, tmp_path):
    folder = tmp_path / "results"
    folder.parent.mkdir(exist_ok=True)
    monkeypatch.setattr("distrace.plan.RESULTS", str(folder))
    rollouts = RolloutSet("other", "test", "answer")

    for part, (path, graded) in enumerate(
        zip(*(plan.parts_in(f"{folder}/{kind}/{rollouts.folder}") for kind in ("rollouts", "grades")), strict=True)
    ):
        questions = write_questions(folder / "q.arrow", {f"{part}?": "1"})
        ids = [f"{part}{n}" for n in range(1 + 3 * part)]
        write_rollouts(Path(path), questions, dict.fromkeys(ids, (f"{part}?", "x")), finish_reason="length")
        write_grades(Path(graded), Path(path), dict.fromkeys(ids, part == 0))
    for kind in ("rollouts", "grades"):
        write_parts(folder / kind / rollouts.folder)
    found = accuracy(plan, rollouts)
    assert (found["mean"], found["n"], found["responses"], found["cut_off"]) == (0.5, 2, 5, 1)
