"""The scripts of `experiments/`: what they ask of the workflow, and what they make of its results."""

import argparse
import json
import random
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from distrace.measures.labels import Thresholds
from distrace.plan import load_plan
from distrace.world import Dials, authors, form_of, questions

ROOT = Path(__file__).parents[2]
SEEDS, QUESTIONS = 3, 40


def script(name: str):
    """Return a script of `experiments/` as a module."""
    sys.path.insert(0, str(ROOT / "experiments"))
    module = import_module(name)
    sys.path.remove(str(ROOT / "experiments"))
    return module


@pytest.fixture(scope="module")
def strategies():
    return script("strategies")


@pytest.fixture(scope="module")
def quintiles():
    return script("quintiles")


@pytest.fixture(scope="module")
def contexts():
    return script("contexts")


@pytest.fixture(scope="module")
def oracle():
    return script("oracle")


@pytest.fixture(scope="module")
def causal():
    return script("causal")


@pytest.fixture(scope="module")
def siblings():
    return script("siblings")


def found(**models: float) -> pl.DataFrame:
    """Return made-up grades of models that are right with a chance, on the same questions and seeds."""
    drawn = np.random.default_rng(0).random((SEEDS, QUESTIONS))
    rows = [
        {"seed": seed, "run": "every", "model": model, "responses": 10, "tokens": 100.0 + seed}
        | {"correct": (drawn[seed] < chance).tolist()}
        for model, chance in models.items()
        for seed in range(SEEDS)
    ]
    return pl.DataFrame(rows)


def test_every_score_is_compared_with_random_teacher_count_and_its_twin(strategies):
    table = found(student=0.1, teacher_count=0.6, random=0.4, grape=0.3, like_teacher_count=0.6, like_grape=0.2)
    rows = {row["model"]: row for row in strategies.compared("every", table)}
    for model, row in rows.items():
        accuracy = table.filter(pl.col("model") == model)["correct"].list.mean().mean()
        assert row["accuracy"] == pytest.approx(accuracy)
        assert row["accuracy_low"] <= accuracy <= row["accuracy_high"]
        for name, other in {"random": "random", "teacher_count": "teacher_count", "twin": f"like_{model}"}.items():
            if other not in rows or other == model:
                assert row[f"above_{name}"] is row[f"p_{name}"] is row[f"seeds_above_{name}"] is None
            else:
                assert row[f"above_{name}"] == pytest.approx(accuracy - rows[other]["accuracy"])
                assert row[f"above_{name}_low"] <= row[f"above_{name}"] <= row[f"above_{name}_high"]
    assert rows["teacher_count"]["above_twin"] == 0
    assert rows["teacher_count"]["p_twin"] == 1
    assert rows["teacher_count"]["p_random"] == rows["random"]["p_teacher_count"]
    assert rows["student"]["p_teacher_count"] < 0.05
    assert rows["teacher_count"]["seeds_above_random"] == SEEDS
    assert rows["grape"]["tokens"] == 101


def test_p_values_are_adjusted_for_the_differences_of_a_run(strategies):
    few = {row["model"]: row for row in strategies.compared("every", found(teacher_count=0.5, random=0.4))}
    many = found(teacher_count=0.5, random=0.4, **{f"score_{n}": 0.45 for n in range(10)})
    p = {row["model"]: row for row in strategies.compared("every", many)}["random"]["p_teacher_count"]
    assert few["random"]["p_teacher_count"] < p <= 1


def test_each_score_is_a_strategy_beside_its_twin_and_a_run_can_be_left_out(strategies):
    config = strategies.config_of(3, ["teacher_count", "random", "grape"], 20, 10)
    plan = load_plan(config)
    assert plan.config["runs"]["every"]["strategies"] == [
        *("teacher_count", "random", "grape"),
        *("like_teacher_count", "like_grape"),
    ]
    assert plan.config["runs"]["same_tokens"]["equal"] == "tokens"
    assert plan.config["questions"]["test"]["source"]["world"]["count"] == 10
    assert list(load_plan(strategies.config_of(3, ["random"], 20, 10, ["every"])).config["runs"]) == ["every"]


