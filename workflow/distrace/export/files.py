"""The data files of an exported selection: Parquet for `datasets`, JSON Lines for TRL and for LLaMA-Factory.

All hold the same rows in the same order, each with its scores and fingerprints. They are written side by side while the
rows come, so that memory holds a few hundred responses at a time.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from distrace.errors import DistraceError

PARQUET = Path("data/train.parquet")
TRL = Path("trl/train.jsonl")
LLAMA_FACTORY = Path("llama_factory/train.jsonl")

_TEXTS = {
    PARQUET: ("question", "response", "answer_start"),
    TRL: ("prompt", "completion"),
    LLAMA_FACTORY: ("instruction", "output"),
}
# Columns by which trainers know other kinds of data; to a column `text`, TRL would append the end token, not to the
# completion.
_OTHER_KINDS = {"text", "messages", "conversations", "label", "labels", "input_ids", "tools", "image", "images"}
_FROM = "rollouts_fingerprint"
_RESERVED = _OTHER_KINDS.union(*_TEXTS.values())


def write_files(folder: Path, rows: Iterable[pl.DataFrame], about: pl.DataFrame) -> int:
    """Write the data files into a folder and return the number of their rows.

    The rows come in frames with `source`, `question`, `text`, `answer_start`, `rollouts_fingerprint` and the texts of
    `forms.Example`; `about` says something in each further column of the response `rollout_id`. What a response lacks,
    or is not finite, is in the Parquet file alone: readers of JSON Lines take a column's type from its first rows.
    Raises DistraceError if trainers would read a column of `about` as something else.
    """
    if reserved := sorted(_RESERVED.intersection(about.columns)):
        raise DistraceError(f"the scores {reserved} have names that trainers read as something else; rename them")
    given = [name for name in about.columns if _is_always_given(about[name])] + [_FROM]
    count = 0
    for path in _TEXTS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        lines = {path: opened.enter_context((folder / path).open("wb")) for path in (TRL, LLAMA_FACTORY)}
        parquet = None
        for frame in rows:
            texts = frame.select(
                pl.col("source").alias("rollout_id"),
                pl.col("text").alias("response"),
                *("question", "answer_start", *_TEXTS[TRL], *_TEXTS[LLAMA_FACTORY], _FROM),
            )
            whole = texts.join(about, on="rollout_id", how="left", maintain_order="left")
            table = _arrow(whole.select(*_TEXTS[PARQUET], *about.columns, _FROM))
            if parquet is None:
                # Without Arrow's own schema, text is plain text to all readers.
                writer = pq.ParquetWriter(folder / PARQUET, table.schema, compression="zstd", store_schema=False)
                parquet = opened.enter_context(writer)
            parquet.write_table(table)
            for path, file in lines.items():
                whole.select(*_TEXTS[path], *given).write_ndjson(file)
            count += len(whole)
    return count


def _arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as a table of types that every reader of Parquet knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _is_always_given(column: pl.Series) -> bool:
    return not column.has_nulls() and not (column.dtype.is_float() and not column.is_finite().all())
