"""What befalls a job on a cluster: each fault of the scheduler, on a toy Slurm, with the shipped profile.

Only what goes on in the queue is tried here, with jobs that sleep (Snakefile beside this file).
"""

import re
from pathlib import Path

import pytest

from snakemake_runs import ROOT

pytestmark = pytest.mark.cluster
STAND_INS = Path(__file__).with_name("Snakefile")


def run(cluster, *options: str, **places: Path) -> str:
    return cluster.run(*options, snakefile=STAND_INS, **places)


def starts(cluster) -> list[str]:
    file = cluster.folder / "starts"
    return file.read_text().splitlines() if file.exists() else []


def start_long(cluster, *config: str):
    """Start the long job, and wait until it runs; give Snakemake's process."""
    process = cluster.start("long.txt", "--config", *config, snakefile=STAND_INS)
    cluster.wait_for(lambda: len(starts(cluster)) == 1)
    return process


def wait_for_restart(cluster) -> None:
    """Wait until the only job is back in the queue, and let it start; Slurm would have it wait for two minutes."""
    cluster.wait_for(lambda: cluster.jobs()[0]["Restarts"] == "1" and cluster.jobs()[0]["JobState"] == "PENDING")
    cluster.call("scontrol", "update", f"jobid={cluster.jobs()[0]['JobId']}", "starttime=now")


@pytest.mark.quick
def test_a_job_of_two_gpus_gets_both_on_one_node(cluster):
    # One GPU of each node is taken, so that two are free, but on different nodes, until the first of these jobs ends.
    for node, seconds in (("node1", "30"), ("node2", "6")):
        cluster.call("sbatch", "--gpus=1", "-w", node, "--mem=100", "-o", "/dev/null", "--wrap", f"sleep {seconds}")
    run(cluster, "gpus.txt")
    [job] = cluster.jobs()
    assert job["NumNodes"] == "1"
    assert (cluster.folder / "gpus.txt").read_text().strip() == "0,1"


@pytest.mark.quick
def test_a_job_killed_for_memory_is_tried_again_with_more(cluster):
    printed = run(cluster, "memory.txt")
    assert [job["MinMemoryNode"] for job in cluster.jobs()] == ["1000M", "2000M"]
    assert [job["JobState"] for job in cluster.jobs()] == ["FAILED", "COMPLETED"]
    assert "Trying to restart job" in printed


def test_a_job_out_of_time_is_tried_again_with_more(cluster):
    run(cluster, "slow.txt")
    assert [job["TimeLimit"] for job in cluster.jobs()] == ["00:01:00", "00:02:00"]
    assert [job["JobState"] for job in cluster.jobs()] == ["TIMEOUT", "COMPLETED"]


def test_a_cancelled_job_is_submitted_again(cluster):
    process = start_long(cluster, "seconds=10")
    cluster.call("scancel", cluster.jobs()[0]["JobId"])
    assert process.wait(timeout=300) == 0, cluster.printed
    assert [job["JobState"] for job in cluster.jobs()] == ["CANCELLED", "COMPLETED"]


def test_a_preempted_job_goes_back_to_the_queue_and_ends_well(cluster):
    process = start_long(cluster, "seconds=10")
    [job] = cluster.jobs()
    urgent = ["-p", "urgent", "-w", job["NodeList"], "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3"]
    cluster.call("sbatch", *urgent)
    wait_for_restart(cluster)
    assert process.wait(timeout=400) == 0, cluster.printed
    [job] = cluster.jobs()
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert len(starts(cluster)) == 2


def test_a_job_whose_node_fails_goes_on_elsewhere(cluster):
    process = start_long(cluster, "seconds=10")
    [_, node] = starts(cluster)[0].split()
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=pulled")
    try:
        wait_for_restart(cluster)
        assert process.wait(timeout=400) == 0, cluster.printed
    finally:
        cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    [job] = cluster.jobs()
    assert job["JobState"] == "COMPLETED"
    assert [line.split()[1] != node for line in starts(cluster)] == [False, True]


def test_what_the_profile_shows_for_nodes_of_several_kinds_works(cluster):
    shipped = (ROOT / "profiles/slurm/config.yaml").read_text()
    shown = re.sub("^# ", "", shipped[shipped.index("# set-resources:") :], flags=re.MULTILINE)
    profile = cluster.folder / "profile"
    profile.mkdir()
    # The toy has no accounts; its partition `gpu` has nodes with the feature `large`.
    here = re.sub(".*slurm_account.*", "", shown).replace("a100", "large").replace("nvlink", "large")
    here = here.replace("finetune:", "long:")
    (profile / "config.yaml").write_text(shipped[: shipped.index("# set-resources:")] + here)
    run(cluster, "long.txt", "--config", "seconds=1", profile=profile)
    [job] = cluster.jobs()
    assert (job["Partition"], job["Features"], job["NodeList"]) == ("gpu", "large&large", "node2")
