"""Compare the selection strategies in the world, over several seeds: worlds, models and samples all differ.

    python experiments/strategies.py --folder FOLDER [--seeds 0 1 2 3 4] [--cores 2]

docs/experiments.md says what it compares and how to read it.
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from seeds import ROOT, print_results, run_seed

from distrace import kinds
from distrace.parts import open_parts
from distrace.plan import Plan

STRATEGIES = ["teacher_count", "length_matched", "longest", "random", "grape"]
# With this share of the questions, teacher_count trains on about as many tokens as random does on all.
FEWER = 0.81
BASELINE = "random"
LEADER = "teacher_count"
# 97.5 % points of Student's t, for 2 to 10 seeds.
T_POINTS = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def main() -> None:
    """Run every seed in its own folder; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    if not 2 <= len(options.seeds) <= len(T_POINTS) + 1:
        parser.error(f"give 2 to {len(T_POINTS) + 1} seeds: the intervals are over seeds")
    folders = {seed: options.folder / f"seed-{seed}" for seed in options.seeds}
    plans = {folder: run_seed(folder, config_of(seed), options.cores) for seed, folder in folders.items()}
    found = pl.concat([accuracies(folder, plan) for folder, plan in plans.items()])
    sets = found.group_by("questions", maintain_order=True)
    rows = [row for (questions,), table in sets for row in compared(questions, table)]
    print_results(rows, seeds=options.seeds)


def config_of(seed: int) -> dict:
    """Return the default config with all strategies, and teacher_count on about as many tokens as random has."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["seed"] = seed
    fewer = copy.deepcopy(config["questions"]["train"])
    fewer["source"]["world"]["count"] = round(FEWER * fewer["source"]["world"]["count"])
    config["questions"]["train_fewer"] = fewer
    every = config["runs"]["main"] | {"strategies": STRATEGIES, "trace": []}
    same_tokens = every | {
        "candidates": every["candidates"] | {"questions": "train_fewer"},
        "strategies": ["teacher_count"],
    }
    config["runs"] = {"every": every, "same_tokens": same_tokens}
    return config


def accuracies(folder: Path, plan: Plan) -> pl.DataFrame:
    """Return the accuracy of every model on every set of questions and, for distilled models, their training tokens."""
    rows = []
    for run_name in plan.config["runs"]:
        for rollouts in plan.tests(run_name):
            grades = open_parts(folder / plan.rollouts_parts("grades", rollouts), kinds.GRADES).read("correct")
            model = plan.distilled.get(rollouts.author)
            name = f"{run_name} {model.strategy}" if model else rollouts.author
            rows.append(
                {
                    "seed": plan.config["seed"],
                    "questions": rollouts.questions,
                    "model": name,
                    "accuracy": grades["correct"].mean(),
                    "training_tokens": training_tokens(folder, plan, run_name, model) if model else None,
                }
            )
    return pl.DataFrame(rows).unique(maintain_order=True)


def training_tokens(folder: Path, plan: Plan, run_name: str, model) -> float:
    """Return the tokens, under the student's tokenizer, of all responses that a distilled model was trained on."""
    numbers = json.loads((folder / "results/report/numbers.json").read_text())
    [selection] = [s for s in numbers["runs"][run_name]["selections"] if s["strategy"] == model.strategy]
    return selection["mean_longest"] * selection["selected"]


def compared(questions: str, found: pl.DataFrame) -> list[dict]:
    """Return for each model its accuracy, its gain over random and how far it is behind teacher_count, by seed."""
    wide = {model: rows.sort("seed") for (model,), rows in found.group_by("model", maintain_order=True)}
    baseline, leader = (wide[f"every {strategy}"]["accuracy"].to_numpy() for strategy in (BASELINE, LEADER))
    rows = []
    for model, table in wide.items():
        accuracy = table["accuracy"].to_numpy()
        rows.append(
            {
                "questions": questions,
                "model": model,
                "seeds": len(accuracy),
                "training_tokens": table["training_tokens"].mean(),
                **interval("accuracy", accuracy),
                **interval("gain", accuracy - baseline),
                "seeds_with_gain": int((accuracy > baseline).sum()),
                **interval("behind", leader - accuracy),
                "seeds_behind": int((leader > accuracy).sum()),
            }
        )
    return rows


def interval(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the mean of the values (one per seed) and its 95 % interval by Student's t."""
    half = T_POINTS[len(values) - 2] * values.std(ddof=1) / np.sqrt(len(values))
    return {name: values.mean(), f"{name}_low": values.mean() - half, f"{name}_high": values.mean() + half}


if __name__ == "__main__":
    main()
