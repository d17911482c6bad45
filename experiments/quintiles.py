"""Find what a response is worth by its score: train students on the quintiles of each, in the worlds of strategies.py.

    python experiments/quintiles.py --folder FOLDER [--seeds 0 1 2 3 4] [--scores teacher_count longest grape]
        [--dials filler=0.4 overlap=0.3] [--cores 1]

`FOLDER` is that of a finished run of `strategies.py` with the same dials. docs/experiments.md says how to read the
table.
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from oracle import add_distilled, copied, mean_of
from seeds import print_results, run_seed
from strategies import dial, folder_of

from distrace import kinds
from distrace.measures.scores import SCORES
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, load_plan, ranking_path

QUINTILES = 5
RUN = "every"


def main() -> None:
    """Train and test the students of every seed, unless that is done; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="of a finished run of strategies.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=["teacher_count", "longest", "grape"])
    parser.add_argument("--dials", nargs="+", type=dial, default=[], metavar="DIAL=VALUE")
    parser.add_argument("--cores", default="1")
    options = parser.parse_args()
    os.environ.setdefault("DISTRACE_STORE", str(options.folder.resolve() / "store"))
    found = []
    for seed in options.seeds:
        folder = folder_of(options.folder, seed, dict(options.dials))
        found += accuracies(folder, options.scores, options.cores)
    rows = [about_score(score, [row for row in found if row["score"] == score]) for score in options.scores]
    print_results(rows, table=[as_text(row) for row in rows], seeds=options.seeds, dials=options.dials)


def accuracies(folder: Path, scores: list[str], cores: str) -> list[dict]:
    """Return how often the student of each quintile of each score is right, in the world of a finished run."""
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    run = folder.with_name(f"{folder.name}-quintiles")
    students = add_students(config, run.resolve(), scored_candidates(folder, load_plan(copied(config))), scores)
    plan = load_plan(copied(config))
    grades = {name: plan.rollouts_parts("grades", RolloutSet(name, "test", "answer")) for name in students}
    run_seed(run, config, cores, list(grades.values()))
    for name, path in grades.items():
        correct = open_parts(run / path, kinds.GRADES).read("correct")["correct"]
        students[name]["accuracy"] = correct.mean()
    return list(students.values())


def add_students(config: dict, run: Path, candidates: pl.DataFrame, scores: list[str]) -> dict[str, dict]:
    """Put a student of each quintile of each score in place of the runs of a config; return what each is, by name."""
    config["runs"], students = {}, {}
    for score in scores:
        for quintile, rows in enumerate(quintiles(candidates, score), start=1):
            name = f"{score}_{quintile}"
            students[name] = {"score": score, "quintile": quintile, "seed": config["seed"]}
            students[name]["tokens"] = rows["tokens"].sum()
            add_distilled(config, name, run, rows.select("question", "answer", "solution").to_dicts())
    return students


def scored_candidates(folder: Path, plan: Plan) -> pl.DataFrame:
    """Return the teacher's candidates with their questions, answers and scores."""
    [rollouts] = plan.all_candidates(RUN)
    texts = open_parts(folder / plan.rollouts_parts("rollouts", rollouts), kinds.ROLLOUTS)
    asked = open_parts(folder / plan.questions_parts(rollouts.questions), kinds.QUESTIONS)
    ranked = open_parts(folder / ranking_path(RUN, rollouts), kinds.RANKING).read()
    written = texts.read("rollout_id", "text").rename({"text": "solution"})
    return ranked.join(written, on="rollout_id").join(asked.read("question_id", "question", "answer"), on="question_id")


def quintiles(candidates: pl.DataFrame, score: str) -> list[pl.DataFrame]:
    """Return the candidates in five equal groups by a score, the ones that it would take last first.

    Ties are in the order of ids, which says nothing. Candidates without the score are left out.
    """
    known = candidates.drop_nulls(score).sort(score, "rollout_id", descending=[SCORES[score].pick == "lowest", False])
    ends = np.linspace(0, len(known), QUINTILES + 1).round().astype(int)
    return [known[start:end] for start, end in pairwise(ends.tolist())]


def about_score(score: str, rows: list[dict]) -> dict:
    """Return accuracy and tokens of each quintile, means over seeds, and the accuracy's rank correlation with it."""
    found: dict = {"score": score, "seeds": len({row["seed"] for row in rows})}
    for quintile in range(1, QUINTILES + 1):
        mine = [row for row in rows if row["quintile"] == quintile]
        found[f"tokens {quintile}"] = float(np.mean([row["tokens"] for row in mine]))
        found[f"accuracy {quintile}"] = mean_of([row["accuracy"] for row in mine])
    by_seed = pl.DataFrame(rows).group_by("seed").agg(pl.corr("quintile", "accuracy", method="spearman"))
    return found | {"correlation": mean_of(by_seed["quintile"].fill_nan(None).to_list(), bounded=False)}


def as_text(row: dict) -> dict:
    """Return a row for the table: accuracies in per cent, the correlation with its interval."""
    shown = {"score": row["score"], "seeds": row["seeds"]}
    for quintile in range(1, QUINTILES + 1):
        mean, tokens = row[f"accuracy {quintile}"]["mean"], row[f"tokens {quintile}"]
        shown[f"quintile {quintile}"] = f"{100 * mean:.1f} ({tokens:,.0f} tokens)"
    found = row["correlation"]
    unknown = found["mean"] is None
    return shown | {"correlation": "-" if unknown else "{mean:.2f} ({low:.2f} to {high:.2f})".format(**found)}


if __name__ == "__main__":
    main()
