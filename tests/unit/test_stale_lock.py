"""Which locks of Snakemake are taken away, and which stay."""

import subprocess
import sys

import pytest

from distrace.stale_lock import hold_folder

HOLD = "import sys; from pathlib import Path; from distrace.stale_lock import hold_folder; "
LOCKS = ("0.input.lock", "0.output.lock")


@pytest.fixture
def folder(tmp_path):
    """A folder in which a Snakemake has left its locks."""
    (tmp_path / "locks").mkdir()
    for name in LOCKS:
        (tmp_path / "locks" / name).write_text("results/x\n")
    return tmp_path


def locks(folder):
    return sorted(path.name for path in folder.glob("locks/*"))


def test_locks_of_a_process_that_was_killed_are_removed(folder):
    held = f"held = hold_folder(Path({str(folder)!r})); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", HOLD + held], stdin=-1, stdout=-1) as first:
        first.stdout.readline()
        assert hold_folder(folder) is None
        assert locks(folder) == list(LOCKS)
        first.kill()
    assert hold_folder(folder) is not None
    assert locks(folder) == []


def test_locks_stay_where_no_snakemake_of_distrace_has_run(folder):
    assert hold_folder(folder) is not None
    assert locks(folder) == list(LOCKS)


def test_a_folder_without_locks_is_held(tmp_path):
    held = hold_folder(tmp_path / ".snakemake")
    assert held is not None
    assert hold_folder(tmp_path / ".snakemake") is None
    held.close()
    assert hold_folder(tmp_path / ".snakemake") is not None
