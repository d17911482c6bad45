"""Compare all selection scores in the world, over several seeds: worlds, models and samples all differ.

    python experiments/strategies.py --folder FOLDER [--seeds 0 1 2 3 4] [--scores grape ..] [--runs every]
        [--questions 1000] [--test-questions 300] [--dials filler=0.4 overlap=0.3]

docs/experiments.md says what it compares and how to read it.
"""

import argparse
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from seeds import BASES, ROOT, print_results, run_seed, turn

from distrace import kinds
from distrace.measures.comparisons import interval, p_value, questions_needed, resampled_means
from distrace.measures.scores import SCORES
from distrace.measures.statistics import holm
from distrace.parts import open_parts
from distrace.plan import Plan, model_path
from distrace.world import DIALS

BASELINE = "random"
LEADER = "teacher_count"
TWIN = "like_"  # and a score: another response of about the length of the one that the score takes
RUNS = ("every", "same_tokens")

# Of each model: its scores [seeds, questions], and its mean in each resample of these.
Models = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Run every seed in its own folder; print the table, then the JSON line."""
    options = _options()
    # Selections that are the same, such as of two scores of one order, then train one model for both.
    os.environ.setdefault("DISTRACE_STORE", str(options.folder.resolve() / "store"))
    scores = list(dict.fromkeys([LEADER, BASELINE, *options.scores]))
    plans = {}
    for seed in options.seeds:
        config = config_of(seed, scores, options.questions, options.test_questions, options.runs)
        if dials := dict(options.dials):
            zero = options.folder.resolve() / f"seed-{seed}-models"
            run_seed(zero, config, options.cores, list(map(model_path, BASES)))
            turn(config, dials, zero)
        folder = folder_of(options.folder, seed, dials)
        plans[folder] = run_seed(folder, config, options.cores)
    found = pl.concat([graded(folder, plan) for folder, plan in plans.items()])
    rows = [row for (run,), table in found.group_by("run", maintain_order=True) for row in compared(run, table)]
    about = {name: getattr(options, name) for name in ("seeds", "questions", "test_questions", "dials")}
    print_results(rows, table=[as_text(row) for row in rows], **about)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=list(SCORES), help="all, by default")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="both, by default")
    parser.add_argument("--questions", type=int, default=1000, help="to train on")
    parser.add_argument("--test-questions", type=int, default=300)
    parser.add_argument("--dials", nargs="+", type=dial, default=[], metavar="DIAL=VALUE", help="none, by default")
    parser.add_argument("--cores", default="all")
    return parser.parse_args()


def dial(text: str) -> tuple[str, float]:
    """Return name and value of a dial of the world, written as `filler=0.4`."""
    name, _, value = text.partition("=")
    if name not in DIALS:
        raise argparse.ArgumentTypeError(f"{name!r} is no dial of the world: {', '.join(DIALS)}")
    return name, float(value)


def folder_of(folder: Path, seed: int, dials: Mapping[str, float]) -> Path:
    """Return where the run of a seed goes."""
    return folder / "-".join([*(f"{dial}-{value}" for dial, value in dials.items()), f"seed-{seed}"])


def config_of(seed: int, scores: list[str], questions: int, test_questions: int, runs: Sequence[str] = RUNS) -> dict:
    """Return the default config with each score as a strategy, with its twin, and with each on as many tokens."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["seed"] = seed
    config["questions"]["train"]["source"]["world"]["count"] = questions
    config["questions"]["test"]["source"]["world"]["count"] = test_questions
    del config["questions"]["test_longer"]
    twins = {TWIN + score: {"length_matched_to": score} for score in scores if score != BASELINE}
    config["strategies"] = twins
    run = config["runs"]["main"] | {"trace": [], "test": {"questions": ["test"], "sampling": "answer"}}
    every = {
        "every": run | {"strategies": [*scores, *twins]},
        "same_tokens": run | {"strategies": scores, "equal": "tokens"},
    }
    config["runs"] = {name: every[name] for name in runs}
    return config


