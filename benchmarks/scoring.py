"""Compare the scoring of the transformers engine with what else one could do: speed, memory and exactness, on a CPU.

    python benchmarks/scoring.py --model FOLDER --data math_cot_100.jsonl [--questions 12] [--pairs 3]

docs/benchmarks.md says what it compares with and what it prints.
"""

import argparse
import copy
import importlib.util
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from distrace.engines import load_engine
from distrace.engines.requests import ScoreRequest
from distrace.engines.transformers import TransformersEngine
from distrace.engines.transformers.cpu import faster_on_cpu
from distrace.models import folder_card
from distrace.settings import Execution, ModelSettings
from distrace.text.alignment import encode_prompt, encode_response
from distrace.text.prompts import load_format, prompt_text, response_pieces

PEER_BATCH = 8  # responses in a batch of the plain loop and of lm-evaluation-harness


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    peaks = None if options.skip_memory else peak_memory(options)
    engine = load(options.model, "float32", options.threads)
    requests = read_requests(options.data, options.questions, engine.tokenizer)
    found = {"peak_mib": peaks, "max_abs_fp32": largest_difference(engine, requests)}
    found |= compare(engine, requests, options.pairs, options.same_kernels)
    engine = load(options.model, "bfloat16", options.threads)
    found["bfloat16"] = compare(engine, requests, options.pairs, options.same_kernels)
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a folder that transformers saved")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with `question` and `code`, its responses")
    parser.add_argument("--questions", type=int, default=12, help="how many questions to score, spread over the file")
    parser.add_argument("--pairs", type=int, default=3, help="how often each peer is timed beside the engine")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 2000, 4000, 8000], help="tokens of a response")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--same-kernels", action="store_true", help="give the peers the engine's faster kernels, too")
    return parser.parse_args()


def load(folder: str, dtype: str, threads: int) -> TransformersEngine:
    """Load a model folder as the workflow does, on CPU."""
    torch.set_num_threads(threads)
    engine = load_engine(folder_card("benchmark", folder), ModelSettings(dtype=dtype), Execution(), "score")
    assert isinstance(engine, TransformersEngine)
    return engine


def read_requests(path: Path, questions: int, tokenizer) -> list[ScoreRequest]:
    """Tokenise all responses to questions spread evenly over a file, as the workflow does."""
    form = load_format(ModelSettings(), tokenizer)
    requests = []
    lines = path.read_text("utf-8").splitlines()
    for number in np.linspace(0, len(lines) - 1, questions).astype(int):
        row = json.loads(lines[number])
        prompt = encode_prompt(tokenizer, prompt_text(form, row["question"]))
        for text in row["code"]:
            aligned = encode_response(tokenizer, response_pieces(form, text, 0))
            requests.append(ScoreRequest(prompt, aligned.token_ids.tolist(), aligned.scored))
    return requests


def score_all(engine: TransformersEngine, requests: list[ScoreRequest]) -> list[np.ndarray]:
    """Return the log-probs of each request's scored tokens, by the engine."""
    found = {}
    for batch in engine.score_batches(requests):
        found.update(zip(batch, engine.score([requests[i] for i in batch]), strict=True))
    return [found[i].logprobs for i in range(len(requests))]


@torch.inference_mode()
def plain_loop(engine: TransformersEngine, requests: list[ScoreRequest], size: int) -> list[np.ndarray]:
    """Return what `score_all` gives, from padded batches in the order given, with all logits at once."""
    found = []
    for start in range(0, len(requests), size):
        batch = requests[start : start + size]
        ids = _padded([request.prompt + request.response for request in batch])
        logprobs = engine.model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        for row, request in enumerate(batch):
            places = _places(request)
            found.append(logprobs[row, places - 1, ids[row, places]].float().numpy())
    return found


@torch.inference_mode()
def bare_limit(engine: TransformersEngine, requests: list[ScoreRequest]) -> None:
    """Run the model on the same tokens, longest first under the engine's budget, and its head on scored positions."""
    padding = copy.copy(engine)
    padding.packs = False
    head = engine.model.get_output_embeddings()
    for batch in padding.score_batches(requests):
        ids = _padded([requests[i].prompt + requests[i].response[:-1] for i in batch])
        states = engine.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        scored = torch.cat([states[row, _places(requests[i]) - 1] for row, i in enumerate(batch)])
        for part in scored.split(engine.head_rows()):
            head(part)


