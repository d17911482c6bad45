"""Two projects on one machine, with a store: the second runs models only for what the first has not."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.models import read_card
from snakemake_runs import new_folder, planned_jobs, snakemake

EXPLORED = "results/logprobs/teacher/full/teacher/train/explore"
TRAINED = "results/models/main.teacher.teacher_count.0/model.json"
NODES = "rollouts|logprobs|finetune"


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DISTRACE_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def taken(printed: str) -> list[str]:
    """Return the outputs that jobs took from the store."""
    return sorted(re.findall(r"(\S+) is taken from", printed))


def computed(printed: str) -> set[str]:
    """Return the outputs of the jobs, of nodes that run a model, that took nothing."""
    outputs = re.findall(rf"^rule (?:{NODES}):\n(?:    input: .*\n)?    output: ([^,\n]+)", printed, re.MULTILINE)
    assert outputs
    return set(outputs) - set(taken(printed))


def test_a_second_project_with_one_teacher_more_runs_models_only_for_what_is_new(
    copy_of_finished, config, tmp_path, store
):
    snakemake(copy_of_finished, "--forceall", TRAINED)  # runs no model: what was kept is shared
    [run] = config["runs"].values()
    config = config | {"runs": {"mine": run | {"teachers": ["teacher", "other_teacher"]}}}
    second = new_folder(tmp_path / "second", config)
    wanted = [
        "results/models/mine.teacher.teacher_count.0/model.json",
        "results/ranking/mine/other_teacher/train/explore.arrow",
    ]
    printed = snakemake(second, *wanted)
    new = computed(printed)
    assert new
    assert all("other_teacher" in path for path in new), new
    assert len(taken(printed)) == 9, taken(printed)
    card = read_card(second / wanted[0])
    assert (card.name, card.location) == ("mine.teacher.teacher_count.0", str(Path(wanted[0]).parent / "weights"))
