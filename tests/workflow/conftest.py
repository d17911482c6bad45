"""The workflow, run for real on the smallest config, once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest
import yaml

from snakemake_runs import new_folder, snakemake

CONFIG = Path(__file__).parent / "config.yaml"


@pytest.fixture
def config() -> dict:
    """The config of the finished folder; each test may change its own."""
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which the workflow has run to its report; tests must not change it."""
    folder = new_folder(tmp_path_factory.mktemp("workflow") / "finished", yaml.safe_load(CONFIG.read_text()))
    snakemake(folder)
    return folder


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    """A copy of the finished folder, for tests that change it."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))
