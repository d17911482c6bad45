"""What artifacts take on disk: bytes a token of each column, and the time to write and to read them.

    python benchmarks/disk.py --responses ../shared/data/math_cot_100.jsonl --column code \\
        --tokenizer examples/smollm2-gsm8k/model [--join 25]

The responses are tokenised and written as rollouts and as log-probs, as distrace stores them and, to compare, plainly:
starts and ends as they are, zstd at its first level. `--join` makes long responses of so many short ones. Log-probs and
ranks are random (no model runs): log-probs take as much as real ones, whose bits are as good as random.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from transformers import AutoTokenizer

from distrace import artifacts, kinds
from distrace.artifacts import open_artifact, write
from distrace.measures.labels import LABELS, ROLES
from distrace.nodes.sentences import sentences_of

ROUNDS = 9
PLAIN_LEVEL = 1  # of zstd, where none is asked for


def main() -> None:
    """Write the artifacts and print what they take."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--responses", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--column", default="code", help="that holds a response or a list of them")
    parser.add_argument("--tokenizer", required=True, help="the folder or hub id of a model")
    parser.add_argument("--join", type=int, default=1, help="so many responses to one")
    options = parser.parse_args()
    texts = responses(options.responses, options.column, options.join)
    rollouts, logprobs = frames(texts, options.tokenizer)
    sentences, labelled = sentence_frames(rollouts)
    tokens = int(logprobs["token_ids"].list.len().sum())
    print(f"{len(texts)} responses, {tokens} tokens, {sum(map(len, texts)) / tokens:.2f} characters a token")
    with tempfile.TemporaryDirectory() as folder:
        for kind, frame in (
            (kinds.ROLLOUTS, rollouts),
            (kinds.LOGPROBS, logprobs),
            (kinds.SENTENCES, sentences),
            (kinds.PROVENANCE, labelled),
        ):
            print(json.dumps({"artifact": kind.name} | measured(Path(folder), kind, frame, tokens)))


def responses(path: Path, column: str, join: int) -> list[str]:
    """Return the texts, in an order that keeps responses to the same question apart, so many in one."""
    values = [json.loads(line)[column] for line in path.read_text("utf-8").splitlines()]
    texts = [text for value in values for text in ([value] if isinstance(value, str) else value)]
    np.random.default_rng(0).shuffle(texts)
    return ["\n\n".join(texts[first : first + join]) for first in range(0, len(texts), join)]


def frames(texts: list[str], tokenizer: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the texts as rollouts and as log-probs."""
    draw = np.random.default_rng(0)
    encoded = AutoTokenizer.from_pretrained(tokenizer)(texts, add_special_tokens=False, return_offsets_mapping=True)
    spans = [np.array(found, np.int32).reshape(-1, 2) for found in encoded["offset_mapping"]]
    shared = {
        "rollout_id": pl.Series([f"{number:016x}" for number in draw.integers(2**62, size=len(texts))]),
        "token_ids": lists(encoded["input_ids"], pl.Int32),
        "logprobs": lists([-(draw.exponential(size=len(span)) ** 3) for span in spans], pl.Float32),
    }
    rollouts = shared | {"question_id": shared["rollout_id"], "sample": 0, "text": texts, "answer_start": 0}
    logprobs = shared | {
        "starts": lists([span[:, 0] for span in spans], pl.Int32),
        "ends": lists([span[:, 1] for span in spans], pl.Int32),
        "ranks": lists([np.minimum(draw.geometric(0.8, len(span)), 100) for span in spans], pl.Int16),
    }
    return pl.DataFrame(rollouts | {"finish_reason": "stop"}), pl.DataFrame(logprobs)


def sentence_frames(rollouts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the sentences of rollouts, and the same with random probabilities and labels."""
    sentences = pl.DataFrame(sentences_of(rollouts.select("rollout_id", "text", "answer_start"), "sentences"))
    count, draw = len(sentences), np.random.default_rng(0)
    labels = pl.Series("label", draw.choice(LABELS, count))
    probabilities = [pl.Series(f"p_{role}", draw.random(count)) for role in ROLES]
    tokens = [pl.Series(f"tokens_{role}", draw.integers(5, 60, count), dtype=pl.Int32) for role in ROLES]
    return sentences, sentences.with_columns(*probabilities, *tokens, labels)


def lists(values: Iterable[object], of: type[pl.DataType]) -> pl.Series:
    """Return a column of lists."""
    return pl.Series(list(values), dtype=pl.List(of))


def measured(folder: Path, kind: kinds.Kind, frame: pl.DataFrame, tokens: int) -> dict[str, object]:
    """Return bytes a token, of all and of each stored column, and seconds to write and read a million tokens."""
    path, plain = folder / "stored.arrow", folder / "plain.arrow"
    frame = frame.select(kind.schema.names)
    table = frame.to_arrow().cast(kind.schema)
    writing = seconds(lambda: write(path, kind, frame, {}), lambda: write_with(plain, table, PLAIN_LEVEL), tokens)
    reading = seconds(open_artifact(path).read, lambda: pl.read_ipc(plain), tokens)
    return {
        "bytes a token, stored and plain": [round(file.stat().st_size / tokens, 2) for file in (path, plain)],
        "of each column": {
            name: round(size / tokens, 2) for name, size in columns(path, artifacts.COMPRESSION_LEVEL).items()
        },
        "of each column, plain": {name: round(size / tokens, 2) for name, size in columns(plain, PLAIN_LEVEL).items()},
        "s to write 1M tokens, stored and plain, and the median ratio": writing,
        "s to read them": reading,
    }


def seconds(ours: Callable[[], object], plain: Callable[[], object], tokens: int) -> list[float]:
    """Return seconds for a million tokens of both, in turns, as medians; and the median of the ratios."""
    pairs = [(timed(ours), timed(plain)) for _ in range(ROUNDS)]
    medians = [statistics.median(times) * 1e6 / tokens for times in zip(*pairs, strict=True)]
    return [round(value, 3) for value in (*medians, statistics.median(a / b for a, b in pairs))]


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def columns(path: Path, level: int) -> dict[str, int]:
    """Return what each column of a file takes, in bytes: the size of a file that holds it alone."""
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    return {name: write_with(path.with_name("alone"), table.select([name]), level) for name in table.column_names}


def write_with(path: Path, table: pa.Table, level: int) -> int:
    """Write a table with zstd at a level; return the size of the file."""
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", level))
    with pa.ipc.new_file(str(path), table.schema, options=options) as sink:
        sink.write_table(table.combine_chunks())
    return path.stat().st_size


if __name__ == "__main__":
    main()
