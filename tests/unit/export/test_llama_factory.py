"""The files for LLaMA-Factory, held to the keys that its loader and its arguments know.

The keys are those of LLaMA-Factory at commit ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30 (version 0.9.6.dev0).
"""

import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments

from distrace.export.files import LLAMA_FACTORY
from distrace.export.llama_factory import dataset_info, recipe
from distrace.models import Card

# src/llamafactory/data/parser.py: what `get_dataset_list` and `DatasetAttr.join` read.
LOADED_FROM = {"hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name"}
OF_DATA_SET = {"formatting", "ranking", "subset", "split", "folder", "num_samples", "columns", "tags"}
COLUMNS = {"prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios"}
COLUMNS |= {"chosen", "rejected", "kto_tag"}
# src/llamafactory/extras/constants.py: FILEEXT2TYPE
FILE_TYPES = {".arrow", ".csv", ".json", ".jsonl", ".parquet", ".txt"}
# src/llamafactory/hparams/: of model_args, finetuning_args and data_args, what the recipe uses.
OF_ARGUMENTS = {"model_name_or_path", "model_revision", "trust_remote_code", "stage", "finetuning_type", "plot_loss"}
OF_ARGUMENTS |= {"dataset", "dataset_dir", "template", "cutoff_len", "packing"}
# Of the transformers (4.55 to 5.8) that it asks for; later ones call it `warmup_steps`, below 1.
OF_ITS_TRANSFORMERS = {"warmup_ratio"}
HUB = Card("student", "owner/small", "abc", "f")


def read_recipe(student: Card = HUB, trust: bool = False) -> dict:
    return yaml.safe_load(recipe("main.big.grape", student, trust, 5, Path("results/export/main/big/q/s/grape")))


def test_the_data_set_is_described_by_keys_that_the_loader_reads():
    [(name, described)] = json.loads(dataset_info("main.big.grape")).items()
    assert name == "main.big.grape"
    assert len(described.keys() & LOADED_FROM) == 1
    assert described.keys() <= LOADED_FROM | OF_DATA_SET
    assert described["columns"].keys() <= COLUMNS
    assert described["columns"] == {"prompt": "instruction", "response": "output"}
    assert described["file_name"] == LLAMA_FACTORY.name
    assert Path(described["file_name"]).suffix in FILE_TYPES


def test_the_recipe_has_keys_that_llama_factory_knows_and_names_the_data_set():
    found = read_recipe()
    known = OF_ARGUMENTS | OF_ITS_TRANSFORMERS | {field.name for field in fields(TrainingArguments)}
    assert found.keys() <= known
    assert (found["dataset"], found["dataset_dir"]) == (
        "main.big.grape",
        "results/export/main/big/q/s/grape/llama_factory",
    )


def test_the_recipe_is_that_of_the_authors():
    found = read_recipe()
    assert found["finetuning_type"] == "full"
    assert (found["learning_rate"], found["lr_scheduler_kwargs"], found["warmup_ratio"]) == (
        5e-5,
        {"min_lr": 1e-5},
        0.1,
    )
    assert (found["weight_decay"], found["adam_beta1"], found["adam_beta2"]) == (0.1, 0.9, 0.95)
    assert (found["num_train_epochs"], found["packing"], found["template"]) == (6, True, "empty")
    assert found["per_device_train_batch_size"] * found["gradient_accumulation_steps"] == 64
    assert found["seed"] == 5


@pytest.mark.parametrize(
    ("student", "expected"),
    [(HUB, ("owner/small", "abc")), (Card("student", "my: folder/#1", None, "f"), ("my: folder/#1", "main"))],
)
def test_the_recipe_starts_from_the_student(student, expected):
    found = read_recipe(student)
    assert (found["model_name_or_path"], found["model_revision"]) == expected


def test_code_of_the_student_is_trusted_where_the_config_does_so():
    assert [read_recipe(trust=trust)["trust_remote_code"] for trust in (False, True)] == [False, True]