def test_with_dials_the_models_of_a_world_go_on_in_a_folder_of_its_own(strategies, tmp_path):
    config, dials = strategies.config_of(3, ["random"], 20, 10, ["every"]), dict([strategies.dial("overlap=0.3")])
    strategies.turn(config, dials, tmp_path / "zero")
    plan = load_plan(config)
    assert plan.dials == Dials(overlap=0.3)
    assert plan.model_config("student_untrained")["source"]["folder"].startswith(str(tmp_path / "zero"))
    assert plan.model_config("teacher_untrained")["source"]["fresh"]
    assert strategies.folder_of(tmp_path, 3, dials) == tmp_path / "overlap-0.3-seed-3"
    assert strategies.folder_of(tmp_path, 3, {}) == tmp_path / "seed-3"
    with pytest.raises(argparse.ArgumentTypeError, match="no dial of the world: overlap"):
        strategies.dial("overlaps=0.3")


def test_quintiles_go_from_what_a_score_would_take_last_to_what_it_takes_first(quintiles):
    candidates = pl.DataFrame({"rollout_id": [f"{n:02}" for n in range(12)], "longest": [*range(11), None]})
    groups = quintiles.quintiles(candidates.with_columns(shortest="longest"), "longest")
    assert [group["longest"].to_list() for group in groups] == [[0, 1], [2, 3], [4, 5, 6], [7, 8], [9, 10]]
    groups = quintiles.quintiles(candidates.with_columns(shortest="longest"), "shortest")
    assert next(iter(groups))["shortest"].to_list() == [10, 9]


def test_each_quintile_of_each_score_trains_a_student(quintiles, strategies, tmp_path):
    config = strategies.config_of(3, ["random"], 20, 10, ["every"])
    candidates = pl.DataFrame(
        {"rollout_id": [f"{n:02}" for n in range(10)], "longest": range(10), "tokens": 3, "grape": range(10, 0, -1)}
    ).with_columns(question=pl.col("rollout_id") + "?", answer=pl.lit("1"), solution=pl.lit("1"))
    students = quintiles.add_students(config, tmp_path, candidates, ["longest", "grape"])
    plan = load_plan(config)
    assert set(plan.config["runs"]) == set(students) == {f"{s}_{n}" for s in ("longest", "grape") for n in range(1, 6)}
    assert students["grape_5"] == {"score": "grape", "quintile": 5, "seed": 3, "tokens": 6}
    assert [json.loads(row)["question"] for row in (tmp_path / "grape_5.jsonl").open()] == ["01?", "00?"]


def test_the_worth_of_a_score_is_the_rank_correlation_of_quintile_and_accuracy(quintiles):
    right = {0: [0.1, 0.2, 0.3, 0.4, 0.5], 1: [0.1, 0.2, 0.3, 0.5, 0.4]}
    rows = [
        {"score": "longest", "seed": seed, "quintile": number, "tokens": 10 * number, "accuracy": accuracy}
        for seed, accuracies in right.items()
        for number, accuracy in enumerate(accuracies, start=1)
    ]
    found = quintiles.about_score("longest", rows)
    assert found["correlation"]["mean"] == pytest.approx((1 + 0.9) / 2)
    assert (found["accuracy 1"]["mean"], found["tokens 5"], found["seeds"]) == (0.1, 50, 2)
    alike = quintiles.about_score("longest", [row | {"accuracy": 0.5} for row in rows])
    assert alike["correlation"]["mean"] is None
    assert quintiles.as_text(alike)["correlation"] == "-"


PROBABLE, NOT, BETWEEN = 0.9, 0.1, 0.5


def scored(*rows: tuple, origin: bool = True) -> pl.DataFrame:
    """Return sentences of responses to a question each: origin, habit, and p_T, p_S in `full` and in `window-1`."""
    return pl.DataFrame(
        [
            {"rollout_id": response, "question_id": response, "sentence": number, "habit step": habit}
            | {"origin": true if origin else None}
            | {
                f"p_{role} {context}": p
                for context, pair in zip(("full", "window-1"), seen, strict=True)
                for role, p in zip(("teacher", "student", "distilled"), (*pair, PROBABLE), strict=True)
            }
            for response, number, true, habit, *seen in rows
        ],
        schema_overrides={"origin": pl.String},
    )


