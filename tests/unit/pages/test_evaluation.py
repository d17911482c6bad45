"""The numbers of a run of two strategies with two seeds each, whose answers are written out here."""

import copy
from pathlib import Path

import polars as pl
import pytest

import results
from builders import write, write_grades, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, write_with_rejects
from distrace.nodes.report import write_report
from distrace.pages.evaluation import accuracy, strategy_numbers, trained_by_strategy
from distrace.plan import Plan, RolloutSet, load_plan, ranking_path, selection_path, training_path
from distrace.rejects import Reject

QUESTIONS = ["1?", "2?", "3?"]
# Of each model: two answers to each question.
RIGHT = {
    "longest.0": [(True, True), (True, False), (False, None)],
    "longest.1": [(True, True), (True, True), (None, None)],
    "random.0": [(True, False), (False, False), (True, True)],
    "random.1": [(False, False), (False, False), (True, True)],
}
CANDIDATES = {"a0": ("x", 30.0), "a1": ("x", 10.0), "b0": ("y", 20.0), "b1": ("y", 20.0), "c0": ("z", 50.0)}
CHOSEN = {"longest": ["a0", "b0", "c0"], "random": ["a1", "b0", "c0"]}


def config_of(**run: object) -> dict:
    config = copy.deepcopy(results.CONFIG)
    config["questions"]["test"] = {"source": {"file": "test.jsonl"}, "parts": 1}
    config["training"]["short"] = {"epochs": 3}
    config["models"]["student"]["parameters"] = 1000
    config["runs"]["main"] |= {"strategies": list(CHOSEN), "seeds": [0, 1], "trace": []} | run
    return config


def write_answers(plan: Plan, author: str, right: list[tuple]) -> None:
    rollouts = RolloutSet(author, "test", "answer")
    path = Path(f"results/rollouts/{rollouts.folder}/0.arrow")
    answers = {
        f"{author}{question}{n}": (question, "abcde", correct)
        for question, samples in zip(QUESTIONS, right, strict=True)
        for n, correct in enumerate(samples)
    }
    texts = {name: (question, text) for name, (question, text, _) in answers.items()}
    write_rollouts(path, Path("results/questions/test/0.arrow"), texts, token_ids=[1, 2, 3])
    graded = Path(plan.rollouts_parts("grades", rollouts))
    write_grades(graded.with_name("0.arrow"), path, {name: correct for name, (_, _, correct) in answers.items()})
    write_parts(graded.parent)


def write_candidates(plan: Plan) -> None:
    candidates = plan.candidates("main", "teacher")
    asked = write_questions(Path("results/questions/train/0.arrow"), dict.fromkeys("xyz", "1"))
    texts = {name: (question, "text") for name, (question, _) in CANDIDATES.items()}
    path = write_rollouts(Path(f"results/rollouts/{candidates.folder}/0.arrow"), asked, texts)
    graded = Path(plan.rollouts_parts("grades", candidates))
    write_grades(graded.with_name("0.arrow"), path, {name: name.endswith("0") for name in CANDIDATES})
    write_parts(graded.parent)
    ranked = pl.DataFrame(
        [(name, question, 0, length, -length, 1.0) for name, (question, length) in CANDIDATES.items()],
        schema=["rollout_id", "question_id", "sample", "longest", "grape", "teacher_count"],
        orient="row",
    ).with_columns(tokens=pl.col("longest"), shortest=pl.col("longest"), sentences=pl.lit(1))
    scores = ["longest", "grape", "teacher_count", "shortest"]
    write(Path(ranking_path("main", candidates)), kinds.RANKING, ranked, {"scores": scores})
    for strategy, chosen in CHOSEN.items():
        rank = pl.when(pl.col("rollout_id").is_in(chosen)).then(1).alias("rank")
        selected = ranked.select("rollout_id", "question_id", rank, pl.lit("why").alias("reason"), "tokens")
        write(Path(selection_path("main", candidates, strategy)), kinds.SELECTION, selected, {"of": strategy})


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of the run, whose results lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    plan = load_plan(config_of())
    write_questions(Path("results/questions/test/0.arrow"), dict.fromkeys(QUESTIONS, "1"))
    write_parts(Path("results/questions/test"))
    for name, right in RIGHT.items():
        write_answers(plan, f"main.teacher.{name}", right)
        log = [{"step": 2, "epoch": 1.0, "loss": 2.0, "learning_rate": 0.1}]
        rejects = [Reject("c0", 2, "too long")] if name.startswith("longest") else []
        path = Path(training_path(f"main.teacher.{name}"))
        write_with_rejects(path, kinds.TRAINING, log, rejects, {}, 1 + len(rejects))
    write_answers(plan, "teacher", [(True, True)] * 3)
    write_answers(plan, "student", [(False, False)] * 3)
    write_candidates(plan)
    write_parts(Path("results/questions/train"))
    return plan


