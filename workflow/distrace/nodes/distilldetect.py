"""The distilldetect node: how likely each teacher's own answers are to the distilled model, and to the student.

Run by the workflow as `python -m distrace.nodes.distilldetect --teachers JSON --rollouts PARTS... --distilled PARTS...
--student PARTS... --out FILE`: for each teacher its answers, and their log-probs under both models. With reference
students, also `--references PARTS...`: their log-probs, for each teacher of the first, then of the second, and so on.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, write_with_rejects
from distrace.measures.losses import mean_losses
from distrace.parts import fingerprints, open_parts
from distrace.rejects import set_aside
from distrace.sources import source_digest


def write_distilldetect(
    teachers: list[str],
    rollouts: list[Path],
    distilled: list[Path],
    student: list[Path],
    out: Path,
    references: list[Path] | None = None,
) -> None:
    """Write the mean loss of the distilled model and of the student on each answer of each teacher.

    Each path is the list of the parts of one teacher, in the order of the teachers. Reference students have further
    columns, `loss_reference_0` and so on. An answer that one of the models did not score is rejected.
    """
    written = [open_parts(path, kinds.ROLLOUTS) for path in rollouts]
    others = references or []
    of_each = [others[n : n + len(teachers)] for n in range(0, len(others), len(teachers))]
    scorers = ["distilled", "student", *(f"reference_{n}" for n in range(len(of_each)))]
    by_teacher = zip(distilled, student, *of_each, strict=True)
    scored = [[open_parts(path, kinds.LOGPROBS) for path in paths] for paths in by_teacher]
    frames = [
        _losses(scorers, *parts).with_columns(teacher=pl.lit(teacher))
        for teacher, answers, found in zip(teachers, written, scored, strict=True)
        for parts in zip(answers, *found, strict=True)
    ]
    table = pl.concat(frames).with_row_index("row")
    unscored = [
        pl.when(pl.col(f"loss_{scorer}").is_null()).then(pl.lit(f"the {scorer} model scored no token of it"))
        for scorer in scorers
    ]
    known, rejects = set_aside(table, pl.coalesce(unscored), "rollout_id", "row")
    identity = {
        "version": source_digest("nodes.distilldetect"),
        "teachers": teachers,
        "rollouts": fingerprints(written),
        "logprobs": [fingerprints(found) for found in scored],
    }
    write_with_rejects(out, kinds.DISTILLDETECT, known.drop("row"), rejects, identity, len(table))


def _losses(scorers: list[str], written: Artifact, *scored: Artifact) -> pl.DataFrame:
    """Return the losses of all models on a part of one teacher's answers, null where a model did not score one."""
    table = written.read("rollout_id", "question_id")
    for scorer, logprobs in zip(scorers, scored, strict=True):
        logprobs.require_made_from(written)
        losses = mean_losses(logprobs.read("rollout_id", "logprobs"), scorer)
        table = table.join(losses, on="rollout_id", how="left", maintain_order="left")
    return table


if __name__ == "__main__":
    command.run(write_distilldetect)
