"""The responses that a selection chose, with their questions, read part by part: to learn from, and to export."""

from collections.abc import Iterator

import polars as pl

from distrace.artifacts import Artifact
from distrace.errors import DistraceError
from distrace.parts import Parts


def selected_responses(questions: Parts, rollouts: list[Parts], selection: Artifact) -> Iterator[pl.DataFrame]:
    """Yield the chosen responses with their questions, in the order of the selection.

    A frame has the columns `source` (the response's id), `question`, `text`, `answer_start`, `rollouts_fingerprint`
    (that of its part), and others. Parts of the same number, one of each list, are read together, once for each run of
    responses in them: they are on the same questions, and selections have the order of these. Raises DistraceError if
    the rollouts do not hold a response, or the questions its question.
    """
    asked = questions.read("question_id", "question")
    written = list(zip(*rollouts, strict=True))
    places = [
        part.read("rollout_id").with_columns(part=pl.lit(number))
        for number, parts in enumerate(written)
        for part in parts
    ]
    chosen = selection.read("rollout_id", "rank").filter(pl.col("rank").is_not_null()).select("rollout_id")
    found = chosen.join(pl.concat(places), on="rollout_id", how="inner", maintain_order="left")
    if len(found) != len(chosen):
        raise DistraceError(
            f"{selection.path} chose {len(chosen)} responses; the rollouts hold only {len(found)} of them"
        )
    for run in found.with_columns(run=pl.col("part").rle_id()).partition_by("run"):
        parts = written[run["part"][0]]
        responses = [
            part.read("rollout_id", "question_id", "text", "answer_start").with_columns(
                rollouts_fingerprint=pl.lit(part.fingerprint)
            )
            for part in parts
        ]
        rows = run.join(pl.concat(responses), on="rollout_id", how="inner", maintain_order="left")
        rows = rows.join(asked, on="question_id", how="left", maintain_order="left")
        if rows["question"].has_nulls():
            stray = rows.filter(pl.col("question").is_null())["question_id"][0]
            raise DistraceError(f"{parts[0].path}: question {stray} is not in {questions.path}")
        yield rows.rename({"rollout_id": "source"})