def test_the_samples_of_a_question_give_pass_at_k_majority_and_a_clustered_error(plan):
    found = accuracy(plan, RolloutSet("main.teacher.random.0", "test", "answer"))
    assert found["mean"] == pytest.approx(0.5)
    assert found["standard_error"] == pytest.approx((0.25 / 3) ** 0.5)
    assert {k: value["mean"] for k, value in found["pass_at"].items()} == {"1": 0.5, "2": pytest.approx(2 / 3)}
    assert found["majority"]["mean"] == pytest.approx(2 / 3)
    assert (found["tokens"]["mean"], found["characters"]["mean"]) == (3, 5)


def test_pass_at_k_is_over_questions_with_as_many_judged_answers(plan):
    found = accuracy(plan, RolloutSet("main.teacher.longest.0", "test", "answer"))
    assert (found["n"], found["not_judged"]) == (3, 1)
    assert (found["pass_at"]["2"]["mean"], found["pass_at"]["2"]["n"]) == (1, 2)


def test_without_a_judged_answer_nothing_is_said(plan):
    write_answers(plan, "teacher", [(None, None)] * 3)
    found = accuracy(plan, RolloutSet("teacher", "test", "answer"))
    assert (found["mean"], found["n"], found["standard_error"], found["majority"]) == (None, 0, None, None)
    assert (found["pass_at"], found["not_judged"]) == ({}, 6)
    assert found["tokens"]["mean"] == 3


def test_verdicts_of_the_file_that_answers_came_from_are_held_against_those_of_the_grader(plan):
    rollouts, config = RolloutSet("teacher", "test", "answer"), config_of()
    assert accuracy(plan, rollouts)["as_source_says"] is None
    config["sampling"]["answer"] = {"responses_of": {"teacher": {"file": "saved.jsonl", "correct": "verdict"}}}
    path = Path(f"results/rollouts/{rollouts.folder}/0.arrow")
    written = open_artifact(path).read()  # graded here: all six are right
    write(
        path, kinds.ROLLOUTS, written.with_columns(source_correct=pl.Series([True, True, True, False, None, True])), {}
    )
    write_parts(path.parent)
    found = accuracy(load_plan(config), rollouts)["as_source_says"]
    assert (found["mean"], found["n"]) == (pytest.approx(4 / 5), 5)
    write_report(config, Path("results/report"))
    page = Path("results/report/index.html").read_text("utf-8")
    assert "Of 5 answers of teacher with a verdict in the file that they came from, 80.0 % (" in page


def test_tokens_that_are_not_known_have_no_length(plan):
    rollouts = RolloutSet("teacher", "test", "answer")
    texts = {f"teacher{question}{n}": (question, "abcde") for question in QUESTIONS for n in range(2)}
    write_rollouts(Path(f"results/rollouts/{rollouts.folder}/0.arrow"), Path("results/questions/test/0.arrow"), texts)
    found = accuracy(plan, rollouts)
    assert (found["tokens"], found["characters"]["mean"]) == (None, 5)


def test_strategies_are_compared_on_the_questions_that_all_were_judged_on(plan):
    test = strategy_numbers(plan, "main")["tests"]["test"]
    assert (test["questions"], test["left_out"]) == (2, 1)
    assert {name: value["mean"] for name, value in test["accuracy"].items()} == {"longest": 0.875, "random": 0.125}
    [pair] = test["pairs"]
    assert (pair["strategy"], pair["other"], pair["difference"]["mean"]) == ("longest", "random", 0.75)
    # Two questions cannot show more than 2 / 2^2.
    assert pair["p_value"] == pair["p_adjusted"] == 0.5
    assert not pair["differ"]
    assert {value["letters"] for value in test["accuracy"].values()} == {"a"}


def test_without_a_question_judged_for_all_there_are_no_pairs(plan):
    write_answers(plan, "main.teacher.random.1", [(None, None)] * 3)
    test = strategy_numbers(plan, "main")["tests"]["test"]
    assert test == {"questions": 0, "left_out": 3, "accuracy": {"longest": None, "random": None}, "pairs": []}


