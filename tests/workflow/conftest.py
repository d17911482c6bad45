"""The workflow, run for real on the smallest config, once for all tests of this folder."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "config.yaml"


def snakemake(folder: Path, *options: str) -> str:
    """Run snakemake in a folder that holds a config.yaml; give all it printed, or fail with it."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    found = subprocess.run(
        [*command, "--workflow-profile", str(ROOT / "profiles/default"), "--directory", str(folder), *options],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6000:]
    return found.stdout


def planned_jobs(folder: Path) -> list[tuple[str, str]]:
    """Give rule and first output of each job that a dry run would start."""
    printed = snakemake(folder, "--dry-run")
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


@pytest.fixture(scope="session")
def config() -> dict:
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config) -> Path:
    """A folder in which the workflow has run to its report; tests must not change it."""
    folder = new_folder(tmp_path_factory.mktemp("workflow") / "finished", config)
    snakemake(folder)
    return folder


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    """A copy of the finished folder, for tests that change it."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))
