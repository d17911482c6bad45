"""The ranking node: every score of every candidate response of a teacher.

Run by the workflow as `python -m distrace.nodes.ranking --rollouts FILE... --sentences FILE... --teacher FILE...
--student FILE... --beta B --seed N --out FILE`; the scores are in `measures/scores.py`.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import fingerprints, open_artifact, write_with_rejects
from distrace.measures.scores import scores, why_unranked
from distrace.rejects import Reject, set_aside
from distrace.versions import NODE_VERSIONS


def write_ranking(
    rollouts: list[Path],
    sentences: list[Path],
    teacher: list[Path],
    student: list[Path],
    beta: float,
    seed: int,
    out: Path,
) -> None:
    """Write a row for each candidate with a column for each score; the lists hold the parts in the same order.

    A candidate is rejected if it was cut off, is empty, or cannot be scored by both models.
    """
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    rows_in = 0
    inputs = []
    for paths in zip(rollouts, sentences, teacher, student, strict=True):
        written = open_artifact(paths[0], kinds.ROLLOUTS)
        cut = open_artifact(paths[1], kinds.SENTENCES, made_from=written)
        scored = [open_artifact(path, kinds.LOGPROBS, made_from=written) for path in paths[2:]]
        by_teacher, by_student = (logprobs.read("rollout_id", "starts", "ends", "logprobs") for logprobs in scored)
        responses = written.read("rollout_id", "question_id", "sample", "text", "finish_reason")
        table = scores(responses, cut.read(), by_teacher, by_student, beta, seed).with_row_index("row", offset=rows_in)
        kept, left_out = set_aside(table, why_unranked(), "rollout_id", "row")
        frames.append(kept.drop("row"))
        rejects += left_out
        rows_in += written.rows
        inputs.append((written, cut, *scored))
    identity = {
        "version": NODE_VERSIONS["ranking"],
        "inputs": [fingerprints(parts) for parts in inputs],
        "beta": beta,
        "seed": seed,
    }
    write_with_rejects(out, kinds.RANKING, pl.concat(frames), rejects, identity, rows_in)


if __name__ == "__main__":
    command.run(write_ranking)
