"""The rules as Snakemake reads them."""

import copy
import json
import re

from snakemake_runs import new_folder, planned_jobs, snakemake


def printed_jobs(printed: str) -> list[str]:
    """Return what a dry run prints of each job."""
    return re.split(r"\n(?=rule \w+:\n)", printed)


def test_a_plan_is_made_without_a_word_of_trouble(tmp_path, config):
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run")
    assert "Exception" not in printed
    assert "Error" not in printed


def test_what_a_clusters_profile_says_of_cheap_jobs_holds(tmp_path, config):
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text("default-resources:\n  mem_mb: 1234 * attempt\n  slurm_partition: small\n")
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run", "--profile", str(profile))
    assert "mem_mb=1234" in printed
    assert "slurm_partition=small" in printed


def test_jobs_of_a_model_ask_for_what_its_config_says_and_else_for_an_estimate(tmp_path, config, monkeypatch):
    def asked(path, visible: str) -> dict[str, set[tuple[str, ...]]]:
        """Return GPUs, memory and minutes of the jobs of each rule in a dry run, by rule."""
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        found: dict[str, set[tuple[str, ...]]] = {}
        for job in printed_jobs(snakemake(path, "--dry-run")):
            if values := re.search(r"gpu=(\d+).*?runtime=(\d+)", job):
                memory = re.search(r"mem_mb=(\d+)", job)
                found.setdefault(job[5 : job.index(":")], set()).add((values[1], memory[1], values[2]))
        return found

    said = copy.deepcopy(config)
    for model in said["models"].values():
        model.update(mem_mb=1234, runtime=56, gpus=2)
    assert set().union(*asked(new_folder(tmp_path / "said", said), "").values()) == {("2", "1234", "56")}
    large = copy.deepcopy(config)
    large["models"]["student"].update(parameters=2.0e9, tokens_per_second={"score": 1.0e9})
    folder = new_folder(tmp_path / "large", large)
    assert {gpus for gpus, _, _ in asked(folder, "")["logprobs"]} == {"0"}
    on_gpu = asked(folder, "0")["logprobs"]
    assert {gpus for gpus, _, _ in on_gpu} == {"0", "1"}  # the teacher, and the student with what is trained from it
    assert {minutes for gpus, _, minutes in on_gpu if gpus == "1"} == {"31"}


def test_candidates_are_scored_before_what_no_training_waits_for(tmp_path, config):
    jobs = printed_jobs(snakemake(new_folder(tmp_path / "new", config), "--dry-run"))
    scoring = [job for job in jobs if job.startswith("rule logprobs:")]
    assert {("/train/explore/" in job, "priority: 2\n" in job) for job in scoring} == {(True, True), (False, False)}


def test_only_a_strategy_that_asks_for_right_answers_reads_grades(tmp_path, config):
    def reads_grades(name: str, equal: str | None) -> bool:
        asked = copy.deepcopy(config)
        asked["strategies"] = {"right": {"score": "random", "only_right": True}}
        asked["runs"]["main"].update(strategies=["random", "right"], equal=equal)
        folder = new_folder(tmp_path / f"{name}-{equal}", asked)
        printed = snakemake(folder, "--dry-run", f"results/selection/main/teacher/train/explore/{name}.arrow")
        [job] = [job for job in re.split(r"\n(?=rule \w+:\n)", printed) if job.startswith("rule selection:")]
        return "results/grades/" in job

    assert reads_grades("right", None)
    assert not reads_grades("random", None)
    assert reads_grades("random", "tokens")


def test_imported_responses_that_are_there_are_read_and_not_planned_again(tmp_path, config):
    with_responses = copy.deepcopy(config)
    with_responses["questions"]["told"] = {"source": {"file": "told.jsonl"}}
    with_responses["sampling"]["given"] = {"responses": {"file": "told.jsonl"}}
    with_responses["runs"]["main"]["candidates"] = {"questions": "told", "sampling": "given"}
    folder = new_folder(tmp_path / "new", with_responses)
    row = {"question": "What is 3 + 4?", "answer": "7", "response": "Seven. So it is 7."}
    (folder / "told.jsonl").write_text(json.dumps(row))
    sentences = "results/sentences/sentences/teacher/told/given/parts.arrow"
    snakemake(folder, sentences)
    assert planned_jobs(folder, sentences) == []
