"""The positions node: labels by position in a response, separately for right and wrong responses.

Run by the workflow as `python -m distrace.nodes.positions --provenance PARTS --grades PARTS --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, write
from distrace.measures.positions import label_positions, summed_positions
from distrace.parts import open_parts
from distrace.sources import source_digest


def write_positions(provenance: Path, grades: Path, out: Path) -> None:
    """Write the label counts of a trace, over all its parts; `correct` is null if the grades leave it open."""
    labelled, graded = open_parts(provenance, kinds.PROVENANCE), open_parts(grades, kinds.GRADES)
    identity = {
        "version": source_digest("nodes.positions"),
        "provenance": labelled.fingerprint,
        "grades": graded.fingerprint,
    }
    counts = summed_positions(_positions(*pair) for pair in zip(labelled, graded, strict=True))
    write(out, kinds.POSITIONS, counts, identity)


def _positions(labelled: Artifact, graded: Artifact) -> pl.DataFrame:
    labelled.require_same(kinds.ROLLOUTS, graded)
    return label_positions(labelled.read("rollout_id", "sentence", "label"), graded.read("rollout_id", "correct"))


if __name__ == "__main__":
    command.run(write_positions)
