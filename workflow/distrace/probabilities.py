"""From log-probs of tokens to probabilities of sentences.

p(s) = exp(mean of the natural log-probs of the tokens of s): the geometric mean, so that models with unlike tokenizers
can be compared (arXiv 2512.20908, section 3). A token belongs to the sentence that holds most of its characters.
"""

from itertools import pairwise

import numpy as np
import polars as pl

from distrace.alignment import owners
from distrace.errors import DistraceError


def sentence_log_means(sentences: pl.DataFrame, logprobs: pl.DataFrame) -> pl.DataFrame:
    """Give `rollout_id`, `sentence`, `tokens` and `log_mean` for the sentences of every response that was scored.

    `log_mean` is the mean natural log-prob of the sentence's tokens, null where it has none. Raises DistraceError
    when log-probs are not numbers, or speak of a response that has no sentences.
    """
    bounds = sentences.group_by("rollout_id", maintain_order=True).agg(
        pl.col("sentence"), pl.col("start"), pl.col("end").last()
    )
    scored = logprobs.filter(pl.col("starts").list.len() > 0).join(
        bounds, on="rollout_id", how="left", maintain_order="left"
    )
    if scored["end"].has_nulls():
        stray = scored.filter(pl.col("end").is_null())["rollout_id"][0]
        raise DistraceError(f"log-probs of response {stray} have no sentences to go with; were its rollouts replaced?")
    starts, ends, values = (lists_of(scored[name]) for name in ("starts", "ends", "logprobs"))
    tokens, means = [np.zeros(0, np.int64)], [np.zeros(0)]
    for row, first_chars in enumerate(lists_of(scored["start"])):
        if np.isnan(values[row]).any():
            raise DistraceError(f"a log-prob of response {scored['rollout_id'][row]} is not a number")
        owner = owners(starts[row], ends[row], np.append(first_chars, scored["end"][row]))
        counts = np.bincount(owner, minlength=len(first_chars))
        sums = np.bincount(owner, weights=values[row].astype(np.float64), minlength=len(first_chars))
        tokens.append(counts)
        means.append(np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0))
    return (
        scored.select("rollout_id", "sentence")
        .explode("sentence")
        .with_columns(
            pl.Series("tokens", np.concatenate(tokens), dtype=pl.Int32),
            pl.Series("log_mean", np.concatenate(means)).fill_nan(None),
        )
    )


def lists_of(column: pl.Series) -> list[np.ndarray]:
    """Give the lists of a list column as numpy arrays, without copying their values."""
    array = column.rechunk().to_arrow()
    values, offsets = array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy()
    return [values[a:b] for a, b in pairwise(offsets)]
