"""What may be deleted of a finished run, and what a later change then needs: the table of docs/disk.md."""

import shutil
from pathlib import Path

import pytest
import yaml

from snakemake_runs import planned_jobs

CANDIDATES = "teacher/train/explore"
ROLLOUTS = [f"results/rollouts/{CANDIDATES}/{parts}" for parts in ("[0-9]*", ".[0-9]*")]
SCORES = [f"results/logprobs/*/full/{CANDIDATES}/{parts}" for parts in ("[0-9]*", ".[0-9]*")]
SENTENCES = [f"results/sentences/*/{CANDIDATES}/[0-9]*"]
LABELS = {"provenance", "oracle", "positions", "sensitivity", "validation", "report", "explorer"}


def delete(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        found = list(folder.glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def with_another_beta(folder: Path) -> set[str]:
    """Return the rules of the jobs that another `beta` of the run plans."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["runs"]["main"]["beta"] = 0.2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return {rule for rule, _ in planned_jobs(folder)}


@pytest.mark.parametrize(
    "deleted",
    [[*SCORES, *SENTENCES, *ROLLOUTS], ["results/**/.*.kept", "results/models/main.*/weights"]],
    ids=["candidates", "kept and weights"],
)
def test_bulky_files_of_a_finished_run_may_go_and_labels_need_none_of_them(copy_of_finished, deleted):
    delete(copy_of_finished, *deleted)
    assert planned_jobs(copy_of_finished) == []
    assert with_another_beta(copy_of_finished) == LABELS


def test_candidates_that_are_gone_with_their_list_are_computed_again_once_the_report_is(copy_of_finished):
    delete(copy_of_finished, f"results/rollouts/{CANDIDATES}")
    assert planned_jobs(copy_of_finished) == []
    assert {"rollouts", "logprobs", "finetune"} <= with_another_beta(copy_of_finished)


def test_a_report_stays_though_all_that_it_was_made_of_is_gone(copy_of_finished):
    delete(
        copy_of_finished,
        *(f"results/{path.name}" for path in (copy_of_finished / "results").iterdir() if path.name != "report"),
    )
    assert planned_jobs(copy_of_finished) == []
