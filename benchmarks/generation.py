"""Compare the generation of the transformers engine with transformers' own and with vLLM: speed.

    python benchmarks/generation.py --model FOLDER --data gsm8k_test.jsonl [--vllm-python .venv-vllm/bin/python] [--gpu]

docs/benchmarks.md says what it compares with and what it prints.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, StoppingCriteria

from distrace.engines import load_engine
from distrace.engines.requests import GenerateRequest
from distrace.engines.transformers import TransformersEngine
from distrace.engines.transformers.cpu import faster_on_cpu
from distrace.models import folder_card
from distrace.settings import Execution, ModelSettings, Sampling
from distrace.text.alignment import encode_prompt
from distrace.text.prompts import load_format, prompt_text

CACHE_PAGE = 32  # tokens of a page of transformers' continuous batching
CACHE_TOKENS = 4096  # that it reads at once; it wants memory for the logits of all of them


@dataclass(frozen=True)
class Work:
    """What each contestant has to do: a prompt and a length of response for each row, in tokens."""

    prompts: list[list[int]]
    lengths: list[int]
    max_tokens: int
    batch_size: int  # responses side by side

    @property
    def longest(self) -> int:
        """The tokens of the longest prompt and of the longest response that might follow it."""
        return max(map(len, self.prompts)) + self.max_tokens


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    torch.set_num_threads(options.threads)
    found = {dtype: compare(options, dtype) for dtype in options.dtype}
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a folder that transformers saved")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with a `question` each")
    parser.add_argument("--questions", type=int, default=64, help="how many questions, spread over the file")
    parser.add_argument("--samples", type=int, default=4, help="responses to each question")
    parser.add_argument("--max-tokens", type=int, default=128, help="the longest response, in tokens")
    parser.add_argument("--batch-size", type=int, default=64, help="responses side by side, of engine and `generate`")
    parser.add_argument("--pairs", type=int, default=3, help="how often each peer is timed beside the engine")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--gpu", action="store_true", help="on the first GPU instead of the CPU; vLLM stays on the CPU")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--vllm-python", type=Path, help="the Python of an environment with vLLM; without it, no vLLM")
    parser.add_argument(
        "--same-kernels", action="store_true", help="give transformers the engine's faster kernels, too"
    )
    return parser.parse_args()


def load(folder: str, dtype: str, gpu: bool = False) -> TransformersEngine:
    """Load a model folder as the workflow does; its responses end at their lengths only."""
    execution = Execution(gpus=int(gpu))
    engine = load_engine(folder_card("benchmark", folder), ModelSettings(dtype=dtype), execution, "generate")
    assert isinstance(engine, TransformersEngine)
    engine.ends = set()
    engine.model.generation_config.eos_token_id = None
    return engine


def read_work(options: argparse.Namespace, tokenizer) -> Work:
    """Tokenise questions spread evenly over a file, as the workflow does, and draw lengths for their responses.

    Lengths are uniform between 1 and `max_tokens`, always the same.
    """
    form = load_format(ModelSettings(), tokenizer)
    lines = options.data.read_text("utf-8").splitlines()
    questions = [
        json.loads(lines[i])["question"] for i in np.linspace(0, len(lines) - 1, options.questions).astype(int)
    ]
    prompts = [encode_prompt(tokenizer, prompt_text(form, question)) for question in questions]
    rows = [prompt for prompt in prompts for _ in range(options.samples)]
    lengths = np.random.default_rng(0).integers(1, options.max_tokens + 1, len(rows)).tolist()
    return Work(rows, lengths, options.max_tokens, options.batch_size)


def by_engine(engine: TransformersEngine, work: Work) -> list[int]:
    """Generate by the engine, which is not told the lengths before; return those of the responses."""
    engine.generate_budget = work.batch_size * work.longest
    requests = [GenerateRequest(prompt, work.max_tokens, seed) for seed, prompt in enumerate(work.prompts)]
    found = {}
    for batch in engine.generate_batches(requests):
        ending = [GenerateRequest(work.prompts[i], work.lengths[i], requests[i].seed) for i in batch]
        found.update(zip(batch, engine.generate(ending, Sampling()), strict=True))
    return [len(found[i].token_ids) for i in range(len(requests))]


def _sampling(work: Work, **options: int) -> GenerationConfig:
    """Return how transformers samples: as the engine does by default, without an end token."""
    options |= {"max_new_tokens": work.max_tokens, "pad_token_id": 0}
    return GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **options)


class _Lengths(StoppingCriteria):
    """Ends each row of a batch at its own length."""

    def __init__(self, ends: list[int]):
        self.ends = torch.tensor(ends)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends.to(input_ids.device)


def by_generate(engine: TransformersEngine, work: Work) -> list[int]:
    """Generate by `model.generate` in batches of prompts of like length, padded on the left."""
    order = sorted(range(len(work.prompts)), key=lambda i: -len(work.prompts[i]))
    tensor = partial(torch.tensor, device=engine.device)
    found = {}
    for start in range(0, len(order), work.batch_size):
        batch = order[start : start + work.batch_size]
        width = max(len(work.prompts[i]) for i in batch)
        padding = [width - len(work.prompts[i]) for i in batch]
        sequences = engine.model.generate(
            tensor([[0] * pad + work.prompts[i] for pad, i in zip(padding, batch, strict=True)]),
            attention_mask=tensor([[0] * pad + [1] * (width - pad) for pad in padding]),
            generation_config=_sampling(work),
            stopping_criteria=[_Lengths([width + work.lengths[i] for i in batch])],
        )
        assert sequences.shape[1] == width + max(work.lengths[i] for i in batch)
        found.update({i: work.lengths[i] for i in batch})
    return [found[i] for i in range(len(order))]


def by_continuous_batching(engine: TransformersEngine, work: Work) -> list[int]:
    """Generate by transformers' continuous batching; by itself it would take most of the memory for its cache."""
    config = ContinuousBatchingConfig(
        max_requests_per_batch=work.batch_size,
        max_batch_tokens=min(engine.score_budget, CACHE_TOKENS),
        num_blocks=work.batch_size * math.ceil(work.longest / CACHE_PAGE),
        page_size=CACHE_PAGE,
    )
    manager = engine.model.init_continuous_batching(_sampling(work, eos_token_id=-1), config)
    manager.start()
    try:
        for number, (prompt, length) in enumerate(zip(work.prompts, work.lengths, strict=True)):
            manager.add_request(prompt, request_id=str(number), max_new_tokens=length)
        found = {}
        while len(found) < len(work.prompts):
            result = manager.get_result(timeout=1)
            if result is None:
                assert manager.is_running(), "continuous batching has stopped"
            elif result.is_finished():
                assert result.error is None, result.error
                found[int(result.request_id)] = len(result.generated_tokens)
    finally:
        manager.stop(block=True)
        manager.destroy()
    return [found[i] for i in range(len(work.prompts))]


