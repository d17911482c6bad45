"""The workflow itself on a toy Slurm, with the shipped profile: whole, killed for memory, and without its Snakemake."""

import copy
import json
import os
import signal
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.cluster
CONFIG = yaml.safe_load(Path(__file__).with_name("config.yaml").read_text())
TEACHER = "results/models/teacher/model.json"


def write_config(folder: Path, **teacher: object) -> None:
    """Write the config of a run into its folder, with changes to its teacher."""
    config = copy.deepcopy(CONFIG)
    config["models"]["teacher"].update(teacher)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def make_student(cluster) -> None:
    """Make what the teacher is trained from, without the scheduler, where jobs wait for Snakemake to look at them."""
    cluster.run("results/models/student/model.json", "--executor", "local", "--cores", "1")


def jobs_of(cluster, rule: str) -> list[dict[str, str]]:
    return [job for job in cluster.jobs() if job["Comment"].startswith(f"rule_{rule}")]


def test_the_whole_workflow_runs_on_slurm(cluster):
    write_config(cluster.folder)
    cluster.run()
    numbers = json.loads((cluster.folder / "results/report/numbers.json").read_text())
    assert numbers["runs"]["main"]["traces"]
    assert {job["JobState"] for job in cluster.jobs()} == {"COMPLETED"}
    assert "Jobs that failed" not in cluster.printed
    assert "Nothing to be done" in cluster.run()


def test_a_training_killed_for_memory_ends_well_with_more_and_the_reason_is_told(cluster):
    write_config(cluster.folder, mem_mb=700)
    make_student(cluster)
    printed = cluster.run(TEACHER)
    tries = jobs_of(cluster, "finetune")
    assert [job["MinMemoryNode"] for job in tries] == ["700M", "1400M", "2100M"][: len(tries)]
    assert [job["JobState"] for job in tries] == ["FAILED"] * (len(tries) - 1) + ["COMPLETED"]
    assert len(tries) > 1
    told = f"finetune {TEACHER}: job {tries[0]['JobId']}: killed for memory"
    assert told in printed[printed.index("Jobs that failed on Slurm, and why:") :]


def test_a_job_that_failed_for_good_is_told_with_its_reason(cluster):
    write_config(cluster.folder, mem_mb=500)
    make_student(cluster)
    printed = cluster.run(TEACHER, "--retries", "0", status=1)
    assert f"finetune {TEACHER}: job" in printed
    assert "killed for memory" in printed


@pytest.mark.quick
def test_after_a_kill_of_snakemake_a_running_job_is_not_run_a_second_time_at_once(cluster):
    write_config(cluster.folder)
    make_student(cluster)
    log, sign = "logs/models/teacher.log", cluster.folder / "results/models/teacher/.model.json.writer"
    first = cluster.start(TEACHER)
    cluster.wait_for_text(log, "step ")
    first.kill()
    first.wait()
    # The training is held until the second job is there, however slow or busy this machine is.
    training = json.loads(sign.read_text())["process"]
    os.kill(training, signal.SIGSTOP)
    try:
        second = cluster.start(TEACHER)
        cluster.wait_for_text(log, "another job is writing")
    finally:
        os.kill(training, signal.SIGCONT)
    assert second.wait(timeout=600) == 0, cluster.printed
    assert [job["JobState"] for job in jobs_of(cluster, "finetune")] == ["COMPLETED", "COMPLETED"]
    assert "was computed before" in (cluster.folder / log).read_text()
    assert not sign.exists()
    assert "Nothing to be done" in cluster.run(TEACHER)
