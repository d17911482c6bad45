"""A second stage of training, which starts from what the first one has trained."""

import json
from pathlib import Path

import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from snakemake_runs import planned_jobs, snakemake


def card(folder: Path, model: str) -> dict:
    return json.loads((folder / f"results/models/{model}/model.json").read_text())


def test_each_strategy_of_a_second_run_goes_on_from_its_own_model_of_the_first(copy_of_finished, config):
    folder = copy_of_finished
    config["sampling"]["warmer"] = {"samples": 2, "max_tokens": 120, "temperature": 1.2}
    second = config["runs"]["main"] | {
        "start": "main.{teacher}.{strategy}.{seed}",
        "candidates": {"questions": "train", "sampling": "warmer"},
    }
    config["runs"]["second"] = second
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    names = ["teacher.teacher_count.0", "teacher.random.0"]
    planned = {output for _, output in planned_jobs(folder)}
    assert {f"results/models/second.{name}/model.json" for name in names} < planned
    assert "results/logprobs/student/full/teacher/train/warmer/0.arrow" in planned
    assert not [output for output in planned if "/models/main." in output]
    snakemake(folder, f"results/models/second.{names[1]}/model.json")
    trained = open_artifact(folder / f"results/models/second.{names[1]}/training.arrow", kinds.TRAINING)
    assert trained.identity["base"] == card(folder, f"main.{names[1]}")["fingerprint"]