@contextmanager
def vllm(options: argparse.Namespace, dtype: str, work: Work) -> Iterator[Callable[[Work], list[int]]]:
    """Start vLLM in a process of its own (`vllm_generation.py`); yield what generates `work` there."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "work.json")
        asked.write_text(json.dumps({"prompts": work.prompts, "lengths": work.lengths}))
        script = Path(__file__).with_name("vllm_generation.py")
        command = [options.vllm_python, script, options.model, dtype, asked, options.threads]
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_plain_environment()
        )

        def generate(_: Work) -> list[int]:
            process.stdin.write("generate\n")
            process.stdin.flush()
            return json.loads(_answer(process))

        try:
            _answer(process)  # it is loaded
            yield generate
        finally:
            process.stdin.close()
            process.wait()


def _plain_environment() -> dict[str, str]:
    """Return this process's environment without the packages that it adds to Python's."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _answer(process: subprocess.Popen) -> str:
    """Return the next line that is meant for us: vLLM itself writes to standard output, too."""
    for line in process.stdout:
        if line.startswith("ANSWER "):
            return line.removeprefix("ANSWER ")
    raise RuntimeError(f"vLLM ended with status {process.wait()}")


def compare(options: argparse.Namespace, dtype: str) -> dict[str, float | None]:
    """Return for each peer the median ratio of the engine's throughput to its own; None for one that is left out."""
    engine = load(options.model, dtype, options.gpu)
    work = read_work(options, engine.tokenizer)
    peers = {
        "ratio_generate": partial(by_generate, engine),
        "ratio_continuous": partial(by_continuous_batching, engine),
    }
    if options.same_kernels:  # what `faster_on_cpu` returns is a decorator, too
        peers = {name: faster_on_cpu(engine.model)(peer) for name, peer in peers.items()}
    with vllm(options, dtype, work) if options.vllm_python else nullcontext() as by_vllm:
        peers |= {"ratio_vllm": by_vllm}
        if not by_vllm:
            print("vLLM is left out: --vllm-python names no Python that has it (make .venv-vllm/installed)")
        return medians(partial(by_engine, engine), peers, work, options.pairs)


def medians(
    ours: Callable[[Work], list[int]],
    peers: dict[str, Callable[[Work], list[int]] | None],
    work: Work,
    pairs: int,
) -> dict[str, float | None]:
    """Return for each peer the median ratio over pairs, each of the engine and the peer one right after the other."""
    ratios = {name: [] for name, peer in peers.items() if peer}
    tokens = sum(work.lengths)
    print(f"{len(work.prompts)} responses, {tokens} tokens, {torch.get_num_threads()} threads")
    for generating in (ours, *(peers[name] for name in ratios if name != "ratio_vllm")):
        generating(
            replace(work, prompts=work.prompts[:1], lengths=work.lengths[:1])
        )  # what happens only once: not timed
    for number, name in product(range(pairs), ratios):
        order = (peers[name], ours) if number % 2 else (ours, peers[name])  # whatever gains from being second, in turn
        speed = {generating: tokens / seconds(generating, work) for generating in order}
        ratios[name].append(speed[ours] / speed[peers[name]])
        print(
            f"pair {number + 1}, {name} {ratios[name][-1]:.3f}: "
            f"{speed[ours]:.0f} against {speed[peers[name]]:.0f} tokens/s",
            flush=True,
        )
    return {name: statistics.median(ratios[name]) if name in ratios else None for name in peers}


def seconds(generating: Callable[[Work], list[int]], work: Work) -> float:
    """Return how long it takes to generate; raise AssertionError if a response has another length than it should."""
    start = time.perf_counter()
    lengths = generating(work)
    took = time.perf_counter() - start
    assert lengths == work.lengths
    return took


if __name__ == "__main__":
    main()
