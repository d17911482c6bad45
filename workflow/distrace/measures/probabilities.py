"""From log-probs of tokens to probabilities of sentences.

p(s) = exp(mean of the natural log-probs of the tokens of s): a geometric mean, so that models with different tokenizers
can be compared (arXiv 2512.20908, section 3). A token belongs to the sentence that holds most of its characters.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.errors import DistraceError
from distrace.text.alignment import owners


def sentence_log_means(sentences: pl.DataFrame, logprobs: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each sentence of every scored response: `rollout_id`, `sentence`, `tokens` and `log_mean`.

    `tokens` is their number, `log_mean` the mean of their natural log-probs, null if there are none. `sentences` has a
    row for each sentence, `logprobs` one for each response, with lists over its tokens. Raises DistraceError if a
    log-prob is not a number, or if a response with log-probs has no sentences.
    """
    scored = _beside_sentences(sentences, logprobs)
    tokens, means = [np.zeros(0, np.int64)], [np.zeros(0)]
    for values, owner, count in _tokens_of(scored):
        counts = np.bincount(owner, minlength=count)
        sums = np.bincount(owner, weights=values, minlength=count)
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


def head_log_means(sentences: pl.DataFrame, logprobs: pl.DataFrame, head: int) -> pl.DataFrame:
    """Return a row for each scored response with the mean natural log-probs of two kinds of its tokens.

    `head_mean` is that of the first `head` tokens of every sentence, `rest_mean` that of all others, `mean` that of
    all, each null if there are none; `head_share` is the share of the first ones. Raises as `sentence_log_means` does.
    """
    scored = _beside_sentences(sentences, logprobs)
    counts: list[NDArray[Any]] = [np.zeros((0, 2), np.int64)]
    sums: list[NDArray[Any]] = [np.zeros((0, 2))]
    for values, owner, _ in _tokens_of(scored):
        # A token's place in its sentence: `owner` ascends, so a sentence begins where its number first occurs.
        is_rest = (np.arange(len(owner)) - np.searchsorted(owner, owner) >= head).astype(np.int64)
        counts.append(np.bincount(is_rest, minlength=2)[None])
        sums.append(np.bincount(is_rest, weights=values, minlength=2)[None])
    number, total = np.concatenate(counts), np.concatenate(sums)
    with np.errstate(invalid="ignore"):
        means, mean = total / number, total.sum(1) / number.sum(1)
    return scored.select("rollout_id").with_columns(
        pl.Series("mean", mean),
        pl.Series("head_share", number[:, 0] / number.sum(1)),
        pl.Series("head_mean", means[:, 0]).fill_nan(None),
        pl.Series("rest_mean", means[:, 1]).fill_nan(None),
    )


def _beside_sentences(sentences: pl.DataFrame, logprobs: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each response with scored tokens: its log-probs, and its sentences as further columns.

    These are the sentences' numbers and starts, as lists, and the length of the text as `end`.
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
    return scored


def _tokens_of(scored: pl.DataFrame) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], int]]:
    """Yield for each response its tokens' log-probs, the sentence of each token, and the number of sentences.

    All tokens carry text, so that each belongs to a sentence. Raises DistraceError if a log-prob is not a number.
    """
    starts, ends, values = (lists_of(scored[name]) for name in ("starts", "ends", "logprobs"))
    for row, first_characters in enumerate(lists_of(scored["start"])):
        if np.isnan(values[row]).any():
            raise DistraceError(f"a log-prob of response {scored['rollout_id'][row]} is not a number")
        owner = owners(starts[row], ends[row], np.append(first_characters, scored["end"][row]))
        yield values[row].astype(np.float64), owner, len(first_characters)


def with_probability(sentences: pl.DataFrame, logprobs: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """Return the sentences with the columns `p_SCORER` and `tokens_SCORER`.

    Both are null if the response was not scored; the probability also if no token belongs to the sentence.
    """
    means = sentence_log_means(sentences, logprobs).select(
        "rollout_id",
        "sentence",
        pl.col("log_mean").exp().alias(f"p_{scorer}"),
        pl.col("tokens").alias(f"tokens_{scorer}"),
    )
    return sentences.join(means, on=["rollout_id", "sentence"], how="left", maintain_order="left")


def why_unknown(scorers: Iterable[str]) -> pl.Expr:
    """Return the reason why a sentence has no probability under one of the scorers; null if it has all of them."""
    reasons = []
    for scorer in scorers:
        unscored, empty = pl.col(f"tokens_{scorer}").is_null(), pl.col(f"p_{scorer}").is_null()
        reasons.append(pl.when(unscored).then(pl.lit(f"the {scorer} did not score the response")))
        reasons.append(pl.when(empty).then(pl.lit(f"no token of the {scorer} lies in it")))
    return pl.coalesce(reasons)


def token_shifts(own: pl.DataFrame, float32: pl.DataFrame) -> pl.Series:
    """Return |log-prob - log-prob in float32| of each token, in nats, over the responses that both hold."""
    both = own.join(float32, on="rollout_id", suffix="_float32", maintain_order="left")
    values = both.select("logprobs", "logprobs_float32").explode("logprobs", "logprobs_float32").drop_nulls()
    return (values["logprobs"].cast(pl.Float64) - values["logprobs_float32"]).abs()


def lists_of(column: pl.Series) -> list[NDArray[Any]]:
    """Return the lists of a list column as numpy arrays, without copying their values."""
    array = column.rechunk().to_arrow()
    values, offsets = array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy()
    return [values[a:b] for a, b in pairwise(offsets)]
