import copy

import pytest

import results
from distrace.pages.numbers import numbers_of
from distrace.pages.warnings import family, warning_text, warnings_of
from distrace.plan import load_plan

FOLDER = f"main/teacher/{results.DISTILLED}/test/answer"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The plan of the results, and its numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        plan = results.write_results()
        yield plan, numbers_of(plan)


@pytest.fixture
def plan(made):
    return made[0]


@pytest.fixture
def numbers(made):
    """Numbers that there is nothing to warn of, for a test to change."""
    found = copy.deepcopy(made[1])
    for value in found["runs"]["main"]["accuracy"]["test"].values():
        value["n"] = 100
    return found


def test_small_sets_are_warned_of_in_the_numbers_of_a_report(made):
    [warning] = made[1]["warnings"]
    about = {"run": "main", "kind": "few_questions", "questions": "test"}
    assert warning == about | {"value": 3, "limit": 100}
    assert warning_text(warning).startswith("test has 3 questions with judged answers, fewer than 100")


def test_without_a_cause_there_is_no_warning(plan, numbers):
    assert warnings_of(plan, numbers) == []


def test_the_model_with_fewest_judged_questions_counts(plan, numbers):
    numbers["runs"]["main"]["accuracy"]["test"]["student"]["n"] = 99
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["value"]) == ("few_questions", 99)


def test_each_model_that_is_cut_off_often_is_named(plan, numbers):
    accuracy = numbers["runs"]["main"]["accuracy"]["test"]
    accuracy["student"]["cut_off"], accuracy["teacher"]["cut_off"] = 0.05, 0.0625
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["model"], warning["value"]) == ("cut_off", "teacher", 0.0625)
    assert warning_text(warning).startswith("6.2 % of the 4 responses of teacher on test end at max_tokens")


def test_verdicts_that_are_often_others_than_those_of_the_file_are_warned_of(plan, numbers):
    accuracy = numbers["runs"]["main"]["accuracy"]["test"]
    accuracy["student"]["as_source_says"] = {"mean": 0.99, "low": 0.9, "high": 1, "n": 100}
    accuracy["teacher"]["as_source_says"] = {"mean": 0.95, "low": 0.9, "high": 1, "n": 200}
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["model"], warning["value"]) == ("verdicts", "teacher", pytest.approx(0.05))
    assert warning_text(warning).startswith("5.0 % of the 200 answers of teacher on test are judged otherwise here")


def test_a_label_that_nearly_all_sentences_have_is_warned_of_and_linked(plan, numbers):
    [trace] = numbers["runs"]["main"]["traces"]
    trace["labels"]["Shared"] = {"mean": 0.96, "low": 0.9, "high": 1, "n": 100}
    trace["labels"]["Teacher"] = None
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["label"], warning["value"], warning["limit"]) == (
        "one_label",
        "Shared",
        0.96,
        0.95,
    )
    assert f'<a href="explorer.html#trace={FOLDER}&amp;label=Shared">96.0 %</a> of the 8 sentences' in warning_text(
        warning
    )


def test_labels_that_flip_in_float32_are_warned_of(plan, numbers):
    [trace] = numbers["runs"]["main"]["traces"]
    trace["float32_check"] = {"not_checked": [], "compared": {"sentences": 50, "flipped": {"mean": 0.02}}}
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["value"], warning["limit"]) == ("number_format", 0.02, 0.01)
    assert "2.0 % of the labels" in warning_text(warning)
    trace["float32_check"]["compared"]["flipped"]["mean"] = 0.01
    assert warnings_of(plan, numbers) == []


