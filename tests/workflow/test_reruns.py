"""What a change costs: jobs may run again, but models compute only what is new."""

import re
import shutil
from pathlib import Path

import yaml

from snakemake_runs import snakemake

DISTILLED = "results/models/main.teacher"
SCORES = "results/logprobs/teacher/full/teacher/train/explore/0.arrow"


def change(folder: Path, edit) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def said(printed: str, node: str, pattern: str) -> list[tuple[int, ...]]:
    """Return the numbers of every line of a node that matches a pattern."""
    return [tuple(map(int, found)) for found in re.findall(rf"\[{node}\] {pattern}", printed)]


def weights(folder: Path) -> dict[str, bytes]:
    """Return the weights of each distilled model."""
    paths = folder.glob(f"{DISTILLED}.*/weights/model.safetensors")
    return {path.parts[-3].removeprefix("main.teacher."): path.read_bytes() for path in paths}


def test_one_sample_more_draws_and_scores_one_response_more_for_each_question(copy_of_finished):
    change(copy_of_finished, lambda config: config["sampling"]["explore"].update(samples=4))
    parts = [SCORES.replace("0.arrow", f"{part}.arrow") for part in range(2)]
    printed = snakemake(copy_of_finished, *parts)
    assert said(printed, "rollouts", r"(\d+) responses to draw, (\d+) were drawn before") == [(6, 18)] * 2
    assert said(printed, "logprobs", r"(\d+) responses to score, (\d+) were scored before") == [(6, 18)] * 2
    assert "[finetune]" not in printed


def test_another_beta_of_the_candidates_trains_no_model_whose_responses_stay_the_same(copy_of_finished):
    before = weights(copy_of_finished)
    change(copy_of_finished, lambda config: config["runs"]["main"]["candidates"].update(beta=0.95))
    printed = snakemake(copy_of_finished, *(f"{DISTILLED}.{name}.0/model.json" for name in ("teacher_count", "random")))
    after = weights(copy_of_finished)
    assert after["random.0"] == before["random.0"]
    assert after["teacher_count.0"] != before["teacher_count.0"]
    assert re.findall(r"(\S+) was computed before", printed) == [f"{DISTILLED}.random.0/model.json"]


def test_a_folder_without_its_times_and_snakemakes_records_runs_no_model_again(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(".snakemake"))
    before = (folder / SCORES).read_bytes()
    printed = snakemake(folder, "--forceall", SCORES)
    done_before = re.findall(r"\[(\w+)\] \S+ was computed before", printed)
    assert sorted(done_before) == ["finetune", "logprobs", "rollouts"]
    assert (folder / SCORES).read_bytes() == before
