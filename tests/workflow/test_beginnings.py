"""Mixed-policy data: the student begins the responses, the teacher goes on, and a model learns them."""

import copy
from pathlib import Path

import polars as pl
import pytest
import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.parts import open_parts
from snakemake_runs import planned_jobs, snakemake

MIXED = {"samples": 3, "max_tokens": 120, "begin": {"author": "student", "sampling": "answer"}}
MODEL = "results/models/main.teacher.teacher_count.0/model.json"
ROLLOUTS = "results/rollouts/teacher/train/mixed"


def write_config(folder: Path, config: dict, **mixed: object) -> None:
    config = copy.deepcopy(config)
    config["sampling"]["mixed"] = MIXED | mixed
    config["models"]["teacher"]["own_logprobs"] = "recorded"
    config["runs"]["main"]["candidates"]["sampling"] = "mixed"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def folder(copy_of_finished, config) -> Path:
    write_config(copy_of_finished, config)
    return copy_of_finished


def test_a_model_learns_what_the_student_began_and_a_second_run_has_nothing_to_do(folder, config):
    snakemake(folder, MODEL)
    mixed = open_parts(folder / ROLLOUTS / "parts.arrow", kinds.ROLLOUTS).read()
    begun = [open_artifact(folder / f"results/rollouts/student/train/answer/{part}.arrow").read() for part in range(2)]
    texts = {tuple(key): text for *key, text in pl.concat(begun).select("question_id", "sample", "text").iter_rows()}
    assert len(mixed) > 18
    for row in mixed.iter_rows(named=True):
        other = texts[row["question_id"], row["sample"] % 2]
        assert other.startswith(row["text"][: row["begun"]])
        assert row["begun"] > len(other) / 2
    scored = open_artifact(folder / "results/logprobs/teacher/full/teacher/train/mixed/0.arrow", kinds.LOGPROBS)
    assert "own_logprobs" not in scored.identity
    assert scored.rows == open_artifact(folder / ROLLOUTS / "0.arrow").rows
    assert planned_jobs(folder, MODEL) == []

    write_config(folder, config, begin=MIXED["begin"] | {"from": 0.6})
    assert {rule for rule, _ in planned_jobs(folder, f"{ROLLOUTS}/parts.arrow")} == {"rollouts", "parts"}
    write_config(folder, config, begin=MIXED["begin"] | {"sampling": "explore"})
    jobs = planned_jobs(folder, f"{ROLLOUTS}/0.arrow")
    assert jobs == [
        ("rollouts", path) for path in ("results/rollouts/student/train/explore/0.arrow", f"{ROLLOUTS}/0.arrow")
    ]