def test_a_number_format_that_was_not_compared_is_warned_of(plan, numbers, monkeypatch):
    monkeypatch.setitem(plan.config["models"]["student"], "dtype", "bfloat16")
    monkeypatch.setitem(plan.config["runs"]["main"], "check_float32", False)
    [warning] = warnings_of(plan, numbers)
    # The distilled model runs as the student does.
    assert (warning["kind"], warning["value"]) == ("number_format_not_checked", 2)
    assert f"2 of the models of {FOLDER} (student and {results.DISTILLED})" in warning_text(warning)
    monkeypatch.setitem(plan.config["runs"]["main"], "check_float32", True)
    assert warnings_of(plan, numbers) == []
    monkeypatch.setitem(plan.config["models"]["teacher"], "engine", "server")
    [warning] = warnings_of(plan, numbers)
    assert warning["models"] == ["teacher"]


def test_rejects_are_warned_of_by_artifact(plan, numbers):
    few, many = ({"artifact": name, "rows": 98, "rejected": n, "reasons": {}} for name, n in (("a", 0), ("b", 2)))
    numbers["accounting"] = [few, many, {"artifact": "c", "rows": 0, "rejected": 0, "reasons": {}}]
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["artifact"], warning["value"], warning["run"]) == ("rejects", "b", 0.02, None)
    assert warning_text(warning).startswith("2 of the 100 rows that came into b were rejected (2.0 %")


def test_teacher_and_student_of_one_family_are_warned_of(plan, numbers, monkeypatch):
    monkeypatch.setitem(plan.config["models"]["teacher"], "source", plan.config["models"]["student"]["source"])
    [warning] = warnings_of(plan, numbers)
    assert (warning["kind"], warning["teacher"], warning["student"]) == ("one_family", "teacher", "student")
    assert "(both come from the folder student)" in warning_text(warning)


def test_what_a_warning_names_is_text(plan, numbers):
    numbers["accounting"] = [{"artifact": "<b>", "rows": 0, "rejected": 1, "reasons": {}}]
    [warning] = warnings_of(plan, numbers)
    assert "&lt;b&gt;" in warning_text(warning)


def trained(base: str) -> dict:
    return {"source": {"finetune": {"base": base, "questions": "train", "training": "short"}}}


def hub(name: str) -> dict:
    return {"source": {"hub": name, "revision": "abc"}}


def fresh(**settings: object) -> dict:
    return {"source": {"fresh": {"questions": "train"} | settings}}


@pytest.mark.parametrize(
    ("teacher", "student", "reason"),
    [
        ("student", "student", "student is both"),
        ("tuned", "student", "tuned is trained from student"),
        ("tuned_again", "student", "tuned_again is trained from student"),
        ("student", "tuned", "tuned is trained from student"),
        ("other_tuned", "tuned", "both are trained from student"),
        (results.DISTILLED, "student", f"{results.DISTILLED} is trained from student"),
        ("teacher", "student", None),
        ("teacher", "tuned", None),
        ("same_folder", "student", "both come from the folder ./student"),
        ("from_same_folder", "student", "both come from the folder ./student"),
        ("fresh", "fresh_larger", "both have the tokenizer trained on train"),
        ("fresh", "fresh_words", None),
        ("qwen8", "qwen1", "Qwen/Qwen3-8B and Qwen/Qwen2.5-1.5B are of one series"),
        ("qwen8", "llama", None),
        ("deepseek", "qwen1", None),
        ("qwen8", "student", None),
    ],
)
def test_a_family_is_told_by_what_models_are_made_from(teacher, student, reason):
    config = copy.deepcopy(results.CONFIG)
    config["questions"]["train"]["solution"] = "answer"
    config["models"] |= {
        "tuned": trained("student"),
        "tuned_again": trained("tuned"),
        "other_tuned": trained("student"),
        "same_folder": {"source": {"folder": "./student"}},
        "from_same_folder": trained("same_folder"),
        "fresh": fresh(vocabulary=300),
        "fresh_larger": fresh(vocabulary=300, hidden=128, seed=3),
        "fresh_words": fresh(vocabulary=300, words=False),
        "qwen8": hub("Qwen/Qwen3-8B"),
        "qwen1": hub("Qwen/Qwen2.5-1.5B"),
        "llama": hub("meta-llama/Llama-3.1-8B"),
        "deepseek": hub("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
    }
    assert family(load_plan(config), teacher, student) == reason
