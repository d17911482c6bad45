"""What jobs are said to cost before they run."""

import copy
from pathlib import Path

import pytest

from builders import write_questions, write_rollouts
from configs import CONFIG, config_with
from distrace.estimates import BYTES, WITH_MODEL, WITHOUT_MODEL, Estimate, estimate, measured_length, measured_rate
from distrace.plan import load_plan

SET = {"author": "big", "questions": "gsm", "sampling": "explore"}
INF = float("inf")


def forget():
    measured_rate.cache_clear()
    measured_length.cache_clear()


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forget()
    yield
    forget()


@pytest.fixture
def plan():
    return load_plan(config_with("questions/gsm/limit", 120))


def test_responses_are_those_of_a_part_each_as_long_as_it_may_be(plan):
    found = estimate(plan, "rollouts", SET, INF)
    assert (found.task, found.responses, found.tokens) == ("generate", 40, 40 * 1024)
    assert found.at_most
    assert found.size == pytest.approx(BYTES["generate"] * 40 * 1024)


def test_finished_parts_tell_how_long_responses_are(plan):
    questions = write_questions(Path("results/questions/gsm/0.arrow"), {"1+1?": "2", "2+2?": "4"})
    texts = {"a": ("1+1?", "Two."), "b": ("2+2?", "It is 4.")}
    write_rollouts(Path("results/rollouts/big/gsm/explore/0.arrow"), questions, texts, token_ids=[1, 2, 3])
    found = estimate(plan, "rollouts", SET, INF)
    assert found.tokens == found.responses * 3
    assert not found.at_most


def test_logs_of_finished_jobs_tell_how_fast_a_model_is(plan):
    def seconds() -> tuple[float, bool]:
        measured_rate.cache_clear()
        found = estimate(plan, "logprobs", SET | {"scorer": "big", "context": "full"}, INF)
        return found.seconds, found.measured

    assert seconds() == (WITH_MODEL, False)  # nothing says how large it is
    log = Path("logs/logprobs/big/full/big/gsm/explore/3.log")
    log.parent.mkdir(parents=True)
    log.write_text("[logprobs] 10 of 20 response tokens, 7 tokens/s, about 1 s left\n")
    assert seconds() == (WITH_MODEL, False)
    log.write_text("20 of 20 response tokens, 1024 tokens/s, done in 1 s\n")
    assert seconds() == (WITH_MODEL + 40, True)


def test_what_the_config_says_of_the_speed_counts_where_no_log_tells(plan):
    config = config_with("models/big/tokens_per_second", {"generate": 64})
    plan = load_plan(config | {"questions": plan.config["questions"]})
    assert estimate(plan, "rollouts", SET, INF).seconds == WITH_MODEL + 40 * 1024 / 64


def test_responses_from_a_file_and_sets_without_end_are_unknown():
    found = estimate(load_plan(copy.deepcopy(CONFIG)), "rollouts", SET, INF)
    assert (found.responses, found.tokens) == (None, None)
    imported = load_plan(config_with("sampling/explore/responses_of", {"big": {"file": "r.jsonl"}}))
    assert estimate(imported, "logprobs", SET | {"scorer": "small", "context": "full"}, INF).responses is None


@pytest.mark.parametrize("rule", ["grades", "of_another_workflow", "rollouts"])
def test_a_job_without_a_model_or_of_another_workflow_takes_seconds(plan, rule):
    assert estimate(plan, rule, {"sample": "A"}, INF) == Estimate(seconds=WITHOUT_MODEL)


def test_a_model_that_is_large_counts_as_one_of_a_gpu():
    plan = load_plan(config_with("models/small/parameters", 2e9) | {})
    job = {"model": "tuned"}
    assert estimate(plan, "finetune", job, 1e9).gpus == 1
    assert estimate(plan, "finetune", job, INF).gpus == 0
    assert estimate(plan, "finetune", job, INF).size == 8e9
