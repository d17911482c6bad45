"""The float32_check node: which labels of a trace would change if its models ran in float32?

One part of a trace is scored twice by the same models, in their own number formats and in float32, and labelled with
each. A model that runs in float32 anyway has the same log-probs on both sides.
Run by the workflow as `python -m distrace.nodes.float32_check --rollouts FILE --sentences FILE --own FILE FILE FILE
--float32 FILE FILE FILE --thresholds JSON --out FILE`; log-probs in the order teacher, student, distilled model.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, open_artifact, write_with_rejects
from distrace.errors import DistraceError
from distrace.measures.labels import ROLES, Thresholds, label_of
from distrace.measures.probabilities import why_unknown, with_probability
from distrace.parts import fingerprints
from distrace.rejects import set_aside
from distrace.settings import as_identity
from distrace.sources import source_digest


def write_float32_check(
    rollouts: Path, sentences: Path, own: list[Path], float32: list[Path], thresholds: Thresholds, out: Path
) -> None:
    """Write each sentence's probabilities and label, in the models' own number formats and in float32."""
    written = open_artifact(rollouts, kinds.ROLLOUTS)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    in_own, in_float32 = (
        [open_artifact(path, kinds.LOGPROBS, made_from=written) for path in paths] for paths in (own, float32)
    )
    table = cut.read()
    for role, *pair in zip(ROLES, in_own, in_float32, strict=True):
        frames = _same_tokens(*pair)
        for scorer, frame in zip((role, f"{role}_float32"), frames, strict=True):
            table = with_probability(table, frame, scorer)
    unknown = why_unknown([*ROLES, *(f"{role}_float32" for role in ROLES)]).str.replace("_float32", " in float32")
    known, rejects = set_aside(table, unknown, "rollout_id", "sentence")
    labelled = known.with_columns(
        label_of(thresholds).alias("label"), label_of(thresholds, suffix="_float32").alias("label_float32")
    )
    identity = {
        "version": source_digest("nodes.float32_check"),
        "rollouts": written.fingerprint,
        "sentences": cut.fingerprint,
        "own": fingerprints(in_own),
        "float32": fingerprints(in_float32),
        "thresholds": as_identity(thresholds),
    }
    rows = labelled.select(kinds.FLOAT32_CHECK.schema.names)
    write_with_rejects(out, kinds.FLOAT32_CHECK, rows, rejects, identity, cut.rows)


def _same_tokens(own: Artifact, float32: Artifact) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the log-probs in both number formats; raise DistraceError if they are not of the same tokens."""
    columns = ("rollout_id", "token_ids", "starts", "ends", "logprobs")
    frames = own.read(*columns), float32.read(*columns)
    both = frames[0].join(frames[1], on="rollout_id", suffix="_float32", maintain_order="left")
    unlike = both.filter(pl.col("token_ids") != pl.col("token_ids_float32"))
    if len(unlike):
        raise DistraceError(f"{own.path} and {float32.path} hold other tokens of response {unlike['rollout_id'][0]}")
    return frames


if __name__ == "__main__":
    command.run(write_float32_check)
