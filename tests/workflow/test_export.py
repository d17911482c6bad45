"""The target `export` on the tests' run: data sets that open, and which of them a change writes again."""

from pathlib import Path

import polars as pl
import pytest
import yaml
from datasets import load_dataset

from distrace.artifacts import open_artifact
from snakemake_runs import planned_jobs, snakemake

SET = "main/teacher/train/explore"


@pytest.fixture
def exported(copy_of_finished) -> Path:
    snakemake(copy_of_finished, "export")
    return copy_of_finished


def change(folder: Path, edit) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config["runs"]["main"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def written_by(jobs: list[tuple[str, str]]) -> list[str]:
    return sorted(output.removeprefix("results/") for _, output in jobs)


def test_each_selection_is_a_data_set_and_a_second_run_has_nothing_to_do(exported, tmp_path):
    for strategy in ("teacher_count", "random"):
        chosen = open_artifact(exported / f"results/selection/{SET}/{strategy}.arrow").read()
        chosen = chosen.filter(pl.col("rank").is_not_null())
        folder = exported / f"results/export/{SET}/{strategy}"
        for source in ({"path": str(folder)}, {"path": "json", "data_files": str(folder / "trl/train.jsonl")}):
            rows = load_dataset(**source, split="train", cache_dir=str(tmp_path / "cache"))
            assert list(rows["rollout_id"]) == chosen["rollout_id"].to_list()
            assert {"teacher_count", "grape", "random", "longest"} <= set(rows.column_names)
    assert planned_jobs(exported, "export") == []


def test_a_run_exports_nothing_unless_it_is_asked_to(exported):
    change(exported, lambda run: run["strategies"].append("grape"))
    assert not [output for output in written_by(planned_jobs(exported)) if output.startswith("export")]


def test_another_strategy_or_threshold_exports_what_it_concerns(exported):
    change(exported, lambda run: run.update(beta=0.2))
    assert planned_jobs(exported, "export") == []
    change(exported, lambda run: run["strategies"].append("grape"))
    assert written_by(planned_jobs(exported, "export")) == [
        f"export/{SET}/grape/README.md",
        f"selection/{SET}/grape.arrow",
    ]


def test_a_changed_strategy_writes_its_own_export_alone(copy_of_finished):
    file = copy_of_finished / f"results/export/{SET}/mine/data/train.parquet"

    def with_mine(each: int) -> None:
        config = yaml.safe_load((copy_of_finished / "config.yaml").read_text())
        config["strategies"] = {"mine": {"score": "grape", "per_question": each}}
        config["runs"]["main"]["strategies"] = ["teacher_count", "random", "mine"]
        (copy_of_finished / "config.yaml").write_text(yaml.safe_dump(config))

    with_mine(1)
    snakemake(copy_of_finished, "export")
    before = pl.read_parquet(file)
    with_mine(2)
    assert written_by(planned_jobs(copy_of_finished, "export")) == [
        f"export/{SET}/mine/README.md",
        f"selection/{SET}/mine.arrow",
    ]
    snakemake(copy_of_finished, "export")
    after = pl.read_parquet(file)
    assert set(before["rollout_id"]) < set(after["rollout_id"])
    assert set(after["rank"]) == {1, 2}


def test_pooled_candidates_are_exported_once_for_all_teachers(exported):
    change(exported, lambda run: run.update(teachers=["teacher", "other_teacher"], pooled=True))
    jobs = written_by(planned_jobs(exported, "export"))
    assert [output for output in jobs if output.startswith("export")] == [
        f"export/main/pooled/train/explore/{strategy}/README.md" for strategy in ("random", "teacher_count")
    ]
