"""Measure in several worlds how often the test "which teacher was it?" is wrong, and how often it finds the teacher.

    python experiments/which_teacher.py --folder FOLDER [--seeds 0 1 2 3] [--cores 2]

docs/experiments.md says what the cases are and how to read the table.
"""

import argparse
from pathlib import Path

import numpy as np
import yaml
from seeds import ROOT, print_results, run_seed

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.leans import MARGIN, lean_differences
from distrace.measures.statistics import p_value_beyond
from distrace.plan import attribution_path

CONFIG = ROOT / "examples" / "which-teacher" / "config.yaml"
NOMINAL = 0.05
# Where the lean of each run's distilled model should move: to the first teacher (+1), the second (-1), neither (0).
TRUTH = {"of_a": 1, "of_b": -1, "of_neither": 0}
_Z = 1.96  # of a 95 % interval


def main() -> None:
    """Run the example with every seed in its own folder; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--questions", type=int, nargs="+", default=[10, 25, 50, 100, 2000], help="in one case")
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    worlds = [differences(options.folder / f"seed-{seed}", seed, options.cores) for seed in options.seeds]
    rows = [measured(worlds, run, size) for run in TRUTH for size in options.questions]
    print_results(rows, seeds=options.seeds, nominal=NOMINAL)


def differences(folder: Path, seed: int, cores: str) -> dict[str, np.ndarray]:
    """Run the workflow of a seed, unless it is finished; return each run's differences in lean [questions]."""
    plan = run_seed(folder, yaml.safe_load(CONFIG.read_text()) | {"seed": seed}, cores)
    found = {}
    for run in TRUTH:
        [rollouts] = plan.attributed(run)
        found[run] = lean_differences(open_artifact(folder / attribution_path(run, rollouts), kinds.ATTRIBUTION).read())
    return found


def measured(worlds: list[dict[str, np.ndarray]], run: str, size: int) -> dict:
    """Return the shares of cases in which the test names the right teacher, and a wrong one (any, if it was neither).

    A case is `size` questions of one world; no two cases share a question, so each is a fresh sample of questions.
    """
    verdicts = np.array([verdict(case) for world in worlds for case in cases(world[run], size)])
    wrong = (verdicts != 0) & (verdicts != TRUTH[run])
    right = (verdicts == TRUTH[run]) if TRUTH[run] else None
    low, high = wilson(int(wrong.sum()), len(wrong))
    return {
        "run": run,
        "questions": size,
        "cases": len(verdicts),
        "power": None if right is None else float(right.mean()),
        "wrong": float(wrong.mean()),
        "wrong_low": low,
        "wrong_high": high,
        "moved": float(np.mean([world[run].mean() for world in worlds])),
    }


def cases(values: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the values cut into as many whole cases of `size` as there are; the questions are in random order."""
    whole = len(values) - len(values) % size
    return np.split(values[:whole], whole // size)


def verdict(case: np.ndarray) -> int:
    """Return the sign of the mean difference if its p-value is below the nominal level, else 0."""
    return int(np.sign(case.mean())) if p_value_beyond(case, MARGIN) < NOMINAL else 0


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of the share hits / n (Wilson 1927)."""
    centre, spread = hits / n + _Z**2 / (2 * n), _Z * np.sqrt(hits / n * (1 - hits / n) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return max(0.0, float((centre - spread) / scale)), float((centre + spread) / scale)


if __name__ == "__main__":
    main()
