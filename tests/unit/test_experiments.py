"""The scripts of `experiments/`: what they ask of the workflow, and what they make of its results."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from distrace.plan import load_plan

ROOT = Path(__file__).parents[2]
SEEDS, QUESTIONS = 3, 40


@pytest.fixture(scope="module")
def strategies():
    sys.path.insert(0, str(ROOT / "experiments"))
    import strategies

    sys.path.remove(str(ROOT / "experiments"))
    return strategies


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
