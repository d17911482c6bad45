"""Runs of the workflow in folders of their own, for tests."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def command(folder: Path, *options: str) -> list[str]:
    """Return the words that run the workflow in a folder that holds a config.yaml."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    return [*snakemake, "--workflow-profile", str(ROOT / "profiles/default"), "--directory", str(folder), *options]


def snakemake(folder: Path, *options: str) -> str:
    """Run snakemake in a folder that holds a config.yaml; return all it printed, or fail with it.

    A dry run lists every job with its inputs and outputs, unless it is asked to be `--quiet`.
    """
    if "--dry-run" in options and "--quiet" not in options:
        options = (*options, "--printshellcmds")
    found = subprocess.run(
        command(folder, *options),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6000:]
    return found.stdout


def planned_jobs(folder: Path, *targets: str) -> list[tuple[str, str]]:
    """Return rule and first output of each job that a dry run, for these targets or for all, would start."""
    printed = snakemake(folder, "--dry-run", *targets)
    if "Nothing to be done" in printed:
        return []
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(?:    input: .*\n)?    output: ([^,\n]+)", printed, re.MULTILINE)
    assert jobs, printed
    return jobs


def new_folder(path: Path, config: dict) -> Path:
    """Make a folder for a run with this config."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    return path
