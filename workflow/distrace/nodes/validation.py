"""The validation node: how good the labels of a trace are, if the true origins are known.

The artifact counts sentences by label and true origin for a grid of alpha and beta, and by length in characters.
Run by the workflow as `python -m distrace.nodes.validation --provenance FILE... --truth FILE... --pair JSON
--thresholds JSON --out FILE`.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import fingerprints, open_parts, read_parts, write
from distrace.measures.labels import Thresholds
from distrace.measures.validation import ALPHAS, BETAS, Pair, confusion, origin_of
from distrace.sources import source_digest


def write_validation(provenance: list[Path], truth: list[Path], pair: Pair, thresholds: Thresholds, out: Path) -> None:
    """Write the counts over all parts of a trace; the grid includes the trace's own thresholds."""
    labelled, known_origins = open_parts(provenance, kinds.PROVENANCE), open_parts(truth, kinds.TRUTH)
    origins = read_parts(known_origins).with_columns(origin_of(pair))
    table = read_parts(labelled).join(origins, on=["rollout_id", "sentence"], how="left", maintain_order="left")
    grid = {(alpha, beta) for alpha in ALPHAS for beta in BETAS} | {(thresholds.alpha, thresholds.beta)}
    counts = pl.concat([confusion(table, Thresholds(*point)) for point in sorted(grid)])
    identity = {
        "version": source_digest("nodes.validation"),
        "provenance": fingerprints(labelled),
        "truth": fingerprints(known_origins),
        "pair": asdict(pair),
        "thresholds": asdict(thresholds),
    }
    write(out, kinds.VALIDATION, counts, identity)


if __name__ == "__main__":
    command.run(write_validation)
