"""A job of the logprobs node that is killed at random moments, for real, and resubmitted each time."""

import os
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from builders import write_questions, write_rollouts
from distrace.artifacts import open_artifact
from distrace.batches import state_folder
from distrace.identity import canonical_json
from distrace.models import folder_card, write_card
from distrace.settings import Execution, ModelSettings
from tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[3]
NODE = [sys.executable, "-m", "distrace.nodes.logprobs"]
KILLS = 10
RESPONSES = 64  # each fills a batch
TOKENS = 900


def write_model(folder: Path, seed: int) -> Path:
    model = tiny_model(max_position_embeddings=2 * TOKENS, num_hidden_layers=6)
    torch.manual_seed(seed)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    write_card(folder / "model.json", folder_card("scorer", str(folder)))
    return folder / "model.json"


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> dict[str, Path]:
    """Questions, rollouts and two models, as options of the job."""
    folder = tmp_path_factory.mktemp("part")
    questions = write_questions(folder / "questions.arrow", {"Say something.": "?"})
    letters = random.Random(0)
    texts = {
        f"r{n}": ("Say something.", "".join(letters.choices("QXZJKVWY", k=TOKENS - 2 * n))) for n in range(RESPONSES)
    }
    rollouts = write_rollouts(folder / "rollouts.arrow", questions, texts)
    models = {name: write_model(folder / name, seed) for seed, name in enumerate(("model", "other"))}
    return {"questions": questions, "rollouts": rollouts} | models


class Job:
    """The job as the workflow runs it, in a process of its own that writes its log to a file beside the output."""

    def __init__(self, part: dict[str, Path], out: Path, model: str = "model"):
        self.out, self.log = out, out.with_suffix(".log")
        paths = {"questions": part["questions"], "rollouts": part["rollouts"], "model": part[model], "out": out}
        options = {name: str(path) for name, path in paths.items()} | {
            "settings": canonical_json(asdict(ModelSettings(format="plain"))),
            "execution": canonical_json(asdict(Execution(token_budget=TOKENS))),
            "context": "full",
        }
        # One thread, so that sums are taken in one order and the same bits come out.
        environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
        out.parent.mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*NODE, *(f"--{name}={value}" for name, value in options.items())],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def batches(self) -> dict[str, tuple[int, int]]:
        """Return inode and time of change of each finished batch file, by name."""
        found = {path.name: path.stat() for path in state_folder(self.out).glob("[!.]*.arrow")}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}

    def kill_after(self, batches: int, seconds: float) -> None:
        """Kill the job so many seconds after it has finished so many batches more."""
        wanted = len(self.batches()) + batches
        while len(self.batches()) < wanted:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.002)
        time.sleep(seconds)
        assert self.process.poll() is None, "the job was over before it could be killed"
        self.process.kill()
        self.process.wait()

    def finish(self) -> bytes:
        """Wait until the job is done and give what it has written."""
        assert self.process.wait() == 0, self.log.read_text()
        return self.out.read_bytes()

    def resumed(self) -> list[str]:
        """Return the lines of the log that speak of batches finished before."""
        return [line for line in self.log.read_text().splitlines() if "finished before" in line]


def line_for(finished: int) -> list[str]:
    numbers = ", ".join(str(number + 1) for number in range(finished))
    return [f"[logprobs] {finished} of {RESPONSES} batches were finished before: {numbers}"] if finished else []


@pytest.fixture(scope="module")
def uninterrupted(part, tmp_path_factory) -> tuple[bytes, float]:
    """What the job writes if nothing stops it, and about how many seconds it takes for a batch."""
    job = Job(part, tmp_path_factory.mktemp("whole") / "0.arrow")
    while not job.batches():
        assert job.process.poll() is None, job.log.read_text()
        time.sleep(0.002)
    began = time.monotonic()
    whole = job.finish()
    assert job.resumed() == []
    return whole, (time.monotonic() - began) / RESPONSES


def test_killed_ten_times_a_job_writes_the_same_bytes_and_computes_no_finished_batch_again(
    part, uninterrupted, tmp_path
):
    whole, seconds = uninterrupted
    moments = random.Random(1)
    out, kept = tmp_path / "killed" / "0.arrow", {}
    for _ in range(KILLS):
        job = Job(part, out)
        job.kill_after(moments.randint(1, 2), moments.uniform(0, 1.5 * seconds))
        assert job.resumed() == line_for(len(kept))
        found = job.batches()
        assert len(found) > len(kept)
        assert {name: found[name] for name in kept} == kept
        assert not out.exists()
        kept = found
    assert len(kept) < RESPONSES
    last = Job(part, out)
    assert last.finish() == whole
    assert last.resumed() == line_for(len(kept))
    assert not state_folder(out).exists()
    assert open_artifact(out).rows == RESPONSES


def test_a_job_of_another_model_takes_none_of_the_batches_that_are_there(part, uninterrupted, tmp_path):
    fresh = Job(part, tmp_path / "fresh" / "0.arrow", "other").finish()
    assert fresh != uninterrupted[0]
    killed = Job(part, tmp_path / "killed" / "0.arrow")
    killed.kill_after(5, 0)
    other = Job(part, tmp_path / "killed" / "0.arrow", "other")
    assert other.finish() == fresh
    assert other.resumed() == []
    assert not state_folder(other.out).exists()
