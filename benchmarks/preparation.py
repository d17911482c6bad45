"""What models wait for: texts that become tokens, before a training, and before and between the batches of scoring.

    python benchmarks/preparation.py --model FOLDER --data math_cot_100.jsonl [--responses 500 1000] [--threads 2]

It writes a selection of so many long responses, cut from the real ones in `--data`, and prepares a training on them up
to its first step: with `finetune`, and as it was done before, in Python lists and one thread. Then `logprobs` scores a
part with an engine that only sleeps: in chunks, tokenised ahead of their batches, and all at once. Each measurement is
a process of its own; peaks are resident memory with all imports. The JSON line comes last; what is called `full_size`
in it is extrapolated to 50,000 responses.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, write, write_rejects
from distrace.engines.requests import Score, ScoreRequest
from distrace.models import folder_card, load_tokenizer, read_card, write_card
from distrace.nodes import finetune, logprobs
from distrace.parts import open_parts, part_names, write_list
from distrace.settings import Execution, ModelSettings, Training
from distrace.text.alignment import encode_prompt, encode_response
from distrace.text.prompts import load_format, prompt_text, response_pieces
from distrace.training.launch import Job

FULL_SIZE = 50_000  # responses
CHARACTERS = 3.6  # of a token of SmolLM2 in such texts
RESPONSES_IN_PART = 100
BATCH_TOKENS = 65_536
SETTINGS = ModelSettings()


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    found: dict[str, Any] = {"threads": options.threads}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_card(folder / "model.json", folder_card("benchmark", options.model))
        for preparing in (in_lists, with_finetune):
            runs = [alone(preparing, options, folder, count) for count in options.responses]
            found[preparing.__name__] = extrapolated(runs, options.responses)
        for way, characters in (("in_chunks", logprobs.CHUNK_CHARACTERS), ("all_at_once", 10**12)):
            found[way] = alone(partial(scoring, characters), options, folder, options.part)
            print(f"scoring, {way}: {found[way]}", flush=True)
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a folder that transformers saved")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines with `code`, a list of responses")
    parser.add_argument("--responses", type=int, nargs=2, default=[500, 1000], help="learnt in a training; two sizes")
    parser.add_argument("--tokens", type=int, default=10_000, help="about so many tokens in a response")
    parser.add_argument("--part", type=int, default=300, help="responses in the part that is scored")
    parser.add_argument("--rate", type=int, default=100_000, help="tokens a second of the engine that sleeps")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def alone(measure: Callable, options: argparse.Namespace, folder: Path, responses: int) -> dict[str, float]:
    """Return what `measure` gives for so many responses, in a process of its own, and the peak of its memory."""
    data = folder / str(responses)
    if not data.is_dir():
        write_study(data, options, responses)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(with_peak, (measure, options, data))


def with_peak(measure: Callable, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Return what `measure` gives, and the MiB of the resident set at its peak (Linux only)."""
    found = measure(options, folder)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return found | {"peak_mib": round(peak)}


def extrapolated(runs: list[dict[str, float]], responses: list[int]) -> dict[str, float]:
    """Return seconds, memory and tokens/s of the larger run, and what `FULL_SIZE` responses would take.

    Bytes a token are those by which the larger run's memory is above the smaller one's.
    """
    small, large = runs
    growth = max(0, large["peak_mib"] - small["peak_mib"]) / (responses[1] - responses[0])  # MiB a response
    found = {
        "tokens_per_second": round(large["tokens"] / large["seconds"]),
        "peak_mib": [small["peak_mib"], large["peak_mib"]],
        "bytes_a_token": round(growth * 2**20 * responses[1] / large["tokens"], 1),
        "minutes_full_size": round(large["seconds"] / responses[1] * FULL_SIZE / 60, 1),
        "gib_full_size": round((large["peak_mib"] + growth * (FULL_SIZE - responses[1])) / 1024, 2),
    }
    print(f"{small['way']}, {responses} responses: {found}", flush=True)
    return found


# Before a training


class Prepared(Exception):
    """A training that would begin now."""


