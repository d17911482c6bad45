"""What another teacher costs in a finished project, beyond the work of its own jobs.

    python benchmarks/another_teacher.py --folder FOLDER [--config tests/workflow/config.yaml] [--pairs 3]

It finishes the project of the config in FOLDER, if it is not finished, and adds the config's `other_teacher` to its run
in copies of it: `workflow` runs Snakemake on one core, `plain` the shell commands that Snakemake ran, one after the
other, without it. `start` is what Snakemake takes to find nothing to do. The JSON line comes last; its `ratio` is the
median of (workflow - start) / plain.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
PROFILE = ["--workflow-profile", str(ROOT / "profiles/default")]
# What the rules set for their jobs.
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT / "workflow"),
    "GOMP_SPINCOUNT": "6000",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}


def main() -> None:
    """Measure and print, the JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the project is, or will be")
    parser.add_argument("--config", type=Path, default=ROOT / "tests/workflow/config.yaml")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    finished = options.folder / "finished"
    finished.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.config, finished / "config.yaml")
    snakemake(finished)
    found = [pair(finished, options.folder) for _ in range(options.pairs)]
    ratios = [(one["workflow"] - one["start"]) / one["plain"] for one in found]
    print(json.dumps({"pairs": found, "ratio": round(statistics.median(ratios), 3)}))


def pair(finished: Path, folder: Path) -> dict[str, float]:
    """Return the seconds of another teacher with Snakemake and without it, those of nothing to do, and the jobs."""
    start, _ = timed(lambda: snakemake(finished))
    workflow, printed = timed(lambda: snakemake(with_other_teacher(finished, folder / "workflow")))
    commands = re.findall(r"^Shell command: (?!None$)(.*)$", printed, re.MULTILINE)  # of `all` there is none
    copy = with_other_teacher(finished, folder / "plain")
    plain, _ = timed(lambda: run_plainly(commands, copy))
    one = {"jobs": len(commands), "workflow": round(workflow, 1), "plain": round(plain, 1), "start": round(start, 1)}
    print(one, flush=True)
    return one


def with_other_teacher(finished: Path, copy: Path) -> Path:
    """Return a copy of a finished project whose run has another teacher."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(finished, copy, symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text("utf-8"))
    config["runs"]["main"]["teachers"].append("other_teacher")
    (copy / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return copy


def snakemake(folder: Path) -> str:
    """Run the workflow in a folder; return what it printed."""
    command = [*SNAKEMAKE, *PROFILE, "--directory", str(folder), "--printshellcmds"]
    return subprocess.run(command, cwd=ROOT, text=True, check=True, stdout=-1, stderr=subprocess.STDOUT).stdout


def run_plainly(commands: list[str], folder: Path) -> None:
    """Run shell commands one after the other."""
    for command in commands:
        for log in re.findall(r"tee (\S+)", command):
            (folder / log).parent.mkdir(parents=True, exist_ok=True)
        shell = ["bash", "-c", f"set -euo pipefail; {command}"]
        subprocess.run(shell, cwd=folder, env=os.environ | ENVIRONMENT, check=True, capture_output=True)


def timed(work: Callable[[], str | None]) -> tuple[float, str]:
    """Return the seconds that some work takes, and what it returns."""
    began = time.perf_counter()
    printed = work()
    return time.perf_counter() - began, printed or ""


if __name__ == "__main__":
    main()
