"""Training in several processes: what an accelerate file asks for, and the processes that do it.

Imports neither torch nor accelerate, which take seconds: the config is checked with it, too. The processes run
`python -m distrace.training.process JOB ROWS`. They end when this one does, so that a job that is submitted again
after a kill never trains beside them.
"""

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from distrace.errors import DistraceError
from distrace.models import Card
from distrace.settings import ModelSettings, Training, TrainingExecution

log = logging.getLogger(__name__)

ON_CPU = "MULTI_CPU"
TYPES = (ON_CPU, "MULTI_GPU", "FSDP", "DEEPSPEED")
PLAIN_DDP = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU"}


@dataclass(frozen=True)
class Job:
    """A training: of which model, how, on which files of examples; `folder` is that of the model."""

    card: Card
    settings: ModelSettings
    training: Training
    execution: TrainingExecution
    examples: Path
    held_out: Path | None
    folder: Path
    fingerprint: str


def read_accelerate(file: str) -> dict[str, Any]:
    """Return what a file of `accelerate config` says; raise DistraceError if it cannot be used."""
    try:
        found = yaml.safe_load(Path(file).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DistraceError(f"{file}: cannot be read ({error}); `accelerate config` writes such a file") from error
    if not isinstance(found, dict) or found.get("distributed_type") not in TYPES:
        raise DistraceError(f"{file}: `distributed_type` must be one of {', '.join(TYPES)}")
    if not isinstance(found.get("num_processes"), int) or found["num_processes"] < 1:
        raise DistraceError(f"{file}: `num_processes` must say how many processes train, on one node")
    if found.get("num_machines", 1) != 1:
        raise DistraceError(f"{file}: `num_machines` must be 1: a job runs on one node")
    return found


def gpus_of(accelerate: dict[str, Any]) -> int:
    """Return how many GPUs the processes of an accelerate file take: one each, or none on a CPU."""
    return 0 if accelerate["distributed_type"] == ON_CPU else int(accelerate["num_processes"])


def processes_of(execution: TrainingExecution) -> int:
    """Return in how many processes a model is trained: those of its accelerate file, or one for each GPU."""
    return int(execution.accelerate["num_processes"]) if execution.accelerate else max(1, execution.gpus)


def runs_in_processes(execution: TrainingExecution) -> bool:
    """Return whether a training has processes of its own, beside that of its job."""
    return execution.accelerate is not None or processes_of(execution) > 1


def batches(training: Training, processes: int) -> tuple[int, int]:
    """Return how many examples a process takes in a forward pass, and how many passes it makes in an optimiser step.

    A pass takes no more than `micro_batch_size`. Raises DistraceError if the processes cannot share a batch evenly.
    """
    share, rest = divmod(training.batch_size, processes)
    if rest:
        raise DistraceError(f"batch_size {training.batch_size} must be a multiple of the {processes} processes")
    most = min(training.micro_batch_size, share)
    size = max(size for size in range(1, most + 1) if share % size == 0)
    return size, share // size


def train_in_processes(job: Job) -> list[dict[str, Any]]:
    """Train in the processes that the job's execution asks for; return the training log's rows, as `train` does.

    Raises DistraceError if a process fails.
    """
    batches(job.training, processes_of(job.execution))
    folder = job.examples.parent
    rows, described, config = (folder / name for name in ("rows.json", "job.json", "accelerate.yaml"))
    described.write_text(json.dumps(asdict(job), default=str), encoding="utf-8")
    config.write_text(yaml.safe_dump(_accelerate(job.execution)), encoding="utf-8")
    # The pipe closes when this process ends, however that comes about; the others wait for that (`process.py`).
    with subprocess.Popen(_command(job, config, described, rows), env=_environment(job), stdin=subprocess.PIPE) as run:
        status = run.wait()
    if status:
        raise DistraceError(f"the processes that train the model failed with status {status}; their log is above")
    found: list[dict[str, Any]] = json.loads(rows.read_text("utf-8"))
    return found


def read_job(path: Path) -> Job:
    """Return the job that `train_in_processes` wrote down."""
    found = json.loads(path.read_text("utf-8"))
    return Job(
        Card(**found["card"]),
        ModelSettings(**found["settings"]),
        Training(**found["training"]),
        TrainingExecution(**found["execution"]),
        Path(found["examples"]),
        Path(found["held_out"]) if found["held_out"] else None,
        Path(found["folder"]),
        found["fingerprint"],
    )


def _accelerate(execution: TrainingExecution) -> dict[str, Any]:
    return execution.accelerate or PLAIN_DDP | {"num_processes": processes_of(execution)}


def _command(job: Job, config: Path, *arguments: Path) -> list[str]:
    accelerate = _accelerate(job.execution)
    program = ["-m", "distrace.training.process", *map(str, arguments)]
    if accelerate["distributed_type"] == ON_CPU:
        # accelerate itself would need MPI here.
        count = str(accelerate["num_processes"])
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count, *program]
    # The number format is that of the training, which is part of the result; the file's own does not count.
    precision = "bf16" if job.training.dtype == "bfloat16" else "no"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return [*launch, "--mixed_precision", precision, "--main_process_port", "0", *program]


def _environment(job: Job) -> dict[str, str]:
    """Return the variables of the processes, which share the threads of the job."""
    processes = processes_of(job.execution)
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    set_here = {"OMP_NUM_THREADS": str(max(1, threads // processes))}
    if gpus_of(_accelerate(job.execution)) == 0:
        set_here |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | set_here
