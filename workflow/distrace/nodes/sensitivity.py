"""The sensitivity node: how many sentences of a trace would have each label under other thresholds and splitters.

Counts are for each question. For a grid of alpha and beta around the run's, they are of the labelled sentences. For
each other splitter, responses are cut anew, and their sentences get probabilities from the same log-probs.
Run by the workflow as `python -m distrace.nodes.sensitivity --rollouts PARTS --provenance PARTS --teacher PARTS
--student PARTS --distilled PARTS --splitter sentences --thresholds JSON --out FILE`.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, read_rejects, write
from distrace.measures.labels import ROLES, Thresholds
from distrace.measures.sensitivity import KEYS, grid_around, labels_at, with_probabilities
from distrace.parts import fingerprints, open_parts
from distrace.settings import as_identity
from distrace.sources import source_digest
from distrace.text.splitting import SPLITTERS, sentences_of


def write_sensitivity(
    rollouts: Path,
    provenance: Path,
    teacher: Path,
    student: Path,
    distilled: Path,
    splitter: str,
    thresholds: Thresholds,
    out: Path,
) -> None:
    """Write the label counts of each question, over all parts of a trace; `splitter` is that of its labels."""
    written, labelled = open_parts(rollouts, kinds.ROLLOUTS), open_parts(provenance, kinds.PROVENANCE)
    scored = [open_parts(path, kinds.LOGPROBS) for path in (teacher, student, distilled)]
    counts = [
        table
        for parts in zip(written, labelled, zip(*scored, strict=True), strict=True)
        for table in _counts(*parts, splitter, thresholds)
    ]
    identity = {
        "version": source_digest("nodes.sensitivity"),
        "rollouts": written.fingerprint,
        "provenance": labelled.fingerprint,
        "logprobs": fingerprints(scored),
        "splitter": splitter,
        "thresholds": as_identity(thresholds),
    }
    write(out, kinds.SENSITIVITY, pl.concat(counts).sort(KEYS), identity)


def _counts(
    written: Artifact, labelled: Artifact, scored: tuple[Artifact, ...], splitter: str, thresholds: Thresholds
) -> Iterator[pl.DataFrame]:
    """Yield the counts of a part: over the grid with the run's own splitter, and with each of the others."""
    for artifact in (labelled, *scored):
        artifact.require_made_from(written)
    asked = written.read("rollout_id", "question_id")
    own = pl.concat([labelled.read("rollout_id", *_PROBABILITIES), _rejected(labelled)])
    yield labels_at(own.join(asked, on="rollout_id", maintain_order="left"), splitter, grid_around(thresholds))
    frames = [logprobs.read("rollout_id", "starts", "ends", "logprobs") for logprobs in scored]
    texts = written.read("rollout_id", "text", "answer_start")
    for other in sorted(SPLITTERS.keys() - {splitter}):
        cut = pl.DataFrame(sentences_of(texts, other), schema=_CUT)
        known = with_probabilities(cut, dict(zip(ROLES, frames, strict=True)))
        yield labels_at(known.join(asked, on="rollout_id", maintain_order="left"), other, [thresholds])


_PROBABILITIES = [f"p_{role}" for role in ROLES]
_CUT = {"rollout_id": pl.String, "sentence": pl.Int32, "start": pl.Int32, "end": pl.Int32}


def _rejected(labelled: Artifact) -> pl.DataFrame:
    """Return a row without probabilities for each sentence that was rejected when the part was labelled."""
    rejects = read_rejects(labelled.path, "source")
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in _PROBABILITIES]
    return rejects.select(pl.col("source").alias("rollout_id"), *nothing)


if __name__ == "__main__":
    command.run(write_sensitivity)