def _places(request: ScoreRequest) -> torch.Tensor:
    """Return the positions of the scored tokens in prompt and response together."""
    return len(request.prompt) + torch.from_numpy(request.scored).nonzero()[:, 0]


def _padded(sequences: list[list[int]]) -> torch.Tensor:
    """Return token ids [sequences, longest], padded on the right: a causal model needs no mask then, and is faster."""
    return pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True)


def lm_eval_scoring(engine: TransformersEngine) -> Callable | None:
    """Return lm-evaluation-harness's `loglikelihood`, or None if it is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        print('lm-evaluation-harness is left out: it is not installed (pip install -e ".[benchmark]")')
        return None
    from lm_eval.models.huggingface import HFLM  # optional, and slow to import

    harness = HFLM(pretrained=engine.model, tokenizer=engine.tokenizer, batch_size=PEER_BATCH)
    # Behind its tokenisation, which would move the prompt's last line break to the response.
    return lambda requests: harness._loglikelihood_tokens(
        [(("", ""), request.prompt, request.response) for request in requests], disable_tqdm=True
    )


def largest_difference(engine: TransformersEngine, requests: list[ScoreRequest]) -> float:
    """Return the largest difference of a log-prob from the plain loop's over one sequence at a time."""
    pairs = zip(score_all(engine, requests), plain_loop(engine, requests, 1), strict=True)
    return max(float(np.abs(ours - plain).max()) for ours, plain in pairs)


def compare(
    engine: TransformersEngine, requests: list[ScoreRequest], pairs: int, same_kernels: bool
) -> dict[str, float | None]:
    """Return for each peer the median ratio of the engine's throughput to its own; None for one that is left out."""
    ours = partial(score_all, engine)
    peers = {
        "ratio_bare": partial(bare_limit, engine),
        "ratio_lm_eval": lm_eval_scoring(engine),
        "ratio_naive": lambda given: plain_loop(engine, shuffled(given), PEER_BATCH),
    }
    present = {name: peer for name, peer in peers.items() if peer}
    if same_kernels:  # what `faster_on_cpu` returns is a decorator, too
        present = {name: faster_on_cpu(engine.model)(peer) for name, peer in present.items()}
    ratios = {name: [] for name in present}
    tokens = sum(int(request.scored.sum()) for request in requests)
    print(f"{len(requests)} responses, {tokens} scored tokens, {torch.get_num_threads()} threads, {engine.model.dtype}")
    for scoring in (ours, *present.values()):
        scoring(requests[:1])  # what happens only once is not timed
    for number, (name, peer) in product(range(pairs), present.items()):
        order = (peer, ours) if number % 2 else (ours, peer)  # whatever gains from being second does so in turn
        speed = {scoring: tokens / seconds(scoring, requests) for scoring in order}
        ratios[name].append(speed[ours] / speed[peer])
        print(f"pair {number + 1}, {name} {ratios[name][-1]:.3f}: {speed[ours]:.0f} against {speed[peer]:.0f} tokens/s")
    return {name: statistics.median(ratios[name]) if name in present else None for name in peers}


def shuffled(requests: list[ScoreRequest]) -> list[ScoreRequest]:
    """Return the requests in an order that says nothing of their lengths, always the same."""
    return random.Random(0).sample(requests, len(requests))


def seconds(scoring: Callable, requests: list[ScoreRequest]) -> float:
    """Return how long it takes to score the requests."""
    start = time.perf_counter()
    scoring(requests)
    return time.perf_counter() - start


def peak_memory(options: argparse.Namespace) -> dict[str, float]:
    """Return the MiB above the loaded model for one response of each length, each in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        loading = (options.model, "float32", options.threads)
        return {str(length): pool.apply(peak_of, (*loading, length)) for length in options.lengths}


def peak_of(folder: str, dtype: str, threads: int, length: int) -> float:
    """Return the MiB that the resident set grows by, at its peak, when the engine scores one response (Linux only)."""
    engine = load(folder, dtype, threads)
    response = np.random.default_rng(0).integers(0, engine.config.vocab_size, length).tolist()
    # Loading in another dtype peaks higher than scoring does, and `ru_maxrss` never falls.
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    engine.score([ScoreRequest([1], response, np.ones(length, bool))])
    return round(_resident("VmHWM") - loaded, 1)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