TEACHERS, COPIED = (PROBABLE, NOT), (PROBABLE, PROBABLE)
TRACED = [
    *(("a", 0, "teacher", True, TEACHERS, TEACHERS), ("a", 1, "teacher", True, COPIED, TEACHERS)),
    *(("b", 0, "both", False, COPIED, COPIED), ("b", 1, "teacher", True, TEACHERS, TEACHERS)),
    # The teacher, too, needs what came before; where it alone sees it, the sentence counts as the teacher's.
    ("b", 2, "both", False, COPIED, (NOT, NOT)),
]
CONTROL = [("c", 0, "student", False, (NOT, PROBABLE), (NOT, PROBABLE)), ("c", 1, "both", False, COPIED, COPIED)]


def test_a_context_is_compared_with_the_truth_and_so_is_one_that_the_student_alone_sees(contexts):
    rows = contexts.compared(scored(*TRACED), scored(*CONTROL), Thresholds(0.05, 0.2))
    found = {(row["context"], row["seen_by"]): row for row in rows}
    assert list(found) == [("full", "all three"), ("window-1", "all three"), ("window-1", "student")]
    whole, less, student = found.values()
    assert (whole["sentences"], whole["precision"], whole["recall"]) == (5, 1, pytest.approx(2 / 3))
    assert (less["precision"], less["recall"], less["agreement"]) == (1, 1, 1)
    assert (student["precision"], student["recall"]) == (pytest.approx(3 / 4), 1)
    assert (whole["step_first"], whole["step_later"], less["step_later"]) == (1, 0, 1)
    assert less["step_gone_share"] == 1
    assert [row["teacher_in_control"] for row in rows] == [0, 0, 0]
    assert less["auc"] == 1 > whole["auc"]


def test_without_a_known_origin_there_is_no_precision(contexts):
    tables = (scored(*rows, origin=False) for rows in (TRACED, CONTROL))
    rows = contexts.compared(*tables, Thresholds(0.05, 0.2))
    assert {(row["precision"], row["auc"]) for row in rows} == {(None, None)}
    assert [row["step_later"] for row in rows] == [0, 1, 1]
    assert contexts.as_text(rows[0])["precision"] == ""


def test_contexts_are_tried_on_the_student_beside_the_distilled_model(contexts):
    plan = load_plan(contexts.world_config(3, ["window-1"]))
    assert [trace.rollouts.author for trace in plan.traces("main")] == ["main.teacher.teacher_count.0"]
    assert [trace.rollouts.author for trace in plan.traces("control")] == ["student"]
    assert all(
        list(plan.in_contexts(t)) == ["full", "window-1"] for run in plan.config["runs"] for t in plan.traces(run)
    )
    assert plan.config["seed"] == 3
    example = load_plan(contexts.smollm2_config(0, ["window-0"]))
    assert list(example.config["runs"]) == ["svamp", "control"]


@pytest.mark.parametrize(
    ("dials", "changed"),
    [
        ({}, set()),
        ({"overlap": 0.1}, {"student"}),
        ({"paraphrase": 0.4}, {"teacher"}),
        ({"filler": 0.4}, {"teacher", "student"}),
        ({"overlap": 0.1, "paraphrase": 0.4}, {"teacher", "student"}),
    ],
)
def test_a_dial_trains_on_what_it_changes_and_takes_the_other_model_as_it_is(oracle, tmp_path, dials, changed):
    config = oracle.config_of(0, dials, tmp_path / "zero", oracle.SIZES["small"])
    oracle.add_distilled(config, "distilled", tmp_path, oracle.taught(config))
    plan = load_plan(config)
    adapted = {name for name in oracle.BASES if plan.model_config(f"{name}_untrained")["source"]["folder"]}
    assert adapted == changed
    assert plan.dials == Dials(**dials)
    [trace] = plan.traces("distilled")
    assert plan.has_truth(trace)
    assert trace.rollouts.author == "distilled"


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_share_of_the_answers_learned_is_the_students(oracle, tmp_path, share):
    config = oracle.config_of(0, {}, tmp_path, oracle.SIZES["small"])
    rows = oracle.taught(config, share)
    authors_of = [set.intersection(*(set(authors(line)) for line in row["solution"].split("\n"))) for row in rows]
    assert len(rows) == oracle.SIZES["small"].answers
    assert sum(found == {"student"} or "teacher" not in found for found in authors_of) / len(rows) == pytest.approx(
        share, abs=0.08
    )
    asked = questions(**config["questions"]["train"]["source"]["world"], seed=0)
    assert [row["question"] for row in rows] == [row["question"] for row in asked]


