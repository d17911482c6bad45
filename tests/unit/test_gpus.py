import os
import subprocess
import sys
from pathlib import Path

import pytest

from distrace.gpus import visible_gpus

TAKE = """
import os, sys, time
from pathlib import Path
from distrace.gpus import take_gpus
take_gpus(int(sys.argv[1]), Path(sys.argv[2]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path):
    """Start jobs that take GPUs and hold them until they are ended; give what each of them may see."""
    started = []

    def start(count: int, visible: str = "0,1,2") -> subprocess.Popen:
        command = [sys.executable, "-c", TAKE, str(count), str(tmp_path)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": visible}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def seen_by(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("0", ["0"]),
        ("0, 2", ["0", "2"]),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("GPU-8f,MIG-1", ["GPU-8f", "MIG-1"]),
    ],
)
def test_visible_gpus_are_those_that_the_environment_allows(value, expected, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == expected


def test_jobs_take_gpus_of_their_own(job):
    assert [seen_by(job(1)), seen_by(job(2))] == ["0", "1,2"]


def test_a_job_waits_for_gpus_that_others_hold_and_a_killed_one_frees_its_own(job):
    first = job(2)
    assert seen_by(first) == "0,1"
    second = job(2)
    first.kill()
    assert seen_by(second) == "0,1"


def test_where_there_are_no_more_than_a_job_asks_for_it_sees_them_all(job):
    assert [seen_by(job(2, "4,7")), seen_by(job(1, ""))] == ["4,7", ""]


def test_a_job_without_gpus_takes_none(job):
    job(0)
    assert seen_by(job(3, "0,1,2,3")) == "0,1,2"


def test_torch_is_not_asked(monkeypatch):
    code = "import sys, distrace.gpus as g; g.visible_gpus(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_locks_are_files_of_this_machine(job, tmp_path):
    assert seen_by(job(1)) == "0"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["distrace-gpu-0.lock"]
