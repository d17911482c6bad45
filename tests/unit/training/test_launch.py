"""Training in two processes on the CPU, and what is asked of an accelerate file."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer

from distrace.errors import DistraceError
from distrace.settings import Training, TrainingExecution
from distrace.training import launch
from distrace.training.examples import pack_examples
from distrace.training.launch import (
    batches,
    gpus_of,
    processes_of,
    read_accelerate,
    read_job,
    runs_in_processes,
    train_in_processes,
)
from distrace.training.trainer import merge_adapters
from trainings import TWO_PROCESSES, UNLIKE, assert_same, tiny_job, trained, weights_of, write_rows

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples/accelerate").glob("*.yaml"))
# Eleven examples in batches of eight: the second step of an epoch has three, which two processes cannot share evenly.
TRAINING = Training(epochs=3, batch_size=8, micro_batch_size=2, learning_rate=1e-3, warmup=0)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_the_files_of_the_documentation_can_be_used(file):
    assert read_accelerate(str(file))["num_processes"] > 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "cannot be read"),
        ("- 1", "`distributed_type` must be one of MULTI_CPU, MULTI_GPU, FSDP, DEEPSPEED"),
        ("distributed_type: XLA", "`distributed_type` must be one of"),
        ("distributed_type: FSDP", "`num_processes` must say how many"),
        ("{distributed_type: FSDP, num_processes: -1}", "`num_processes` must say how many"),
        ("{distributed_type: FSDP, num_processes: 8, num_machines: 2}", "`num_machines` must be 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_name(tmp_path, text, complaint):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DistraceError, match=complaint) as found:
        read_accelerate(str(tmp_path / "a.yaml"))
    assert "a.yaml" in str(found.value)


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(DistraceError, match=r"nowhere.yaml: cannot be read .*`accelerate config` writes"):
        read_accelerate("nowhere.yaml")


def test_a_model_is_trained_in_the_processes_of_its_file_or_in_one_for_each_gpu():
    fsdp = {"distributed_type": "FSDP", "num_processes": 8}
    assert (processes_of(TrainingExecution(fsdp)), gpus_of(fsdp)) == (8, 8)
    assert (processes_of(TWO_PROCESSES), gpus_of(TWO_PROCESSES.accelerate)) == (2, 0)
    assert [processes_of(TrainingExecution(gpus=gpus)) for gpus in (0, 1, 4)] == [1, 1, 4]
    alone = [TrainingExecution(gpus=1), TrainingExecution(gpus=2), TrainingExecution(fsdp | {"num_processes": 1})]
    assert list(map(runs_in_processes, alone)) == [False, True, True]


def test_a_batch_is_divided_among_processes_and_forward_passes_no_larger_than_asked_for():
    training = Training(batch_size=24, micro_batch_size=4)
    assert [batches(training, processes) for processes in (1, 2, 4, 8)] == [(4, 6), (4, 3), (3, 2), (3, 1)]
    for micro in range(1, 25):
        for processes in (1, 2, 3, 4, 6):
            size, passes = batches(replace(training, micro_batch_size=micro), processes)
            assert (size <= micro, size * passes * processes) == (True, 24)
    with pytest.raises(DistraceError, match="batch_size 24 must be a multiple of the 5 processes"):
        batches(training, 5)


def test_a_job_that_is_written_down_is_read_as_it_was(tmp_path):
    job = tiny_job(tmp_path, replace(TRAINING, held_out=0.1), execution=TWO_PROCESSES)
    for held_out in (None, tmp_path / "held_out.arrow"):
        (tmp_path / "job.json").write_text(json.dumps(asdict(replace(job, held_out=held_out)), default=str))
        assert read_job(tmp_path / "job.json") == replace(job, held_out=held_out)


def started(job, monkeypatch) -> tuple[list[str], dict[str, str]]:
    """Return the command and the variables with which the processes of a job would be started."""
    seen = {}

    class Started:
        def __init__(self, command, env, stdin):
            seen.update(command=command, env=env, stdin=stdin)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait(self):
            return 3

    monkeypatch.setattr(launch.subprocess, "Popen", Started)
    with pytest.raises(DistraceError, match="failed with status 3"):
        train_in_processes(job)
    assert seen["stdin"] == subprocess.PIPE
    return seen["command"], seen["env"]


@pytest.mark.parametrize("file", [path for path in EXAMPLES if "cpu" not in path.stem], ids=lambda path: path.stem)
def test_accelerate_is_given_the_text_of_the_file_and_the_number_format_of_the_training(tmp_path, monkeypatch, file):
    wanted = read_accelerate(str(file))
    training = replace(TRAINING, batch_size=64, dtype="bfloat16")
    job = tiny_job(tmp_path, training, execution=TrainingExecution(wanted, gpus=wanted["num_processes"]))
    command, env = started(job, monkeypatch)
    assert command[1:3] == ["-m", "accelerate.commands.launch"]
    assert yaml.safe_load(Path(command[command.index("--config_file") + 1]).read_text()) == wanted
    assert command[command.index("--mixed_precision") + 1] == "bf16"
    assert command[command.index("-m", 3) + 1] == "distrace.training.process"
    assert "ACCELERATE_USE_CPU" not in env


def test_several_gpus_without_a_file_train_with_ddp(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, TRAINING, execution=TrainingExecution(gpus=4))
    command, _ = started(job, monkeypatch)
    used = yaml.safe_load(Path(command[command.index("--config_file") + 1]).read_text())
    assert (used["distributed_type"], used["num_processes"]) == ("MULTI_GPU", 4)
    assert command[command.index("--mixed_precision") + 1] == "no"


def test_processes_on_a_cpu_share_the_threads_of_the_job_and_see_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    command, env = started(tiny_job(tmp_path, TRAINING, execution=TWO_PROCESSES), monkeypatch)
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert command[command.index("--nproc-per-node") + 1] == "2"
    assert (env["OMP_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"], env["ACCELERATE_USE_CPU"]) == ("3", "", "true")


@pytest.mark.slow
def test_two_processes_have_the_losses_and_the_weights_of_one(tmp_path):
    """Held out too, with a number of examples that the processes cannot share evenly."""
    held_out = write_rows(tmp_path / "held_out.arrow", UNLIKE[:3])
    alone = trained(tiny_job(tmp_path / "alone", TRAINING, held_out=held_out))
    job = tiny_job(tmp_path / "two", TRAINING, held_out=held_out, execution=TWO_PROCESSES)
    rows = train_in_processes(job)
    assert_same((rows, weights_of(job)), alone)
    assert not list(job.folder.glob(".*"))


@pytest.mark.slow
def test_two_processes_train_adapters_on_packs_as_one_does(tmp_path):
    training = replace(TRAINING, method="lora", lora_rank=2, packing=True, batch_size=4, micro_batch_size=1)
    jobs = [tiny_job(tmp_path / name, training) for name in ("alone", "two")]
    for job in jobs:
        assert pack_examples(job.examples, 60) == 3  # which two processes cannot share evenly
    alone = trained(jobs[0])
    job = replace(jobs[1], execution=TWO_PROCESSES)
    rows = train_in_processes(job)
    merge_adapters(job, AutoTokenizer.from_pretrained(job.card.location))
    assert_same((rows, weights_of(job)), alone)


def processes_with(word: str) -> list[int]:
    """Return the processes of this machine whose command line has a word in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until(happened, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_processes_end_with_a_job_that_is_killed_and_the_next_one_goes_on_where_they_stopped(tmp_path):
    training = replace(TRAINING, max_steps=60)
    alone = trained(tiny_job(tmp_path / "alone", training))
    execution = replace(TWO_PROCESSES, keep_checkpoints=5)
    job = tiny_job(tmp_path / "two", training, execution=execution)
    described = tmp_path / "described.json"
    described.write_text(json.dumps(asdict(job), default=str))
    code = (
        "import sys\nfrom pathlib import Path\nfrom distrace.training.launch import read_job, train_in_processes\n"
        "train_in_processes(read_job(Path(sys.argv[1])))\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(described)])
    wait_until(lambda: list(job.folder.glob(".checkpoints-*/checkpoint-24/trainer_state.json")))
    assert len(processes_with(str(job.folder / "job.json"))) >= 2
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    wait_until(lambda: not processes_with(str(job.folder / "job.json")), seconds=30)
    assert not (job.folder / "weights").exists()
    [checkpoints] = job.folder.glob(".checkpoints-*")
    written = (checkpoints / "checkpoint-12/trainer_state.json").stat().st_mtime_ns
    rows = train_in_processes(job)
    assert_same((rows, weights_of(job)), alone)
    assert (job.folder / "checkpoints/checkpoint-12/trainer_state.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_process_that_fails_says_why_and_ends_the_job(tmp_path, capfd):
    job = tiny_job(tmp_path, TRAINING, execution=TWO_PROCESSES)
    (job.folder / "base/config.json").unlink()
    with pytest.raises(DistraceError, match="the processes that train the model failed with status 1"):
        train_in_processes(job)
    assert "config.json" in capfd.readouterr().err
