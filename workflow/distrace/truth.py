"""The truth node: the true origin of each sentence of a rollout set on questions of the world.

`origin` names the styles whose grammar writes such a sentence, joined by "+", or is "none".
Run by the workflow as `python -m distrace.truth --rollouts FILE --sentences FILE --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.world import authors

NONE = "none"


def write_truth(rollouts: Path, sentences: Path, out: Path) -> None:
    """Write the origin of each sentence of a part."""
    artifacts.require_made_from(sentences, "rollouts", rollouts)
    texts = dict(artifacts.read(rollouts, "rollouts", ["rollout_id", "text"]).iter_rows())
    table = artifacts.read(sentences, "sentences")
    origins = [
        "+".join(sorted(authors(texts[rollout_id][start:end]))) or NONE
        for rollout_id, start, end in table.select("rollout_id", "start", "end").iter_rows()
    ]
    identity = {"version": source_digest("truth"), "sentences": artifacts.metadata(sentences).fingerprint}
    rows = table.select("rollout_id", "sentence").with_columns(pl.Series("origin", origins, dtype=pl.String))
    artifacts.write(out, "truth", rows, identity)


if __name__ == "__main__":
    command.run(write_truth)