def graded(folder: Path, plan: Plan) -> pl.DataFrame:
    """Return a row for every model of every run: its grades, by question, and what it was trained on, if it was."""
    rows = []
    numbers = json.loads((folder / "results/report/numbers.json").read_text())
    for run in plan.config["runs"]:
        selections = {selection["strategy"]: selection for selection in numbers["runs"][run]["selections"]}
        for rollouts in plan.tests(run):
            grades = open_parts(folder / plan.rollouts_parts("grades", rollouts), kinds.GRADES)
            model = plan.distilled.get(rollouts.author)
            selection = selections[model.strategy] if model else None
            rows.append(
                {
                    "seed": plan.config["seed"],
                    "run": run,
                    "model": model.strategy if model else rollouts.author,
                    "correct": grades.read("question_id", "correct").sort("question_id")["correct"].to_list(),
                    "responses": selection and selection["selected"],
                    "tokens": selection and selection["mean_longest"] * selection["selected"],
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def compared(run: str, found: pl.DataFrame) -> list[dict]:
    """Return, for each model of a run, its accuracy, and by how much it is above others on the same seeds.

    Intervals and p-values are those of `measures/comparisons.py`. There, seeds share their questions; here, each world
    has its own, and the i-th of each count as one, which leaves the variance of a mean as it is. p-values are adjusted
    for all differences of the run by Holm's method, a pair of models counted once.
    """
    tables = {model: table.sort("seed") for (model,), table in found.group_by("model", maintain_order=True)}
    scores = np.array([table["correct"].to_list() for table in tables.values()], float)  # [models, seeds, questions]
    draws = resampled_means(scores)
    of = {model: (scores[n], draws[:, n]) for n, model in enumerate(tables)}
    pairs = sorted({_pair(model, other) for model in of for other in _others(model, of).values()})
    p_values = dict(zip(pairs, holm([_p_value(of, *pair) for pair in pairs]), strict=True))
    rows = []
    for model, table in tables.items():
        row = {"run": run, "model": model, "seeds": len(table)}
        row |= {what: table[what].mean() for what in ("responses", "tokens")} | _columns("accuracy", *of[model])
        others = _others(model, of)
        for name in ("random", "teacher_count", "twin"):
            above = _above(of, model, others[name]) if name in others else (None, None)
            row |= _columns(f"above_{name}", *above)
            row[f"seeds_above_{name}"] = None if above[0] is None else int((above[0].mean(1) > 0).sum())
            row[f"p_{name}"] = p_values.get(_pair(model, others.get(name, model)))
        random = others.get("random")
        row["questions_needed"] = questions_needed(_above(of, model, random)[0].ravel()) if random else None
        rows.append(row)
    return rows


def _others(model: str, known: Collection[str]) -> dict[str, str]:
    """Return the models that one is compared with: `random`, `teacher_count` and its twin, where there are such."""
    others = {"random": BASELINE, "teacher_count": LEADER, "twin": TWIN + model}
    return {name: other for name, other in others.items() if other in known and other != model}


def _pair(one: str, other: str) -> tuple[str, str]:
    return min(one, other), max(one, other)


def _above(of: Models, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of one model minus those of another [seeds, questions], and the same of resampled means."""
    (scores, draws), (other_scores, other_draws) = of[one], of[other]
    return scores - other_scores, draws - other_draws


def _p_value(of: Models, one: str, other: str) -> float:
    p = p_value(*_above(of, one, other))
    return 1.0 if p is None else p  # of a single test question


def _columns(name: str, scores: np.ndarray | None, draws: np.ndarray | None) -> dict[str, float | None]:
    """Return the mean of scores and its interval, as columns of that name; nulls where there are none."""
    names = (name, f"{name}_low", f"{name}_high")
    if scores is None or draws is None:
        return dict.fromkeys(names)
    found = interval(scores.mean(), draws, scores.shape[1])
    return dict(zip(names, (found.mean, found.low, found.high), strict=True))


def as_text(row: dict) -> dict:
    """Return a row for the table, accuracies and their differences in per cent with their intervals."""
    shown = {name: row[name] for name in ("run", "model", "responses", "tokens")}
    for name in ("accuracy", "above_random", "above_teacher_count", "above_twin"):
        mean, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
        shown[name] = "" if mean is None else f"{100 * mean:.1f}"
        shown[name] += "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return shown | {"questions_needed": row["questions_needed"]}


if __name__ == "__main__":
    main()
