"""The validation node: how good the labels of a trace are, if the true origins are known.

The artifact counts sentences by label and true origin for a grid of alpha and beta, and by length in characters.
Run by the workflow as `python -m distrace.nodes.validation --provenance PARTS --truth PARTS --pair JSON
--thresholds JSON --out FILE`.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, write
from distrace.measures.labels import Thresholds
from distrace.measures.validation import ALPHAS, BETAS, Pair, confusion, origin_of, summed_confusion
from distrace.parts import open_parts
from distrace.settings import as_identity
from distrace.sources import source_digest


def write_validation(provenance: Path, truth: Path, pair: Pair, thresholds: Thresholds, out: Path) -> None:
    """Write the counts over all parts of a trace; the grid includes the trace's own thresholds."""
    labelled, known_origins = open_parts(provenance, kinds.PROVENANCE), open_parts(truth, kinds.TRUTH)
    grid = {(alpha, beta) for alpha in ALPHAS for beta in BETAS} | {(thresholds.alpha, thresholds.beta)}
    points = [Thresholds(alpha, beta, thresholds.rule) for alpha, beta in sorted(grid)]
    tables = (_with_origin(*parts, pair) for parts in zip(labelled, known_origins, strict=True))
    counts = summed_confusion(summed_confusion(confusion(table, point) for point in points) for table in tables)
    identity = {
        "version": source_digest("nodes.validation"),
        "provenance": labelled.fingerprint,
        "truth": known_origins.fingerprint,
        "pair": asdict(pair),
        "thresholds": as_identity(thresholds),
    }
    write(out, kinds.VALIDATION, counts, identity)


def _with_origin(labelled: Artifact, truth: Artifact, pair: Pair) -> pl.DataFrame:
    labelled.require_same(kinds.SENTENCES, truth)
    origins = truth.read().with_columns(origin_of(pair))
    return labelled.read().join(origins, on=["rollout_id", "sentence"], how="left", maintain_order="left")


if __name__ == "__main__":
    command.run(write_validation)
