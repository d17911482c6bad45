"""The separation node: probabilities of sentences whose origin is known, under teacher and student, from any author.

A distilled model may write no sentence of the student's own any more. So the separation of teacher-only from
student-only sentences is measured on the answers of teacher, student and distilled model together.
Run by the workflow as `python -m distrace.separation --sentences FILE --truth FILE ... --out FILE`.
"""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import source_digest
from distrace.provenance import why_unknown, with_probability
from distrace.validation import Pair, origin_of

SCORERS = ("teacher", "student")


def write_separation(sentences: Path, truth: Path, teacher: Path, student: Path, pair: Pair, out: Path) -> None:
    """Write origin, `p_teacher` and `p_student` of each sentence of a part; one that a scorer left out is rejected."""
    artifacts.require_made_from(truth, "sentences", sentences)
    table = artifacts.read(sentences, "sentences").join(
        artifacts.read(truth, "truth").with_columns(origin_of(pair)),
        on=["rollout_id", "sentence"],
        how="left",
        maintain_order="left",
    )
    rows_in = len(table)
    for scorer, path in zip(SCORERS, (teacher, student), strict=True):
        artifacts.require_same("rollouts", path, sentences)
        table = with_probability(table, artifacts.read(path, "logprobs"), scorer)
    table = table.with_columns(why_unknown(SCORERS).alias("unknown"))
    rejects = table.filter(pl.col("unknown").is_not_null())
    identity = {
        "version": source_digest("separation"),
        "truth": artifacts.metadata(truth).fingerprint,
        "logprobs": [artifacts.metadata(path).fingerprint for path in (teacher, student)],
        "pair": asdict(pair),
    }
    artifacts.write_with_rejects(
        out,
        "separation",
        table.filter(pl.col("unknown").is_null()).drop("unknown"),
        rejects.select(source="rollout_id", row="sentence", reason="unknown").to_dicts(),
        identity,
        rows_in,
    )


if __name__ == "__main__":
    command.run(write_separation)
