"""The report's numbers of how label shares depend on alpha, beta and the splitter."""

from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.labels import LABELS, label_shares
from distrace.measures.sensitivity import UNLABELLED
from distrace.plan import Plan, Trace, sensitivity_path

Numbers = dict[str, Any]


def sensitivity_numbers(plan: Plan, trace: Trace) -> Numbers:
    """Return the label shares of a trace under other thresholds and splitters.

    `thresholds` has an entry for each point of the grid, `splitters` one for each way to cut at the run's own
    thresholds, the run's own first; `ranges` each label's least and largest share over the grid.
    """
    run, splitter = plan.config["runs"][trace.run], plan.config["splitter"]
    counts = open_artifact(sensitivity_path(trace), kinds.SENSITIVITY).read()
    grid = [
        {"alpha": alpha, "beta": beta, "labels": _shares(rows)}
        for (alpha, beta), rows in counts.filter(splitter=splitter).group_by("alpha", "beta", maintain_order=True)
    ]
    at_own = counts.filter(alpha=run["alpha"], beta=run["beta"]).sort(pl.col("splitter") != splitter, "splitter")
    return {
        "thresholds": grid,
        "ranges": {label: _range([point["labels"][label] for point in grid]) for label in LABELS},
        "splitters": [
            {"splitter": name, "sentences": int(rows.select(pl.sum_horizontal(*LABELS)).sum().item())}
            | {UNLABELLED: int(rows[UNLABELLED].sum()), "labels": _shares(rows)}
            for (name,), rows in at_own.group_by("splitter", maintain_order=True)
        ],
    }


def _shares(counts: pl.DataFrame) -> dict[str, Any]:
    return label_shares(counts.with_columns(pl.sum_horizontal(*LABELS).alias("all")))


def _range(shares: list[Numbers | None]) -> Numbers | None:
    means = [share["mean"] for share in shares if share]
    return {"low": min(means), "high": max(means)} if means else None
