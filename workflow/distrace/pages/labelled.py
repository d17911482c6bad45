"""The labelled sentences of a trace as the report reads them, part by part."""

from collections.abc import Iterator

import polars as pl

from distrace import kinds
from distrace.parts import open_parts
from distrace.plan import Plan, Trace


def labelled_sentences(plan: Plan, trace: Trace) -> Iterator[pl.DataFrame]:
    """Yield the labelled sentences of each part of a trace, with question and correctness of their responses."""
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    graded = open_parts(plan.rollouts_parts("grades", trace.rollouts), kinds.GRADES)
    for sentences, grades in zip(labelled, graded, strict=True):
        judged = grades.read("rollout_id", "question_id", "correct")
        table = sentences.read("rollout_id", "sentence", "start", "end", "label")
        yield table.join(judged, on="rollout_id", maintain_order="left")


def habit_sentences(plan: Plan, trace: Trace) -> Iterator[dict[str, pl.DataFrame]]:
    """Yield, for each part of a trace, the labelled sentences that match each habit of its run, by habit."""
    habits: dict[str, str] = plan.config["runs"][trace.run]["habits"]
    written = open_parts(plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    for table, part in zip(labelled_sentences(plan, trace), written, strict=True):
        sentences = table.join(part.read("rollout_id", "text"), on="rollout_id").with_columns(
            pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")).alias("written")
        )
        yield {
            name: sentences.filter(pl.col("written").str.contains(pattern)).drop("text", "written")
            for name, pattern in habits.items()
        }
