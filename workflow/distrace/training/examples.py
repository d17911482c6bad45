"""Examples to train on: responses in the format and the tokens of the model that learns them, in a file on disk.

Prompt and response are rendered and tokenised separately, as at sampling, so that a model is trained on the tokens that
it will be asked for. Memory holds a few hundred responses at a time, however many there are; `datasets` maps the file.
Examples may be held out of training, and those that are trained on packed.
"""

import os
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from distrace.ahead import kept_in_threads
from distrace.errors import BadRow, DistraceError
from distrace.identity import short_id
from distrace.rejects import Reject
from distrace.settings import ModelSettings
from distrace.text.alignment import encode_prompt, encode_response
from distrace.text.prompts import Format, load_format, prompt_text, response_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_AT_ONCE = 256
# With the labels that TRL would else make in a pass of its own.
SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])
_NO_LOSS = -100  # torch's mark for a token that is not learnt


@dataclass(frozen=True)
class Written:
    """The files of examples: how many are trained on, how many are held out in a file of their own, and the rejects."""

    trained: int
    held_out: int
    rejects: list[Reject]


def write_examples(
    file: Path,
    frames: Iterable[pl.DataFrame],
    tokenizer: "PreTrainedTokenizerBase",
    settings: ModelSettings,
    max_length: int,
    threads: int,
    held_out: Collection[str] = (),
) -> Written:
    """Write an Arrow stream of examples for TRL (`SCHEMA`), and one of those whose question is `held_out`.

    The frames have the columns `source`, `question`, `text` and `answer_start`; their rows are numbered through. Rows
    that cannot be tokenised, or have more than `max_length` tokens, are rejected.
    """
    form = load_format(settings, tokenizer)
    counts, rejects, first = [0, 0], list[Reject](), 0
    make = partial(tokenised, tokenizer, form, max_length, held_out)
    with ExitStack() as stack:
        paths = [file, held_out_file(file)] if held_out else [file]
        sinks = [stack.enter_context(pa.ipc.new_stream(str(path), SCHEMA)) for path in paths]
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        for rows in chain.from_iterable(frame.iter_slices(ROWS_AT_ONCE) for frame in frames):
            columns = rows.select("source", "question", "text", "answer_start")
            made, dropped = kept_in_threads(columns.iter_rows(), make, itemgetter(0), pool, first)
            for number, sink in enumerate(sinks):
                mine = [example for example in made if example["held_out"] == bool(number)]
                sink.write_batch(pa.RecordBatch.from_pylist(mine, schema=SCHEMA))
                counts[number] += len(mine)
            first += len(rows)
            rejects += dropped
    return Written(counts[0], counts[1], rejects)


def held_out_file(file: Path) -> Path:
    """Return the path of the held-out examples beside those that are trained on."""
    return file.with_name("held_out.arrow")


def choose_held_out(questions: Collection[str], held_out: float, seed: int) -> frozenset[str]:
    """Return the questions that are held out: a share of them, at least one, or a number from 1 on.

    Each question is drawn by itself, so that selections which share questions hold out the same ones. Raises
    DistraceError if none would be left to train on.
    """
    asked = sorted(set(questions), key=lambda question: short_id("held out", seed, question))
    count = int(held_out) if held_out >= 1 else max(1, round(held_out * len(asked)))
    if count >= len(asked):
        raise DistraceError(f"held_out {held_out} leaves no question to train on, of {len(asked)}")
    return frozenset(asked[:count])


def pack_examples(file: Path, max_length: int) -> int:
    """Join the examples of a file into packs of at most `max_length` tokens, in place; return the number of packs.

    The longest examples come first, each into the pack in which it leaves the least room (arXiv 2404.10830), among a
    thousand examples at a time. A pack keeps the lengths of its examples, in the column `seq_lengths`.
    """
    from datasets import Dataset, disable_progress_bars  # these take seconds, and few trainings pack
    from trl.data_utils import pack_dataset

    disable_progress_bars()
    packed = pack_dataset(Dataset.from_file(str(file)), max_length, "bfd").with_format("arrow")
    unfinished = file.with_name(f".{file.name}.packed")
    with pa.ipc.new_stream(str(unfinished), packed.features.arrow_schema) as sink:
        for table in packed.iter(ROWS_AT_ONCE):
            sink.write_table(table)
    os.replace(unfinished, file)
    return len(packed)


def tokenised(
    tokenizer: "PreTrainedTokenizerBase",
    form: Format,
    max_length: int,
    held_out: Collection[str],
    row: tuple[str, str, str, int],
) -> dict[str, Any]:
    """Return the tokens of prompt and response, and the same as labels, of which the prompt's carry no loss.

    The token that ends a response is learnt, too.
    """
    _, question, text, answer_start = row
    prompt = encode_prompt(tokenizer, prompt_text(form, question))
    response = encode_response(tokenizer, response_pieces(form, text, answer_start)).token_ids
    tokens = np.concatenate([prompt, response, [tokenizer.eos_token_id]]).astype(np.int32)
    if len(tokens) > max_length:
        raise BadRow(f"{len(tokens)} tokens, more than max_length {max_length}")
    labels = tokens.copy()
    labels[: len(prompt)] = _NO_LOSS
    return {"input_ids": tokens, "labels": labels, "held_out": question in held_out}