def test_means_over_seeds_have_intervals_of_students_t(oracle):
    found = oracle.mean_of([0.9, 0.8, None, 1.0])
    assert (found["mean"], found["n"]) == (pytest.approx(0.9), 3)
    assert (found["low"], found["high"]) == (pytest.approx(0.9 - 4.303 * 0.1 / 3**0.5), 1.0)
    assert oracle.mean_of([0.9, 1.3], bounded=False)["high"] > 1
    assert oracle.mean_of([None])["mean"] is None


def test_each_form_that_is_replaced_is_the_teachers_and_no_two_of_a_training_stand_at_one_place(causal):
    replaced = [form for forms in causal.MODELS.values() for form in forms]
    assert len(set(replaced)) == len(replaced)
    assert set(replaced) == set(causal.MEANT)
    assert all(len({causal.MEANT[form] for form in forms}) == len(forms) for forms in causal.MODELS.values())


def test_what_is_replaced_is_said_as_the_student_would_and_the_rest_stays(causal):
    dials = {"paraphrase": causal.DIALS["paraphrase"]}
    rng, before, after = random.Random(0), [], []
    for row in questions("train", 300, (2, 3), 0, "teacher", **dials):
        lines = row["solution"].split("\n")
        again = causal.replaced(row["question"], row["solution"], ("step", "plan"), rng).split("\n")
        for old, new in zip(lines, again, strict=True):
            assert new == old or form_of(old) in ("step", "plan")
            assert "student" in authors(new, Dials(**causal.DIALS)) or form_of(old) not in ("step", "plan")
            assert " ".join(old.split()[1:4]) == " ".join(new.split()[1:4]) or form_of(old) != "step"
            before, after = [*before, form_of(old)], [*after, form_of(new)]
    # The student keeps the teacher's form as often as it has it itself: of those with paraphrases, in their share.
    assert after.count("step") / before.count("step") < causal.DIALS["overlap"]


def test_the_effect_is_the_share_by_which_a_form_is_written_less(causal):
    world = {"rates": {causal.FULL: {"step": 2.0, "row": 1.0, "aim": 0.0}, "without_plan": {"step": 0.5}}}
    assert causal.effect(world, "step", "without_plan") == 0.75
    assert causal.effect(world, "row", None) == 0.0
    assert causal.effect(world, "aim", "without_plan") is None


def test_a_rule_is_judged_by_the_sentences_of_forms_with_a_large_effect(causal):
    sentences = pl.DataFrame(
        {
            "form": ["step", "step", "row", "row", None],
            "p_teacher": [0.9, 0.5, 0.6, 0.5, 1.0],
            "p_student": [0.1, 0.45, 0.5, 0.5, 0.0],
            "p_distilled": [0.9, 0.9, 0.5, 0.5, 0.0],
        }
    )
    forms = [{"form": "step", "effect": {"mean": 0.9}}, {"form": "row", "effect": {"mean": 0.0}}]
    areas = {rule: causal.about_rule(rule, [{"sentences": sentences}], forms)["area"]["mean"] for rule in causal.RULES}
    assert areas["p_teacher - p_student"] == 0.75
    assert areas["p_distilled - p_student"] == areas["both"] == 1.0
    assert areas["Teacher, rule paper"] == areas["Teacher, rule raised"] == 0.75
    # The teacher finds one of the rows likelier, which the distilled model does not.
    assert areas["Teacher or Boosted, rule paper"] == 0.75
    assert areas["Teacher or Boosted, rule raised"] == 1.0
    unknown = [{"sentences": sentences.filter(pl.col("form").is_null())}]
    assert causal.about_rule("both", unknown, forms)["area"]["mean"] is None


# Where the students of each origin lie: lean to `first_on`, nearness to the family, nearness to `other`. The students
# of all siblings lean to `first_on`.
PLACES = {"first": (0.3, 0.8, 0.1), "first_on": (0.4, 0.8, 0.1), "first_again": (0.2, 0.8, 0.1)} | {
    "other": (0.0, 0.1, 0.8),
    "rewritten_as_student": (0.0, 0.0, 0.0),
    "rewritten_as_other": (0.0, 0.1, 0.8),
    "student": (0.0, 0.0, 0.0),
}


