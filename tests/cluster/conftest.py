"""A toy Slurm for the tests of this folder, and runs of Snakemake on it with the profile that we ship."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import toy_slurm
from snakemake_runs import ROOT

# The first look at jobs after 6 seconds, the next ones after 16, 26...: these jobs are short.
QUICK = ["--slurm-init-seconds-before-status-checks", "6"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The folder of a running toy Slurm; the tests fail at once where it cannot run."""
    if problem := toy_slurm.missing():
        pytest.exit(problem, returncode=1)
    folder = tmp_path_factory.mktemp("slurm")
    toy_slurm.start(folder)
    yield folder
    toy_slurm.stop(folder)


class Cluster:
    """The toy Slurm and one working folder on it."""

    def __init__(self, slurm: Path, folder: Path):
        self.folder, self.environment = folder, toy_slurm.environment(slurm)
        self.started: list[subprocess.Popen] = []

    def call(self, *command: str) -> str:
        """Return what a program of Slurm prints."""
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, check=True).stdout

    def start(
        self, *options: str, snakefile: Path = ROOT / "Snakefile", profile: Path = ROOT / "profiles/slurm"
    ) -> subprocess.Popen:
        """Start Snakemake with the shipped profiles; its output goes to `printed`, after what is there."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(self.folder)]
        profiles = ["--profile", str(profile), "--workflow-profile", str(ROOT / "profiles/default")]
        with (self.folder / "printed").open("a") as printed:
            process = subprocess.Popen(
                [*command, *profiles, *QUICK, *options],
                cwd=self.folder,
                env=self.environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def run(self, *options: str, status: int = 0, **places: Path) -> str:
        """Run Snakemake to its end, which must have this exit status; return all that was printed."""
        found = self.start(*options, **places).wait(timeout=1500)
        assert found == status, self.printed[-6000:]
        return self.printed

    @property
    def printed(self) -> str:
        return (self.folder / "printed").read_text()

    def jobs(self) -> list[dict[str, str]]:
        """Return what Slurm knows of the jobs of this folder, oldest first."""
        lines = self.call("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(pair.partition("=")[::2] for pair in line.split()) for line in lines if "JobId=" in line]
        mine = [job for job in found if job["WorkDir"] == str(self.folder)]
        return sorted(mine, key=lambda job: int(job["JobId"]))

    def wait_for(self, happened: Callable[[], bool], seconds: float = 400) -> None:
        """Wait until something has happened."""
        until = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < until, self.printed[-6000:]
            time.sleep(0.2)

    def wait_for_text(self, path: str, text: str) -> None:
        """Wait until a file of the folder holds a text."""
        file = self.folder / path
        self.wait_for(lambda: file.is_file() and text in file.read_text(errors="replace"))


@pytest.fixture
def cluster(slurm, tmp_path):
    found = Cluster(slurm, tmp_path)
    yield found
    for process in found.started:
        process.kill()
    for job in found.jobs():
        subprocess.run(["scancel", "--full", job["JobId"]], env=found.environment, check=False)
