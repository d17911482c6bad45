"""Jobs of one machine take turns on its GPUs: with jobs that fail where two of them run at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from snakemake_runs import ROOT

SNAKEFILE = f"""
configfile: "config.yaml"
include: "{ROOT}/workflow/rules/common.smk"

rule all:
    input: expand("{{n}}.txt", n=range(3))
    localrule: True

rule one_gpu:
    output: "{{n}}.txt"
    resources: gpu=1
    shell: "mkdir alone && sleep 1 && rmdir alone && touch {{output}}"
"""


@pytest.fixture
def folder(tmp_path, config) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def run(folder: Path, visible: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--cores", "3", *options]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": visible}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_on_one_gpu_one_job_runs_at_a_time(folder):
    found = run(folder, "0")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(("visible", "options"), [("0", ["--resources", "gpu=3"]), ("", [])])
def test_jobs_run_at_once_where_more_gpus_are_given_or_there_are_none(folder, visible, options):
    found = run(folder, visible, *options)
    assert "mkdir: cannot create directory" in found.stderr