def made_up(siblings, seed: int):
    """Return a world in which students of one teacher differ by 0.01, and answers of one student by 0.1."""
    rng = np.random.default_rng(seed)
    world = siblings.World({}, {}, {})
    for author in ["student", *(f"{origin}.{number}" for origin, number in siblings.pupils())]:
        on, family, other = (place + rng.normal(0, 0.01) for place in PLACES[author.partition(".")[0]])
        sure = {"first": 0.0, "first_on": on, "first_again": -on, "other": other - family}
        near = {name: other if name == "other" else family for name in siblings.TEACHERS}
        for teacher in siblings.TEACHERS:
            world.nearness[author, teacher] = near[teacher] + rng.normal(0, 0.1, 100)
            world.losses[author, teacher] = 3 - near[teacher] + rng.normal(0, 0.1, 100)
        for one, two in siblings.PAIRS:
            world.leans[author, one, two] = sure[one] - sure[two] + rng.normal(0, 0.1, 100)
    return world


def test_one_name_is_wrong_for_students_of_siblings_and_sets_are_not(siblings):
    worlds = {seed: made_up(siblings, seed) for seed in range(2)}

    def rates(scenario: str, test: str) -> tuple[float, ...]:
        row = siblings.measured(worlds, scenario, test, 50)
        assert row["cases"] == 2 * row["students"]  # of 50 questions each
        assert row["wrong_low"] <= row["wrong"] <= row["wrong_high"]
        return tuple(row[name] for name in ("excluded", "wrong", "found", "named"))

    assert rates("trained on", "one name") == (0.5, 0.5, 0.5, 1)
    assert rates("trained on", "leans") == rates("trained on", "distilldetect") == (0, 0, 0, 2)
    excluded, _, found, _ = rates("trained on", "references")
    assert excluded <= 0.15
    assert found >= 0.75
    assert rates("unrelated", "leans") == (0, 0, 1, 1)
    assert rates("rewritten as other", "leans") == (1, 1, 0, 1)
    assert rates("of the student itself", "references") == (0, 0, 0, 0)
    assert rates("sibling absent", "leans") == (0, 1, 0, 1)


def test_a_case_asks_about_one_student_and_no_question_is_in_two(siblings):
    world = made_up(siblings, 0)
    found = list(siblings.cases(world, siblings.SCENARIOS["trained on"], 30))
    assert len(found) == 2 * siblings.STUDENTS * (100 // 30)
    mine = [case.questions for case in found if case.suspect == "first_on.2"]
    assert sorted(np.concatenate(mine)) == list(range(90))
    assert {case.truth for case in found} == {"first", "first_on"}


@pytest.fixture(scope="module")
def without_notes():
    return script("without_notes")


def test_the_effect_of_notes_is_the_share_by_which_they_become_rarer_without_them(without_notes):
    noted, plain = "3+4 = <<3+4=7>>7 and <<7+1=8>>8\n#### 8", "3+4 = 7\n#### 7"
    answers = {
        without_notes.RUN: [[noted, noted], [noted, plain]],
        without_notes.WITHOUT: [[plain, plain], [plain, plain.replace("7", "<<7>>")]],
    }
    probabilities = {"p_teacher": [0.9, 0.5], "p_student": [0.1, 0.5], "p_distilled": [0.9, 0.9]}
    labelled = pl.DataFrame({"text": noted.split("\n"), **probabilities})
    note, line = (without_notes.about_form(form, answers, labelled) for form in ("note", "answer_line"))
    assert [note["in an answer"]["mean"], note["without notes"]["mean"]] == [1.5, 0.5]
    assert note["effect"]["mean"] == pytest.approx((1 + (1 - 1 / 1)) / 2)
    assert [note["sentences"], note["Teacher, rule paper"]] == [1, 1.0]
    assert line["effect"]["mean"] == 0
    assert [line["Teacher, rule paper"], line["Teacher or Boosted, rule raised"]] == [0.0, 1.0]


def test_notes_are_taken_out_of_responses_and_nothing_else(without_notes):
    assert without_notes.NOTE.sub("", "3+4 = <<3+4=7>>7 < 8 << 9") == "3+4 = 7 < 8 << 9"


def test_the_models_with_and_without_notes_are_planned_for_each_seed(without_notes):
    plan = load_plan(without_notes.config_of([0, 1, 2]))
    assert list(plan.distilled) == [without_notes.distilled(without_notes.RUN, seed) for seed in (0, 1, 2)]
