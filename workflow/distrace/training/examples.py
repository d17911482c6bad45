"""Examples to train on: responses in the format and the tokens of the model that learns them, in a file on disk.

Prompt and response are rendered and tokenised separately, as at sampling, so that a model is trained on the tokens that
it will be asked for. Memory holds a few hundred responses at a time, however many there are; `datasets` maps the file.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from distrace.ahead import kept_in_threads
from distrace.errors import BadRow
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


def write_examples(
    file: Path,
    frames: Iterable[pl.DataFrame],
    tokenizer: "PreTrainedTokenizerBase",
    settings: ModelSettings,
    max_length: int,
    threads: int,
) -> tuple[int, list[Reject]]:
    """Write an Arrow stream of examples for TRL (`SCHEMA`); return their number and the rejects.

    The frames have the columns `source`, `question`, `text` and `answer_start`; their rows are numbered through. Rows
    that cannot be tokenised, or have more than `max_length` tokens, are rejected.
    """
    form = load_format(settings, tokenizer)
    count, rejects, first = 0, [], 0
    make = partial(_example, tokenizer, form, max_length)
    with pa.ipc.new_stream(str(file), SCHEMA) as sink, ThreadPoolExecutor(threads) as pool:
        for rows in chain.from_iterable(frame.iter_slices(ROWS_AT_ONCE) for frame in frames):
            columns = rows.select("source", "question", "text", "answer_start")
            made, dropped = kept_in_threads(columns.iter_rows(), make, itemgetter(0), pool, first)
            sink.write_batch(pa.RecordBatch.from_pylist(made, schema=SCHEMA))
            count, first = count + len(made), first + len(rows)
            rejects += dropped
    return count, rejects


def _example(
    tokenizer: "PreTrainedTokenizerBase", form: Format, max_length: int, row: tuple[str, str, str, int]
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
    return {"input_ids": tokens, "labels": labels}
