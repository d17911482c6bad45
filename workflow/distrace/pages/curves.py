"""The report's numbers of labels along a response: curves with bands, areas between them, how far responses reach."""

from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.curves import label_curves
from distrace.measures.positions import SECTIONS
from distrace.plan import Trace, positions_by_question_path

Numbers = dict[str, Any]


def curve_numbers(trace: Trace) -> Numbers:
    """Return the curves of a trace by section (`all` and, where some response has reasoning, two more) and scale."""
    counts = open_artifact(positions_by_question_path(trace), kinds.POSITIONS_BY_QUESTION).read()
    found: Numbers = {section: {} for section in SECTIONS}
    for (section, scale), rows in counts.group_by("section", "scale", maintain_order=True):
        found[section][scale] = label_curves(rows)
    return {section: dict(sorted(scales.items())) for section, scales in found.items() if scales}


def reach(positions: pl.DataFrame) -> Numbers:
    """Return how many sentences responses have: at least `half` in half of them, `tenth` in a tenth, at most `most`.

    From the sums of the positions node; `responses` is the number of those with a sentence.
    """
    reached = positions.filter(pl.col("label") == "Teacher").group_by("position").agg(pl.col("responses").sum())
    numbers = reached["responses"]
    responses = max(numbers, default=0)
    return {
        "responses": responses,
        "half": int((numbers >= 0.5 * responses).sum()),
        "tenth": int((numbers >= 0.1 * responses).sum()),
        "most": max(positions["position"], default=-1) + 1,
    }
