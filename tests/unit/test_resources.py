import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from configs import SERVER, config_with
from distrace import resources
from distrace.plan import Plan, RolloutSet, load_plan
from distrace.resources import Size, Work
from tiny import tiny_model

ANSWERS = RolloutSet("big", "test", "answer")


def plan_with(path: str, value: object) -> Plan:
    return load_plan(config_with(path, value))


def model(**keys: object) -> Plan:
    """Return a plan in which the model `big` has these keys."""
    config = config_with("models/big", {"source": {"hub": "owner/big", "revision": "abc"}, **keys})
    config["questions"]["test"]["limit"] = 100
    return load_plan(config)


def write_weights(folder: Path, shapes: dict[str, list[int]], **config: object) -> Path:
    """Write a config, and the header of a safetensors file that holds tensors of these shapes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    header = json.dumps({name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


# How large a model is


def test_the_size_of_a_folder_is_that_of_the_model_in_it(tmp_path):
    saved = tiny_model()
    saved.save_pretrained(tmp_path)
    config = saved.config
    expected = Size(saved.num_parameters(), config.hidden_size, config.num_hidden_layers, config.vocab_size)
    assert resources.folder_size(str(tmp_path)) == expected


def test_a_folder_without_weights_has_no_size(tmp_path):
    assert resources.folder_size(str(tmp_path)) is None
    assert resources.model_size(plan_with("models/small/source", {"folder": str(tmp_path)}), "small") is None


def test_a_fresh_models_size_is_that_of_the_model_that_its_node_makes():
    from transformers import LlamaConfig, LlamaForCausalLM

    made = LlamaConfig(vocab_size=300, hidden_size=16, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2)
    made.tie_word_embeddings = True
    size = resources.fresh_size({"vocabulary": 300, "hidden": 16, "layers": 3})
    assert size.parameters == LlamaForCausalLM(made).num_parameters()


def test_a_fetched_hub_model_has_the_size_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--fetched-7b"
    write_weights(repository / "snapshots/c0ffee", {"a": [3, 5], "b": [7]}, hidden_size=5, num_hidden_layers=1)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("c0ffee")
    for revision in ("main", "c0ffee"):
        assert resources.hub_size("owner/fetched-7b", revision) == Size(22, 5, 1, 150_000)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen3-8B", 8e9),
        ("Qwen2.5-0.5B-Instruct", 0.5e9),
        ("SmolLM2-135M", 135e6),
        ("Qwen3-30B-A3B", 30e9),
        ("gpt2", None),
    ],
)
def test_a_hub_model_that_was_not_fetched_has_the_size_that_its_name_says(name, parameters, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    size = resources.hub_size(f"owner9b/{name}", "main")
    assert (size and size.parameters) == parameters


def test_a_trained_model_is_as_large_as_what_it_was_trained_from(tmp_path):
    plan = plan_with("models/small/source", {"folder": str(write_weights(tmp_path / "m", {"a": [1000, 1000]}))})
    for name in ("small", "small@float32", "tuned", "main.big.random.0", "main.big.random.0@float32"):
        assert resources.model_size(plan, name) == resources.guessed_size(1e6)


def test_the_config_knows_best_how_large_a_model_is():
    assert resources.model_size(model(parameters=3.0e9), "big").parameters == 3e9


def test_a_served_model_has_no_size_here():
    assert resources.model_size(model(engine="server", server=SERVER, parameters=3.0e9), "big") is None


# What a job does


def test_the_tokens_of_a_part_are_those_that_its_responses_may_have():
    plan = plan_with("questions/gsm/limit", 1200)  # in twelve parts
    work = resources.scoring(plan, "full", RolloutSet("big", "gsm", "explore"))
    assert work == Work("score", 100 * 4 * (1024 + resources.PROMPT_TOKENS))


def test_a_part_of_a_given_size_has_known_tokens_however_long_its_set_is():
    plan = plan_with("questions/test/part_size", 30)
    assert resources.scoring(plan, "full", ANSWERS).tokens == 30 * (1024 + resources.PROMPT_TOKENS)


def test_a_set_of_unknown_length_has_unknown_tokens():
    plan = plan_with("questions/test/limit", None)
    assert resources.generating(plan, ANSWERS).tokens is None
    assert resources.training(plan, "main.big.random.0").tokens == 3 * 8 * 4096  # by its steps


@pytest.mark.parametrize(
    ("strategy", "examples"),
    [
        ({"score": "grape"}, 100),
        ({"score": "grape", "per_question": 3}, 300),
        ({"score": "grape", "responses": 70}, 70),
        ({"score": "grape", "tokens": 5000}, 100 * 4),
    ],
)
def test_a_student_learns_as_many_responses_as_its_strategy_may_take(strategy, examples):
    config = config_with("questions/gsm/limit", 100)
    config["training"]["short"] = {"epochs": 2.0, "max_length": 64}
    config["strategies"] = {"mine": strategy, "twin": {"length_matched_to": "mine"}}
    config["runs"]["main"]["strategies"] = ["mine", "twin"]
    plan = load_plan(config)
    for name in ("mine", "twin"):
        assert resources.training(plan, f"main.big.{name}.0").tokens == 2 * examples * 64


def test_windows_cost_more_to_score():
    plan = model()
    assert resources.scoring(plan, "window-3", ANSWERS).cost > resources.scoring(plan, "full", ANSWERS).cost


# What it asks for


def test_what_the_config_says_is_asked_for():
    plan = model(parameters=7.0e9, mem_mb=1234, runtime=56, gpus=0)
    work = resources.scoring(plan, "full", ANSWERS)
    assert resources.mem_mb(plan, "big", work, 0) == 1234
    assert resources.minutes(plan, "big", work, 0) == 56
    assert resources.gpus(plan, "big", large=1) == 0


def test_where_nothing_is_known_the_defaults_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    plan = model()
    work = resources.scoring(plan, "full", ANSWERS)
    assert resources.mem_mb(plan, "big", work, 0) == resources.UNKNOWN_MIB
    assert resources.minutes(plan, "big", work, 0) == resources.UNKNOWN_MINUTES
    assert resources.gpus(plan, "big", large=1) == 0


def test_on_a_cpu_weights_count_by_their_number_format_and_on_a_gpu_hardly():
    def memory(dtype: str, gpus: int) -> int:
        plan = model(parameters=8.0e9, dtype=dtype)
        return resources.mem_mb(plan, "big", resources.scoring(plan, "full", ANSWERS), gpus)

    assert memory("float32", 0) - memory("bfloat16", 0) >= 8e9 * 2 / 2**20
    assert memory("float32", 1) < 12_000 < 8e9 * 2 / 2**20 < memory("bfloat16", 0)


def test_full_training_holds_gradients_and_moments_and_lora_does_not():
    def memory(method: str) -> int:
        config = config_with("training/short", {"max_steps": 3, "method": method, "max_length": 64})
        config["models"]["small"]["parameters"] = 1.0e9
        plan = load_plan(config)
        return resources.mem_mb(plan, "main.big.random.0", resources.training(plan, "main.big.random.0"), 0)

    assert memory("full") - memory("lora") == pytest.approx(2.8 * 4e9 / 2**20, rel=0.02)


def test_time_grows_with_the_tokens_and_a_measured_rate_comes_first():
    plan = model(parameters=8.0e9, dtype="bfloat16", tokens_per_second={"score": 500})
    short, long = Work("score", 1e6), Work("score", 2e6)
    taken = [resources.minutes(plan, "big", work, 1) - resources.START_MINUTES for work in (short, long)]
    assert taken == [50, 100]  # 1.5 x 1e6 / 500 s
    assert resources.minutes(plan, "big", Work("generate", 1e6, 10), 1) > resources.minutes(plan, "big", short, 4)


def test_no_estimate_is_longer_than_a_day_or_holds_all_that_is_trained_on():
    plan = plan_with("models/small/parameters", 1.0e9)
    endless = Work("train", 1e15, 3)
    assert resources.minutes(plan, "main.big.random.0", endless, 1) == resources.MOST_MINUTES
    assert resources.mem_mb(plan, "main.big.random.0", endless, 1) < 20_000


def test_a_large_model_asks_for_a_gpu_unless_the_config_says_how_many():
    for parameters, expected in ((0.9e9, 0), (1.0e9, 1)):
        assert resources.gpus(model(parameters=parameters), "big", large=1e9) == expected
        assert resources.gpus(model(parameters=parameters), "big", large=math.inf) == 0
    assert resources.gpus(model(gpus=2), "big", large=math.inf) == 2


def test_jobs_are_told_the_gpus_that_they_asked_for():
    assert model(parameters=2.0e9).execution("big", gpus=1).gpus == 1
    assert model().execution("big").gpus == 0
    assert model(gpus=3).execution("big", gpus=1).gpus == 3


def test_torch_is_not_imported_to_plan():
    code = "import sys, distrace.resources; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_training_asks_for_a_gpu_for_each_process_of_its_accelerate_file_and_other_jobs_do_not(tmp_path):
    file, gpus = tmp_path / "accelerate.yaml", {}
    for kind in ("FSDP", "MULTI_CPU"):
        file.write_text(f"{{distributed_type: {kind}, num_processes: 8}}")
        plan = plan_with("training/short", {"max_steps": 3, "micro_batch_size": 1, "accelerate": str(file)})
        plan.config["models"]["small"]["gpus"] = 2
        asked = [resources.gpus(plan, "main.big.random.0", 1e9, task) for task in ("score", "generate", "train")]
        gpus[kind] = asked
    assert gpus == {"FSDP": [2, 2, 8], "MULTI_CPU": [2, 2, 0]}


def test_each_process_of_a_training_on_a_cpu_holds_a_model(tmp_path):
    file = tmp_path / "accelerate.yaml"
    file.write_text("{distributed_type: MULTI_CPU, num_processes: 2}")

    def asked(**settings: object) -> int:
        plan = plan_with("training/short", {"max_steps": 3, "micro_batch_size": 1, "max_length": 64, **settings})
        plan.config["models"]["small"]["parameters"] = 1e9
        work = resources.training(plan, "main.big.random.0")
        return resources.mem_mb(plan, "main.big.random.0", work, 0) - resources.PYTHON_MIB

    assert asked(accelerate=str(file)) == pytest.approx(2 * asked(), rel=0.02)
