"""Trainings of a tiny model, for tests."""

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from distrace.models import folder_card
from distrace.settings import IN_ONE_PROCESS, ModelSettings, Training, TrainingExecution
from distrace.training.examples import SCHEMA
from distrace.training.launch import Job
from distrace.training.trainer import train
from tiny import write_author

IGNORED = -100
TWO_PROCESSES = TrainingExecution({"distributed_type": "MULTI_CPU", "num_processes": 2})
# Prompt and response of some tokens each, of very unlike length.
UNLIKE = [([5, 6], [7, 8, 9, 2]), ([10], list(range(20, 60))), ([11, 12, 13], [14, 2]), ([9] * 20, [8, 2])] * 2
UNLIKE += [([30 + n, 40], [50 + n, 60, 2]) for n in range(3)]


def example(prompt: list[int], response: list[int]) -> dict[str, list[int]]:
    return {"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response}


def write_rows(file: Path, examples: Iterable[tuple[list[int], list[int]]] = UNLIKE) -> Path:
    """Write a file of examples, in batches of three rows."""
    rows = [example(*pair) for pair in examples]
    with pa.ipc.new_stream(str(file), SCHEMA) as sink:
        for first in range(0, len(rows), 3):
            sink.write_batch(pa.RecordBatch.from_pylist(rows[first : first + 3], schema=SCHEMA))
    return file


def tiny_job(
    folder: Path,
    training: Training,
    examples: Path | None = None,
    held_out: Path | None = None,
    execution: TrainingExecution = IN_ONE_PROCESS,
) -> Job:
    """Return a training of the tiny model into a folder, on some examples of unlike length."""
    base = folder / "base"
    if not base.is_dir():
        write_author(base)
    card = folder_card("base", str(base))
    file = examples or write_rows(folder / "examples.arrow")
    return Job(card, ModelSettings(), training, execution, file, held_out, folder, "f" * 64)


def hide_gpus() -> None:
    """Let this process see no GPU: to be called before CUDA is."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def trained(job: Job) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """Train in this process; return the rows of the log, and the weights."""
    rows = train(job, AutoTokenizer.from_pretrained(job.card.location))
    return rows, weights_of(job)


def weights_of(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.folder / "weights/model.safetensors")


def assert_same(found: tuple[list[dict], dict], expected: tuple[list[dict], dict], within: float = 1e-4) -> None:
    """Fail unless losses and weights of two trainings are the same, up to rounding."""
    (rows, weights), (other_rows, other_weights) = found, expected
    assert [row["step"] for row in rows] == [row["step"] for row in other_rows]
    for key in rows[0].keys() - {"step", "epoch"}:  # transformers counts an epoch by its forward passes
        values, others = ([row[key] for row in table] for table in (rows, other_rows))
        assert max(abs(a - b) for a, b in zip(values, others, strict=True)) < within, key
    assert weights.keys() == other_weights.keys()
    for name, values in weights.items():
        torch.testing.assert_close(values, other_weights[name], atol=within, rtol=0)
