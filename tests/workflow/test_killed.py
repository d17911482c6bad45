"""The terminal closes: the same command goes on."""

import os
import signal
import subprocess
import time

import pytest

from snakemake_runs import ROOT, command, new_folder, snakemake


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_after_a_kill_the_same_command_goes_on_without_unlock(tmp_path, config, how):
    folder = new_folder(tmp_path / "run", config)
    target = "results/models/student_untrained/model.json"
    first = subprocess.Popen(
        command(folder, target),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    locks = folder / ".snakemake/locks"
    while not list(locks.glob("*.lock")):
        assert first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, how)
    first.wait()
    snakemake(folder, target)
    assert (folder / target).is_file()