def test_what_a_model_was_trained_on_is_counted_without_what_training_rejected(plan):
    training = strategy_numbers(plan, "main")["training"]
    longest, random = training["longest"], training["random"]
    assert (longest["selected"], longest["responses"], longest["tokens"]) == (3, 2, 50)
    assert (random["selected"], random["responses"], random["tokens"]) == (3, 3, 80)
    assert (longest["epochs"], longest["tokens_trained"], longest["parameters"]) == (3, 150, 1000)
    assert longest["flops"] == 6 * 1000 * 150
    assert (longest["correct"]["mean"], random["correct"]["mean"]) == (1, pytest.approx(2 / 3))
    assert longest["length"]["mean"] == pytest.approx(100 / 3)
    assert [
        longest["length"][name] for name in ("least", "p10", "p25", "median", "p75", "p90", "most")
    ] == pytest.approx([20, 22, 25, 30, 40, 46, 50])


def test_steps_that_are_given_count_in_place_of_epochs_and_lora_costs_less(plan):
    plan.config["training"]["short"] |= {"max_steps": 5, "batch_size": 4, "method": "lora"}
    training = strategy_numbers(plan, "main")["training"]["random"]
    # The log counts two steps to an epoch.
    assert training["epochs"] == 2.5
    assert training["flops"] == 4 * 1000 * 80 * 2.5


def test_a_model_of_unknown_size_has_no_estimate(plan):
    plan.config["models"]["student"]["parameters"] = None
    training = strategy_numbers(plan, "main")["training"]["random"]
    assert (training["parameters"], training["flops"]) == (None, None)


def test_scores_are_correlated_and_those_that_are_the_same_shown_once(plan):
    [found] = strategy_numbers(plan, "main")["correlations"]
    assert (found["teacher"], found["scores"]) == ("teacher", ["longest", "grape", "teacher_count"])
    first = found["pairs"][0]
    assert (first["scores"], first["within"], first["questions"]) == (["longest", "grape"], pytest.approx(-1), 1)
    assert (first["over_all"], first["candidates"]) == (pytest.approx(-1), 5)
    assert found["pairs"][1]["within"] is None


def test_selections_overlap_in_what_both_chose(plan):
    [found] = strategy_numbers(plan, "main")["overlaps"]
    [pair] = found["pairs"]
    assert (pair["strategies"], pair["shared"], pair["jaccard"]) == (["longest", "random"], 2, 0.5)


def test_one_strategy_and_one_seed_have_intervals_and_no_pairs(plan):
    one = load_plan(config_of(strategies=["longest"], seeds=[0]))
    found = strategy_numbers(one, "main")
    assert found["seeds"] == 1
    test = found["tests"]["test"]
    assert (test["pairs"], test["accuracy"]["longest"]["n"], test["accuracy"]["longest"]["letters"]) == ([], 3, "a")
    assert found["overlaps"][0]["pairs"] == []


def test_of_several_teachers_each_strategy_is_one_of_its_own(plan):
    several = config_of(teachers=["teacher", "student"])
    assert list(trained_by_strategy(load_plan(several), "main")) == [
        "teacher.longest",
        "teacher.random",
        "student.longest",
        "student.random",
    ]


def test_a_run_that_trains_nothing_has_no_strategies(plan):
    ready = config_of(distilled="student", strategies=["longest"])
    assert strategy_numbers(load_plan(ready), "main") is None


def test_the_page_shows_strategies_and_pairs(plan):
    write_report(plan.config, Path("report"))
    page = Path("report/index.html").read_text("utf-8")
    assert "the mean over 2 training seeds" in page
    assert "test: 1 question left out" in page
    assert "<td>longest</td><td>random</td><td>+75.0 (" in page
    assert "pass@2" in page


def test_candidates_that_were_pooled_are_one_pool(plan):
    pooled = load_plan(config_of(teachers=["teacher", "student"], pooled=True))
    assert list(trained_by_strategy(pooled, "main")) == ["longest", "random"]


def test_the_interval_of_an_accuracy_stays_within_nought_and_one(plan):
    write_answers(plan, "main.teacher.random.0", [(True, False), (True, False), (None, None)])
    write_answers(plan, "main.teacher.random.1", [(True, True), (True, True), (None, None)])
    for value in strategy_numbers(plan, "main")["tests"]["test"]["accuracy"].values():
        assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1


def test_figures_have_the_colour_of_the_text_so_that_they_show_on_a_dark_page(plan):
    write_report(plan.config, Path("report"))
    page = Path("report/index.html").read_text("utf-8")
    figures = "".join(part.partition("</svg>")[0] for part in page.split("<svg")[1:])
    assert 'fill="currentColor"' in figures
    assert not [colour for colour in ("#000", "black", "white", "#fff") if f'"{colour}"' in figures]
