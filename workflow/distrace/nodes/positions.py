"""The positions node: labels by position in a response, separately for right and wrong responses.

Beside the sums, it writes the counts of each question apart: what bands over questions are drawn from.
Run by the workflow as `python -m distrace.nodes.positions --rollouts PARTS --sentences PARTS --provenance PARTS
--grades PARTS --by-question FILE --out FILE`.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, write
from distrace.measures.positions import (
    label_positions,
    places_of,
    positions_by_question,
    summed_positions,
    without_empty_sections,
)
from distrace.parts import open_parts
from distrace.sources import source_digest


def write_positions(
    rollouts: Path, sentences: Path, provenance: Path, grades: Path, by_question: Path, out: Path
) -> None:
    """Write the label counts of a trace over all its parts, summed and for each question.

    `correct` is null if the grades leave it open.
    """
    opened = {
        kind.name: open_parts(path, kind)
        for kind, path in (
            (kinds.ROLLOUTS, rollouts),
            (kinds.SENTENCES, sentences),
            (kinds.PROVENANCE, provenance),
            (kinds.GRADES, grades),
        )
    }
    identity = {"version": source_digest("nodes.positions")} | {
        name: parts.fingerprint for name, parts in opened.items()
    }
    sums, counts = zip(*(_positions(*parts) for parts in zip(*opened.values(), strict=True)), strict=True)
    write(by_question, kinds.POSITIONS_BY_QUESTION, without_empty_sections(pl.concat(counts)), identity)
    write(out, kinds.POSITIONS, summed_positions(sums), identity)


def _positions(
    written: Artifact, cut: Artifact, labelled: Artifact, graded: Artifact
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the label counts of a part, summed and for each question."""
    cut.require_made_from(written)
    labelled.require_made_from(cut)
    labelled.require_same(kinds.ROLLOUTS, graded)
    table, judged = (
        labelled.read("rollout_id", "sentence", "start", "end", "label"),
        graded.read("rollout_id", "correct"),
    )
    responses = written.read("rollout_id", "question_id", "answer_start")
    places = places_of(cut.read("rollout_id", "start", "end"), responses)
    return label_positions(table.drop("start", "end"), judged), positions_by_question(table, places, judged)


if __name__ == "__main__":
    command.run(write_positions)
