"""Compare all selection scores in the world, over several seeds: worlds, models and samples all differ.

    python experiments/strategies.py --folder FOLDER [--seeds 0 1 2 3 4] [--scores grape ..] [--questions 1000]

docs/experiments.md says what it compares and how to read it.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from seeds import ROOT, print_results, run_seed

from distrace import kinds
from distrace.measures.scores import SCORES
from distrace.parts import open_parts
from distrace.plan import Plan

BASELINE = "random"
LEADER = "teacher_count"
TWIN = "like_"  # and a score: another response of about the length of the one that the score takes
# 97.5 % points of Student's t, for 2 to 10 seeds.
T_POINTS = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def main() -> None:
    """Run every seed in its own folder; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=list(SCORES), help="all, by default")
    parser.add_argument("--questions", type=int, default=1000, help="to train on")
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    if not 1 <= len(options.seeds) <= len(T_POINTS) + 1:
        parser.error(f"give 1 to {len(T_POINTS) + 1} seeds; the intervals, over seeds, need 2")
    # Selections that are the same, such as of two scores of one order, then train one model for both.
    os.environ.setdefault("DISTRACE_STORE", str(options.folder.resolve() / "store"))
    scores = list(dict.fromkeys([LEADER, BASELINE, *options.scores]))
    folders = {seed: options.folder / f"seed-{seed}" for seed in options.seeds}
    plans = {
        folder: run_seed(folder, config_of(seed, scores, options.questions), options.cores)
        for seed, folder in folders.items()
    }
    found = pl.concat([accuracies(folder, plan) for folder, plan in plans.items()])
    rows = [row for (run,), table in found.group_by("run", maintain_order=True) for row in compared(run, table)]
    print_results(rows, table=[as_text(row) for row in rows], seeds=options.seeds, questions=options.questions)


def config_of(seed: int, scores: list[str], questions: int) -> dict:
    """Return the default config with each score as a strategy, with its twin, and with each on as many tokens."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["seed"] = seed
    config["questions"]["train"]["source"]["world"]["count"] = questions
    del config["questions"]["test_longer"]
    twins = {TWIN + score: {"length_matched_to": score} for score in scores if score != BASELINE}
    config["strategies"] = twins
    run = config["runs"]["main"] | {"trace": [], "test": {"questions": ["test"], "sampling": "answer"}}
    config["runs"] = {
        "every": run | {"strategies": [*scores, *twins]},
        "same_tokens": run | {"strategies": scores, "equal": "tokens"},
    }
    return config


def accuracies(folder: Path, plan: Plan) -> pl.DataFrame:
    """Return the accuracy of every model of every run and, for distilled models, what they were trained on."""
    rows = []
    numbers = json.loads((folder / "results/report/numbers.json").read_text())
    for run in plan.config["runs"]:
        selections = {selection["strategy"]: selection for selection in numbers["runs"][run]["selections"]}
        for rollouts in plan.tests(run):
            grades = open_parts(folder / plan.rollouts_parts("grades", rollouts), kinds.GRADES).read("correct")
            model = plan.distilled.get(rollouts.author)
            selection = selections[model.strategy] if model else None
            rows.append(
                {
                    "seed": plan.config["seed"],
                    "run": run,
                    "model": model.strategy if model else rollouts.author,
                    "accuracy": grades["correct"].mean(),
                    "responses": selection and selection["selected"],
                    "tokens": selection and selection["mean_longest"] * selection["selected"],
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def compared(run: str, found: pl.DataFrame) -> list[dict]:
    """Return, for each model of a run, its accuracy, and by how much it is above others on the same seeds."""
    by_model = {model: table.sort("seed") for (model,), table in found.group_by("model", maintain_order=True)}
    accuracy = {model: table["accuracy"].to_numpy() for model, table in by_model.items()}
    rows = []
    for model, table in by_model.items():
        others = {"random": BASELINE, "teacher_count": LEADER, "twin": TWIN + model}
        row = {"run": run, "model": model, "seeds": len(table)}
        row |= {what: table[what].mean() for what in ("responses", "tokens")} | interval("accuracy", accuracy[model])
        for name, other in others.items():
            above = accuracy[model] - accuracy[other] if other in accuracy and other != model else None
            row |= interval(f"above_{name}", above)
            row[f"seeds_above_{name}"] = None if above is None else int((above > 0).sum())
        rows.append(row)
    return rows


def interval(name: str, values: np.ndarray | None) -> dict[str, float | None]:
    """Return the mean of the values (one per seed) and its 95 % interval by Student's t, null of a single seed."""
    names = (name, f"{name}_low", f"{name}_high")
    if values is None:
        return dict.fromkeys(names)
    mean = float(values.mean())
    if len(values) == 1:
        return dict(zip(names, (mean, None, None), strict=True))
    half = float(T_POINTS[len(values) - 2] * values.std(ddof=1) / np.sqrt(len(values)))
    return dict(zip(names, (mean, mean - half, mean + half), strict=True))


def as_text(row: dict) -> dict:
    """Return a row for the table, accuracies and their differences in per cent with their intervals."""
    shown = {name: row[name] for name in ("run", "model", "responses", "tokens")}
    for name in ("accuracy", "above_random", "above_teacher_count", "above_twin"):
        mean, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
        shown[name] = "" if mean is None else f"{100 * mean:.1f}"
        shown[name] += "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return shown


if __name__ == "__main__":
    main()
