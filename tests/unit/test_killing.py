"""What `tests/helpers/killing.py` would find."""

import subprocess
import sys
import threading
import time

import pytest

from killing import different, processes, watch, written

JOB = """
import sys, time
while "busy" in sys.argv or time.sleep(0.05) is None:
    pass
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a job in the folder: a process that looks like a node's, busy or waiting."""
    nodes = tmp_path / "distrace/nodes"
    nodes.mkdir(parents=True)
    for path, text in (("__init__.py", ""), ("nodes/__init__.py", ""), ("nodes/example.py", JOB)):
        (tmp_path / "distrace" / path).write_text(text)
    started = []

    def job(out: str, how: str) -> int:
        command = [sys.executable, "-m", "distrace.nodes.example", "--out", out, how]
        started.append(subprocess.Popen(command, cwd=tmp_path))
        return started[-1].pid

    yield job
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        ([("a.arrow", "busy"), ("a.arrow", "busy")], 1),
        ([("a.arrow", "busy"), ("a.arrow", "waiting")], 0),
        ([("a.arrow", "busy"), ("b.arrow", "busy")], 0),
    ],
)
def test_two_jobs_that_compute_for_one_output_are_found(tmp_path, start, jobs, found):
    pids = {start(*job) for job in jobs}
    findings, ended = [], threading.Event()
    watching = threading.Thread(target=watch, args=(tmp_path, findings, ended, 0.5))
    watching.start()
    used = dict.fromkeys(pids, 0.0)
    while sum(used.values()) < 4 and not findings:
        time.sleep(0.5)
        running = {process.pid: process.seconds for process in processes(tmp_path)}
        assert running.keys() == pids
        used |= running
    ended.set()
    watching.join()
    assert len(findings) == found
    assert {process.pid for process in processes(tmp_path) if process.out} == pids


def test_a_file_that_is_missing_changed_or_too_much_is_a_difference(tmp_path):
    for folder, files in {"one": {"a": "1", "b": "2", ".kept/c": "3"}, "other": {"a": "1", "b": "3", "d": "4"}}.items():
        for name, text in files.items():
            path = tmp_path / folder / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    one, other = (written(tmp_path / folder) for folder in ("one", "other"))
    assert different(one, other) == ["results/b", "results/d"]
    assert different(one, one) == []
