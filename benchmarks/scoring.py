"""Compare the scoring of the transformers engine with what else one could do: speed, memory and exactness.

    python benchmarks/scoring.py --model FOLDER --data math_cot_100.jsonl [--questions 12] [--pairs 3] [--gpu]

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
from itertools import chain, cycle, islice, product
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
PEERS = ["ratio_bare", "ratio_lm_eval", "ratio_naive"]


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    found = {"peak_mib": None if options.skip_memory else peak_memory(options)}
    for dtype in options.dtype:
        engine = load(options, dtype)
        requests = read_requests(options, engine.tokenizer)
        if dtype == "float32":
            found["max_abs_fp32"] = largest_difference(engine, requests)
        found[dtype] = compare(engine, requests, options)
        del engine  # before the next is loaded: a large model fills the memory
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a folder that transformers saved")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with `question` and `code`, its responses")
    parser.add_argument("--questions", type=int, default=12, help="how many questions to score, spread over the file")
    parser.add_argument("--pairs", type=int, default=3, help="how often each peer is timed beside the engine")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--gpu", action="store_true", help="on the first GPU instead of the CPU")
    parser.add_argument("--response-tokens", type=int, help="of each response; it goes on with others' tokens")
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS, help="whom to compare with; by default all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 2000, 4000, 8000], help="tokens of a response")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--same-kernels", action="store_true", help="give the peers the engine's faster kernels, too")
    return parser.parse_args()


def load(options: argparse.Namespace, dtype: str) -> TransformersEngine:
    """Load a model folder as the workflow does."""
    torch.set_num_threads(options.threads)
    card, execution = folder_card("benchmark", options.model), Execution(gpus=int(options.gpu))
    engine = load_engine(card, ModelSettings(dtype=dtype), execution, "score")
    assert isinstance(engine, TransformersEngine)
    return engine


def read_requests(options: argparse.Namespace, tokenizer) -> list[ScoreRequest]:
    """Tokenise all responses to questions spread evenly over a file, as the workflow does."""
    form = load_format(ModelSettings(), tokenizer)
    requests = []
    lines = options.data.read_text("utf-8").splitlines()
    for number in np.linspace(0, len(lines) - 1, options.questions).astype(int):
        row = json.loads(lines[number])
        prompt = encode_prompt(tokenizer, prompt_text(form, row["question"]))
        for text in row["code"]:
            aligned = encode_response(tokenizer, response_pieces(form, text, 0))
            requests.append(ScoreRequest(prompt, aligned.token_ids.tolist(), aligned.scored))
    return lengthened(requests, options.response_tokens) if options.response_tokens else requests


def lengthened(requests: list[ScoreRequest], tokens: int) -> list[ScoreRequest]:
    """Return the requests with responses of `tokens` tokens, all scored: each goes on with the responses after it."""
    found = []
    for number in range(len(requests)):
        following = cycle(chain.from_iterable(one.response for one in requests[number:] + requests[:number]))
        response = list(islice(following, tokens))
        found.append(ScoreRequest(requests[number].prompt, response, np.ones(tokens, bool)))
    return found


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
        ids = _padded([request.prompt + request.response for request in batch]).to(engine.device)
        logprobs = engine.model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        for row, request in enumerate(batch):
            places = _places(request).to(engine.device)
            found.append(logprobs[row, places - 1, ids[row, places]].float().cpu().numpy())
    return found


@torch.inference_mode()
def bare_limit(engine: TransformersEngine, requests: list[ScoreRequest]) -> None:
    """Run the model on the same tokens, longest first under the engine's budget, and its head on scored positions."""
    padding = copy.copy(engine)
    padding.packs = False
    head = engine.model.get_output_embeddings()
    for batch in padding.score_batches(requests):
        ids = _padded([requests[i].prompt + requests[i].response[:-1] for i in batch]).to(engine.device)
        states = engine.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        scored = torch.cat([states[row, _places(requests[i]).to(engine.device) - 1] for row, i in enumerate(batch)])
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
    engine: TransformersEngine, requests: list[ScoreRequest], options: argparse.Namespace
) -> dict[str, float | None]:
    """Return for each peer the median ratio of the engine's throughput to its own; None for one that is left out."""
    ours = partial(score_all, engine)
    peers = {
        "ratio_bare": partial(bare_limit, engine),
        "ratio_lm_eval": lm_eval_scoring(engine),
        "ratio_naive": lambda given: plain_loop(engine, shuffled(given), PEER_BATCH),
    }
    present = {name: peer for name, peer in peers.items() if peer and name in options.peers}
    if options.same_kernels:  # what `faster_on_cpu` returns is a decorator, too
        present = {name: faster_on_cpu(engine.model)(peer) for name, peer in present.items()}
    ratios = {name: [] for name in present}
    tokens = sum(int(request.scored.sum()) for request in requests)
    where = f"{torch.get_num_threads()} threads, {engine.model.dtype}, {engine.device}"
    print(f"{len(requests)} responses, {tokens} scored tokens, {where}")
    for scoring in (ours, *present.values()):
        # What happens only once is not timed: on a GPU also the first taking of memory, as much as all need.
        scoring(requests if options.gpu else requests[:1])
    for number, (name, peer) in product(range(options.pairs), present.items()):
        order = (peer, ours) if number % 2 else (ours, peer)  # whatever gains from being second does so in turn
        speed = {scoring: tokens / seconds(scoring, requests) for scoring in order}
        ratios[name].append(speed[ours] / speed[peer])
        print(
            f"pair {number + 1}, {name} {ratios[name][-1]:.3f}: {speed[ours]:.0f} against {speed[peer]:.0f} tokens/s",
            flush=True,
        )
    return {name: statistics.median(ratios[name]) if name in present else None for name in peers}


def shuffled(requests: list[ScoreRequest]) -> list[ScoreRequest]:
    """Return the requests in an order that says nothing of their lengths, always the same."""
    return random.Random(0).sample(requests, len(requests))


def seconds(scoring: Callable, requests: list[ScoreRequest]) -> float:
    """Return how long it takes to score the requests."""
    start = time.perf_counter()
    scoring(requests)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(options: argparse.Namespace) -> dict[str, float]:
    """Return the MiB above the loaded model for one response of each length, each in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return {str(length): pool.apply(peak_of, (options, length)) for length in options.lengths}


def peak_of(options: argparse.Namespace, length: int) -> float:
    """Return the MiB that memory grows by, at its peak, when the engine scores one response.

    On a GPU what torch has allocated there, else the resident set (Linux only).
    """
    engine = load(options, options.dtype[0])
    response = np.random.default_rng(0).integers(0, engine.config.vocab_size, length).tolist()
    request = ScoreRequest([1], response, np.ones(length, bool))
    if options.gpu:
        torch.cuda.reset_peak_memory_stats()
        loaded = torch.cuda.memory_allocated()
        engine.score([request])
        return round((torch.cuda.max_memory_allocated() - loaded) / 2**20, 1)
    # Loading in another dtype peaks higher than scoring does, and `ru_maxrss` never falls.
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    engine.score([request])
    return round(_resident("VmHWM") - loaded, 1)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
