"""Two projects on one machine, with a store: the second runs models only for what the first has not."""

import json
import re
import shutil
from pathlib import Path

import pytest

from distrace.artifacts import open_artifact
from snakemake_runs import new_folder, planned_jobs, snakemake

TRAINED = "results/models/main.teacher.teacher_count.0/model.json"
MODELS = ("teacher", "student")
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
    outputs = re.findall(
        rf"^(?:local)?rule (?:{NODES}):\n(?:    input: .*\n)?    output: ([^,\n]+)", printed, re.MULTILINE
    )
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
        "results/logprobs/student/full/other_teacher/train/explore/0.arrow",
    ]
    printed = snakemake(second, "--printshellcmds", *wanted)
    assert computed(printed) == {
        "results/models/other_teacher/model.json",
        "results/rollouts/other_teacher/train/explore/0.arrow",
        wanted[1],
    }
    assert taken(printed) == sorted(
        [f"results/models/{name}/model.json" for name in ("teacher", "student", "mine.teacher.teacher_count.0")]
        + [f"results/rollouts/teacher/train/explore/{part}.arrow" for part in range(2)]
        + [f"results/logprobs/{scorer}/full/teacher/train/explore/{p}.arrow" for scorer in MODELS for p in range(2)]
    )
    theirs, ours = copy_of_finished / TRAINED, second / wanted[0]
    assert json.loads(ours.read_text()) == json.loads(theirs.read_text()) | {
        "name": "mine.teacher.teacher_count.0",
        "location": str(Path(wanted[0]).parent / "weights"),
    }
    assert (ours.parent / "weights/model.safetensors").samefile(theirs.parent / "weights/model.safetensors")
    for folder in (copy_of_finished, second):  # though both hold the same files, whose times the second has changed
        assert planned_jobs(folder, *(wanted if folder == second else ())) == []


def test_a_damaged_entry_of_the_store_is_computed_again(copy_of_finished, tmp_path, store):
    scores = "results/logprobs/teacher/full/teacher/train/explore/0.arrow"
    snakemake(copy_of_finished, "--forceall", scores)
    fingerprint = open_artifact(copy_of_finished / scores).fingerprint
    shared = store / fingerprint / "result.arrow"
    whole = shared.read_bytes()
    shared.unlink()
    shared.write_bytes(whole[:-100])
    shutil.rmtree(copy_of_finished / Path(scores).with_name(".0.arrow.kept"))
    printed = snakemake(copy_of_finished, "--force", scores)
    assert f"{store / fingerprint} does not hold what was put there" in printed
    assert "18 responses to score, 0 were scored before" in printed
    assert shared.read_bytes() == (copy_of_finished / scores).read_bytes() == whole
