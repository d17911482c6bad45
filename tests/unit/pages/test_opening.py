"""What a run says at its start."""

import pytest

from configs import config_with
from distrace.pages.opening import opening_lines
from distrace.plan import load_plan

SET = {"author": "big", "questions": "gsm", "sampling": "explore", "part": "0"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = config_with("questions/gsm/limit", 120)
    config["models"]["big"]["parameters"] = 7e9
    config["models"]["big"]["gpus"] = 1
    return load_plan(config)


def test_what_will_run_is_said_with_responses_tokens_hours_and_disk(plan):
    jobs = [
        ("rollouts", SET),
        ("rollouts", SET | {"part": "1"}),
        ("logprobs", SET | {"scorer": "small", "context": "full"}),
    ]
    jobs += [("finetune", {"model": f"main.big.random.{seed}"}) for seed in (0, 5)] + [("grades", SET)]
    trained, written, scored, cost, note = opening_lines(plan, jobs, ["mind the step"])
    assert trained == "to train: 2 models (main.big.random.0, main.big.random.5)"
    assert written == "to write: 80 responses, at most 81,920 tokens, by big"
    assert scored == "to score: 40 responses, at most 40,960 tokens, by small"
    assert cost.startswith("that is at most about ")
    assert " of a GPU and " in cost
    assert cost.endswith("(by the sizes of models), and below 1 MB of disk (docs/disk.md)")
    assert note == "note: mind the step"


def test_on_a_machine_without_gpus_no_hours_of_a_gpu_are_promised(plan):
    [_, cost] = opening_lines(plan, [("rollouts", SET)], [], gpus=False)
    assert "GPU" not in cost
    assert " on CPUs, one job after the other" in cost


def test_a_run_without_a_model_says_nothing_of_hours(plan):
    assert list(opening_lines(plan, [("report", {}), ("grades", SET)], [])) == []


def test_of_many_models_the_first_are_named(plan):
    jobs = [("rollouts", SET | {"author": name}) for name in ("big", "other", "small", "tuned", "ready", "big")]
    written, _ = opening_lines(plan, jobs, [])
    assert written.endswith("by big, other, ready, small, and 1 more")


def test_responses_from_files_are_of_unknown_length(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = load_plan(config_with("sampling/explore/responses_of", {"big": {"file": "r.jsonl"}}))
    scored, _ = opening_lines(plan, [("logprobs", SET | {"scorer": "small", "context": "full"})], [])
    assert scored == "to score: 1 part of unknown length, by small"


@pytest.mark.parametrize(("parts", "speed", "short"), [(3, 40_000, 3), (1, 40_000, 0), (3, 400, 0), (3, None, 0)])
def test_short_parts_that_each_load_a_model_are_said(plan, parts, speed, short):
    plan.model_config("small")["tokens_per_second"]["score"] = speed
    jobs = [("logprobs", SET | {"scorer": "small", "context": "full", "part": str(part)}) for part in range(parts)]
    said = [line for line in opening_lines(plan, jobs, []) if "parts are short" in line]
    assert said == [
        f"note: {short} jobs load a model for longer than they need it, since their parts are short; larger parts "
        "(`part_size`, `parts`) load it less often (docs/reruns.md)"
    ] * (short > 0)
