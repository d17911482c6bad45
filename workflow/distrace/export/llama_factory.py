"""What LLaMA-Factory needs beside the data: `dataset_info.json`, and a config with the recipe of the method's authors.

Keys are those of LLaMA-Factory 0.9.6.dev0 (commit ff6d4d12): of a data set in `src/llamafactory/data/parser.py`, of the
config in `src/llamafactory/hparams/` and, as its `examples/train_full` have them, of transformers' TrainingArguments.
"""

import json
from pathlib import Path

from distrace.export.files import LLAMA_FACTORY
from distrace.models import Card

INFO = LLAMA_FACTORY.with_name("dataset_info.json")
RECIPE = LLAMA_FACTORY.with_name("sft.yaml")

_RECIPE = """\
# Supervised fine-tuning as in arXiv 2601.09088. In the project's folder: llamafactory-cli train THIS_FILE

### model
model_name_or_path: {model}
model_revision: {revision}
trust_remote_code: {trust_remote_code}

### method
stage: sft
do_train: true
finetuning_type: full

### dataset
dataset: {name}
dataset_dir: {folder}
template: empty # adds nothing: the rows hold the student's own prompt format, and the end token
cutoff_len: 65536 # 32k to 64k in the paper; longer responses are dropped
packing: true

### output
output_dir: {out}
logging_steps: 10
save_strategy: epoch
plot_loss: true
report_to: none

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 64 # 64 packs in a step in all: divide by the number of GPUs
learning_rate: 5.0e-5
num_train_epochs: 6.0
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {{min_lr: 1.0e-5}}
warmup_ratio: 0.1
weight_decay: 0.1
adam_beta1: 0.9
adam_beta2: 0.95
bf16: true
gradient_checkpointing: true
seed: {seed}
# deepspeed: THE_CONFIG_FOR_YOUR_GPUS.json
"""


def dataset_info(name: str) -> str:
    """Return the text of `dataset_info.json`, which tells LLaMA-Factory what the data set `name` is."""
    columns = {"prompt": "instruction", "response": "output"}
    return json.dumps({name: {"file_name": LLAMA_FACTORY.name, "columns": columns}}, indent=2) + "\n"


def recipe(name: str, student: Card, trust_remote_code: bool, seed: int, folder: Path) -> str:
    """Return the text of a config that trains the student on the data set `name`; `folder` is that of the export."""
    values = {
        "model": student.location,
        "revision": student.revision or "main",
        "trust_remote_code": trust_remote_code,
        "name": name,
        "folder": str(folder / LLAMA_FACTORY.parent),
        "out": f"saves/{name}",
        "seed": seed,
    }
    return _RECIPE.format(**{key: json.dumps(value) for key, value in values.items()})
