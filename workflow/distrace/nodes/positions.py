"""The positions node: labels by position in a response, separately for right and wrong responses.

Run by the workflow as `python -m distrace.nodes.positions --provenance FILE... --grades FILE... --out FILE`.
"""

from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import fingerprints, open_parts, read_parts, write
from distrace.measures.positions import label_positions
from distrace.sources import source_digest


def write_positions(provenance: list[Path], grades: list[Path], out: Path) -> None:
    """Write the label counts of a trace, over all its parts; `correct` is null if the grades leave it open."""
    labelled, graded = open_parts(provenance, kinds.PROVENANCE), open_parts(grades, kinds.GRADES)
    for part, grades_of_part in zip(labelled, graded, strict=True):
        part.require_same(kinds.ROLLOUTS, grades_of_part)
    identity = {
        "version": source_digest("nodes.positions"),
        "provenance": fingerprints(labelled),
        "grades": fingerprints(graded),
    }
    counts = label_positions(read_parts(labelled), read_parts(graded, "rollout_id", "correct"))
    write(out, kinds.POSITIONS, counts, identity)


if __name__ == "__main__":
    command.run(write_positions)
