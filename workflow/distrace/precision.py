"""The precision node: what the number formats of a trace's models do to the labels of its sentences.

One part of a trace is scored twice by the same models, each in its own number format and in float32, and labelled by
both. A model that runs in float32 anyway has the same log-probs on both sides.
Run by the workflow as `python -m distrace.precision --rollouts FILE --sentences FILE --own FILE FILE FILE
--float32 FILE FILE FILE --thresholds JSON --out FILE`, the log-probs under teacher, student and distilled model.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.errors import DistraceError
from distrace.identity import source_digest
from distrace.provenance import ROLES, Thresholds, label_of, why_unknown, with_probability

_COLUMNS = ["rollout_id", "token_ids", "starts", "ends", "logprobs"]


def write_precision(
    rollouts: Path, sentences: Path, own: list[Path], float32: list[Path], thresholds: Thresholds, out: Path
) -> None:
    """Write each sentence's probabilities and label, in the models' own number formats and in float32."""
    for path in (sentences, *own, *float32):
        artifacts.require_made_from(path, "rollouts", rollouts)
    table = artifacts.read(sentences, "sentences")
    rows_in = len(table)
    for role, *paths in zip(ROLES, own, float32, strict=True):
        in_own, in_float32 = (artifacts.read(path, "logprobs", _COLUMNS) for path in paths)
        _require_same_tokens(*paths, in_own, in_float32)
        table = with_probability(table, in_own, role)
        table = with_probability(table, in_float32, f"{role}_float32")
    unknown = why_unknown([*ROLES, *(f"{role}_float32" for role in ROLES)]).str.replace("_float32", " in float32")
    table = table.with_columns(unknown.alias("unknown"))
    known = table.filter(pl.col("unknown").is_null())
    in_float32 = known.select(pl.col(f"p_{role}_float32").alias(f"p_{role}") for role in ROLES)
    known = known.with_columns(
        label_of(thresholds).alias("label"), in_float32.select(label_of(thresholds).alias("label_float32")).to_series()
    )
    rejects = table.filter(pl.col("unknown").is_not_null())
    identity = {
        "version": source_digest("precision"),
        "rollouts": artifacts.metadata(rollouts).fingerprint,
        "sentences": artifacts.metadata(sentences).fingerprint,
        "own": [artifacts.metadata(path).fingerprint for path in own],
        "float32": [artifacts.metadata(path).fingerprint for path in float32],
        "thresholds": asdict(thresholds),
    }
    artifacts.write_with_rejects(
        out,
        "precision",
        known.select(artifacts.SCHEMAS["precision"].names),
        rejects.select(source="rollout_id", row="sentence", reason="unknown").to_dicts(),
        identity,
        rows_in,
    )


def token_shifts(own: pl.DataFrame, float32: pl.DataFrame) -> pl.Series:
    """Give how far each token's log-prob lies from that in float32 (absolute, nats), over the responses in both."""
    both = own.join(float32, on="rollout_id", suffix="_float32", maintain_order="left")
    values = both.select("logprobs", "logprobs_float32").explode("logprobs", "logprobs_float32").drop_nulls()
    return (values["logprobs"].cast(pl.Float64) - values["logprobs_float32"]).abs()


def _require_same_tokens(path: Path, other: Path, own: pl.DataFrame, float32: pl.DataFrame) -> None:
    both = own.join(float32, on="rollout_id", suffix="_float32", maintain_order="left")
    unlike = both.filter(pl.col("token_ids") != pl.col("token_ids_float32"))
    if len(unlike):
        raise DistraceError(f"{path} and {other} hold other tokens of response {unlike['rollout_id'][0]}")


if __name__ == "__main__":
    command.run(write_precision)
