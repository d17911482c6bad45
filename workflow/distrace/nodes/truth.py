"""The truth node: the true origin of each sentence of a rollout set on questions of the world.

`origin` holds the styles whose grammar writes such a sentence, joined by "+", or "none".
Run by the workflow as `python -m distrace.nodes.truth --rollouts PARTS --sentences PARTS --dials JSON --out PARTS`.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write
from distrace.sources import source_digest
from distrace.world import NO_DIALS, Dials, authors

NONE = "none"


def write_truth(rollouts: Path, sentences: Path, out: Path, dials: Dials = NO_DIALS) -> None:
    """Write the origin of each sentence of a part."""
    written = open_artifact(rollouts, kinds.ROLLOUTS)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    identity = {"version": source_digest("nodes.truth"), "sentences": cut.fingerprint, "dials": asdict(dials)}
    if is_written(out, kinds.TRUTH, identity):
        return
    texts = dict(written.read("rollout_id", "text").iter_rows())
    table = cut.read()
    origins = [
        "+".join(sorted(authors(texts[rollout_id][start:end], dials))) or NONE
        for rollout_id, start, end in table.select("rollout_id", "start", "end").iter_rows()
    ]
    rows = table.select("rollout_id", "sentence").with_columns(pl.Series("origin", origins, dtype=pl.String))
    write(out, kinds.TRUTH, rows, identity)


if __name__ == "__main__":
    command.run_each_part(write_truth)
