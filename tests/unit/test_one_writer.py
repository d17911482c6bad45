import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distrace.one_writer import Pace, one_writer

QUICK = Pace(renewed=0.02, dead=0.5, looked=0.01)
ELSEWHERE = json.dumps({"machine": "another", "process": 1, "job": None, "once": "x"})


def sign_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.writer")


def start_writer(out: Path, body: str) -> subprocess.Popen:
    """Start a process that is the writer of `out` and runs `body`; wait until it is at work."""
    code = (
        "import sys, time; from pathlib import Path; from distrace.one_writer import Pace, one_writer\n"
        "out = Path(sys.argv[1])\n"
        "with one_writer(out, Pace(renewed=0.02, dead=0.5, looked=0.01)):\n"
        f"    print('at work', flush=True)\n    {body}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at work\n"
    return process


def test_a_second_writer_waits_until_the_first_has_ended(tmp_path):
    out, order = tmp_path / "out", []

    def second() -> None:
        with one_writer(out, QUICK):
            order.append("second")

    with one_writer(out, QUICK):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(2 * QUICK.dead)  # much longer than a dead job would be waited for
        order.append("first")
    waiting.join(timeout=60)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_writers_of_other_outputs_do_not_wait(tmp_path):
    with one_writer(tmp_path / "one", QUICK), one_writer(tmp_path / "other", QUICK):
        assert len(list(tmp_path.iterdir())) == 2


def test_the_sign_is_taken_down_when_the_job_fails(tmp_path):
    with pytest.raises(ValueError, match="wrong"), one_writer(tmp_path / "out", QUICK):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []


def test_a_job_killed_on_this_machine_is_not_waited_for(tmp_path):
    out = tmp_path / "out"
    process = start_writer(out, "time.sleep(600)")
    process.kill()
    process.wait()
    assert sign_of(out).exists()
    with one_writer(out, Pace(renewed=0.02, dead=600, looked=0.01)):
        assert json.loads(sign_of(out).read_text())["process"] == os.getpid()


def test_a_job_elsewhere_counts_as_dead_when_its_sign_is_not_renewed(tmp_path):
    out = tmp_path / "out"
    sign_of(out).write_text(ELSEWHERE)
    began = time.monotonic()
    with one_writer(out, QUICK):
        assert time.monotonic() - began >= QUICK.dead
        assert sign_of(out).read_text() != ELSEWHERE


def test_of_many_that_wait_for_a_dead_job_one_at_a_time_goes_on(tmp_path):
    out, at_work, most = tmp_path / "out", [], []
    sign_of(out).write_text(ELSEWHERE)

    def write() -> None:
        with one_writer(out, QUICK):
            at_work.append(1)
            most.append(len(at_work))
            time.sleep(0.02)
            at_work.pop()

    threads = [threading.Thread(target=write) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == [1] * 12


def test_a_job_that_finds_anothers_sign_in_place_of_its_own_ends(tmp_path):
    out = tmp_path / "out"
    process = start_writer(out, "time.sleep(600)")
    sign_of(out).write_text(ELSEWHERE)
    assert process.wait(timeout=60) == 1
    assert sign_of(out).read_text() == ELSEWHERE


def test_a_cancelled_job_takes_its_sign_down(tmp_path):
    out = tmp_path / "out"
    process = start_writer(out, "time.sleep(600)")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
