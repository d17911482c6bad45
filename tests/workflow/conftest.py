"""The workflow, run for real on the smallest config, once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from snakemake_runs import new_folder, snakemake

CONFIG = Path(__file__).parent / "config.yaml"


@pytest.fixture
def config() -> dict:
    """The config of the finished folder; each test may change its own."""
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Path:
    """A folder in which the workflow has run to its report; tests must not change it.

    Where tests run in several processes, the first that needs it makes it for all.
    """
    mine = tmp_path_factory.getbasetemp()
    shared = mine if worker_id == "master" else mine.parent
    with FileLock(shared / "finished.lock"):
        if not (shared / "finished.done").is_file():
            shutil.rmtree(shared / "finished", ignore_errors=True)
            snakemake(new_folder(shared / "finished", yaml.safe_load(CONFIG.read_text())))
            (shared / "finished.done").touch()
    return shared / "finished"


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    """A copy of the finished folder, for tests that change it."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))