def with_finetune(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return how long the node takes up to the first step, and how many tokens it has prepared."""
    from distrace.training import trainer  # takes seconds, which are not measured here

    prepared = []

    def train(job: Job, _: Any) -> None:
        dataset = trainer.Dataset.from_file(str(job.examples))
        prepared.append(sum(map(len, dataset.data.column("input_ids"))))
        raise Prepared

    trainer.train = train
    began = time.perf_counter()
    with suppress(Prepared):
        finetune.write_finetuned(
            "benchmark",
            folder.parent / "model.json",
            SETTINGS,
            Training(max_length=2 * options.tokens),
            folder / "questions/0.arrow",
            folder / "model.json",
            folder / "rollouts/parts.arrow",
            folder / "selection.arrow",
            options.threads,
        )
    return {"way": "with_finetune", "seconds": time.perf_counter() - began, "tokens": prepared[0]}


def in_lists(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what `with_finetune` does of the way before: all rows in memory, one thread, Python lists."""
    from distrace.training import trainer  # takes seconds, which are not measured here

    began = time.perf_counter()
    tokenizer = load_tokenizer(read_card(folder.parent / "model.json"), False)
    form = load_format(SETTINGS, tokenizer)
    rows = open_parts(folder / "rollouts/parts.arrow", kinds.ROLLOUTS).read("question_id", "text", "answer_start")
    asked = open_artifact(folder / "questions/0.arrow").read("question_id", "question")
    examples = []
    for question, text, start in rows.join(asked, on="question_id").select("question", "text", "answer_start").rows():
        prompt = encode_prompt(tokenizer, prompt_text(form, question))
        response = encode_response(tokenizer, response_pieces(form, text, start)).token_ids.tolist()
        mask = [0] * len(prompt) + [1] * (len(response) + 1)
        examples.append({"input_ids": [*prompt, *response, tokenizer.eos_token_id], "completion_mask": mask})
    trainer.Dataset.from_list(examples)
    tokens = sum(len(example["input_ids"]) for example in examples)
    return {"way": "in_lists", "seconds": time.perf_counter() - began, "tokens": tokens}


# Before and between the batches of a scoring job


class SleepingEngine:
    """An engine that takes its time and does nothing; `asked` holds when each batch began and ended."""

    context_length = 10**6

    def __init__(self, tokenizer: Any, rate: int):
        self.tokenizer, self.rate = tokenizer, rate
        self.asked: list[tuple[float, float]] = []

    def score_batches(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Return batches of some `BATCH_TOKENS`, the longest first."""
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].response))
        size = max(1, BATCH_TOKENS // len(requests[order[0]].response))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def score(self, requests: list[ScoreRequest], top: int = 0) -> list[Score]:
        """Sleep as long as a model with this rate would take."""
        began = time.perf_counter()
        time.sleep(sum(len(request.response) for request in requests) / self.rate)
        self.asked.append((began, time.perf_counter()))
        sizes = [int(request.scored.sum()) for request in requests]
        return [Score(np.zeros(size, np.float32), np.ones(size, np.int16)) for size in sizes]


def scoring(characters: int, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Return the seconds before the engine's first batch, between its batches, in them, and after the last one."""
    tokenizer = load_tokenizer(read_card(folder.parent / "model.json"), False)
    engine = SleepingEngine(tokenizer, options.rate)
    loaded = []

    def load(*_: Any) -> SleepingEngine:
        loaded.append(time.perf_counter())
        return engine

    logprobs.load_engine, logprobs.CHUNK_CHARACTERS = load, characters
    inputs = {"rollouts": folder / "part.arrow", "questions": folder / "questions/0.arrow"}
    out = folder / f"logprobs-{characters}.arrow"
    asked = {"model": folder.parent / "model.json", "settings": SETTINGS, "execution": Execution(), "context": "full"}
    logprobs.score_rollouts(**inputs, **asked, out=out, threads=options.threads)
    ended = time.perf_counter()
    first, last = engine.asked[0][0], engine.asked[-1][1]
    worked = sum(end - begin for begin, end in engine.asked)
    tokens = int(open_artifact(out).read("token_ids")["token_ids"].list.len().sum())
    return {
        "million_tokens": round(tokens / 1e6, 2),
        "before_first_batch": round(first - loaded[0], 2),
        "between_batches": round(last - first - worked, 2),
        "after_last_batch": round(ended - last, 2),
        "engine_works": round(worked, 2),
    }


# The study


def write_study(folder: Path, options: argparse.Namespace, responses: int) -> None:
    """Write questions, rollouts in parts and in one, and a selection of all, of real texts joined and cut to length."""
    lines = options.data.read_text("utf-8").splitlines()
    text = "\n\n".join(response for line in lines for response in json.loads(line)["code"])
    length = round(options.tokens * CHARACTERS)
    starts = np.linspace(0, len(text) - length, responses).astype(int).tolist()
    ids = [f"{number:06}" for number in range(responses)]
    questions = pl.DataFrame({"question_id": ids, "question": [f"What is {n} + 3?" for n in ids]})
    write_rejects(folder / "questions/0.arrow", [], {})
    asked = write(
        folder / "questions/0.arrow", kinds.QUESTIONS, questions.with_columns(answer=pl.lit("7"), solution=None), {}
    )
    rows = pl.DataFrame(
        {"rollout_id": ids, "question_id": ids, "text": [text[start : start + length] for start in starts]}
    ).with_columns(
        sample=pl.lit(0), answer_start=pl.lit(0), token_ids=None, logprobs=None, finish_reason=pl.lit("imported")
    )
    write(folder / "part.arrow", kinds.ROLLOUTS, rows, {"questions": asked})
    pieces = list(rows.iter_slices(RESPONSES_IN_PART))
    paths = [folder / f"rollouts/{name}.arrow" for name in part_names(len(pieces))]
    for number, piece in enumerate(pieces):
        write(paths[number], kinds.ROLLOUTS, piece, {"part": number})
        write_rejects(paths[number], [], {"part": number})
    write_list(paths, folder / "rollouts/parts.arrow")
    chosen = rows.select("rollout_id", "question_id", rank=pl.lit(1), reason=pl.lit("all"))
    write(folder / "selection.arrow", kinds.SELECTION, chosen, {})


if __name__ == "__main__":
    main()
