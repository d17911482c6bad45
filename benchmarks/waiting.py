"""What it costs that threads which wait for each other soon sleep, and what it gains, on a CPU.

    python benchmarks/waiting.py --model FOLDER --data math_cot_100.jsonl [--pairs 3]

The rules let threads of all jobs spin for a `short` time before they sleep (`rules/common.smk`); where nothing is set,
GNU OpenMP lets them spin some fifty times longer, and under the `passive` policy not at all. Scoring, generation and
training steps run under each in turn, in processes that have the model loaded. Then two processes score at once, and
one after the other. Nothing else should run. The JSON line comes last; its ratios of speeds are medians of
pairs: `idle` is short and passive to `unset`, `together` two jobs at once to one after the other.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch

from distrace.engines import load_engine
from distrace.engines.requests import GenerateRequest, ScoreRequest
from distrace.engines.transformers import TransformersEngine
from distrace.models import folder_card
from distrace.settings import Execution, ModelSettings, Sampling

POLICIES: dict[str, dict[str, str]] = {
    "short": {"GOMP_SPINCOUNT": "6000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "unset": {},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    found = {"cores": os.cpu_count(), "threads": options.threads, "idle": {}, "together": {}}
    for threads in sorted({1, options.threads}):
        workers = {policy: start(policy, threads, options) for policy in POLICIES}
        for work in WORK:
            rounds = [speeds(workers, work, bool(number % 2)) for number in range(options.pairs)]
            for policy in ("short", "passive"):
                what = f"{work}, {threads} threads, {policy}"
                found["idle"][what] = told(f"{what} to unset", [round[policy] / round["unset"] for round in rounds])
        stop(*workers.values())
    for policy in POLICIES:
        two = [start(policy, options.threads, options) for _ in range(2)]
        ratios = [together(two) for _ in range(options.pairs)]
        found["together"][policy] = told(f"two scoring jobs at once, {policy}", ratios)
        stop(*two)
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a folder that transformers saved")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with `code`, a list of responses")
    parser.add_argument("--pairs", type=int, default=3, help="how often each is timed under both policies")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of a job; all is measured with 1, too")
    return parser.parse_args()


def told(what: str, ratios: list[float]) -> float:
    """Return the median of the ratios; print it with their range."""
    median = statistics.median(ratios)
    print(f"{what}: {median:.3f} ({min(ratios):.3f}-{max(ratios):.3f}, n={len(ratios)})", flush=True)
    return round(median, 3)


# Processes that hold a model; the policy is read when a process first starts threads


def start(policy: str, threads: int, options: argparse.Namespace) -> Pool:
    """Return a process under a policy that has loaded the model and has done each work once."""
    before = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    os.environ |= {"OMP_NUM_THREADS": str(threads)} | POLICIES[policy]
    worker = multiprocessing.get_context("spawn").Pool(1, _load, (options.model, options.data, threads))
    worker.apply(_require_policy, (policy,))
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ |= before
    for work in WORK:
        worker.apply(timed, (work,))
    return worker


def stop(*workers: Pool) -> None:
    """End the processes."""
    for worker in workers:
        worker.close()
        worker.join()


def _load(model: str, data: Path, threads: int) -> None:
    global engine, tokens  # of this process, for what it is asked to do
    torch.set_num_threads(threads)
    loaded = load_engine(folder_card("benchmark", model), ModelSettings(), Execution(), "generate")
    assert isinstance(loaded, TransformersEngine)
    texts = json.loads(data.read_text("utf-8").splitlines()[0])["code"]
    engine, tokens = loaded, loaded.tokenizer("\n".join(texts)).input_ids


def _require_policy(policy: str) -> None:
    assert {name: os.environ[name] for name in VARIABLES[:2] if name in os.environ} == POLICIES[policy]


def timed(work: str) -> float:
    """Return the seconds that some work takes in this process."""
    began = time.perf_counter()
    WORK[work]()
    return time.perf_counter() - began


def score() -> None:
    """Score four responses of 256 tokens."""
    responses = [tokens[start : start + 256] for start in range(1, 1025, 256)]
    requests = [ScoreRequest(tokens[:1], response, np.ones(len(response), bool)) for response in responses]
    for batch in engine.score_batches(requests):
        engine.score([requests[i] for i in batch])


def generate() -> None:
    """Generate eight responses of at most 16 tokens."""
    engine.generate([GenerateRequest(tokens[:64], 16, seed) for seed in range(8)], Sampling(max_tokens=16))


def train() -> None:
    """Take two steps as a training does: forward, backward and AdamW, on four sequences of 64 tokens."""
    batch = torch.tensor(tokens[:256]).reshape(4, 64)
    optimiser = torch.optim.AdamW(engine.model.parameters(), lr=0.0)  # the weights stay as they are
    for _ in range(2):
        engine.model(input_ids=batch, labels=batch, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


WORK: dict[str, Callable[[], None]] = {"scoring": score, "generation": generate, "training": train}


def speeds(workers: dict[str, Pool], work: str, turned: bool) -> dict[str, float]:
    """Return how often a second some work is done under each policy; in turn, either end of the policies is first."""
    return {
        policy: 1 / workers[policy].apply(timed, (work,)) for policy in (list(POLICIES)[::-1] if turned else POLICIES)
    }


def together(two: list[Pool]) -> float:
    """Return the speed of two processes that score at once, divided by that of one after the other."""
    after = sum(worker.apply(timed, ("scoring",)) for worker in two)
    began = time.perf_counter()
    for running in [worker.apply_async(timed, ("scoring",)) for worker in two]:
        running.get()
    return after / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
