"""The ranking node: every score of every candidate response of a teacher.

Run by the workflow as `python -m distrace.nodes.ranking --rollouts PARTS --sentences PARTS --teacher PARTS
--student PARTS --beta B --seed N --out FILE`; the scores are in `measures/scores.py`.
"""

from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import write_with_rejects
from distrace.measures.scores import SCORES, candidates_of, scored, why_unranked
from distrace.parts import fingerprints, open_parts
from distrace.rejects import Reject, set_aside
from distrace.versions import NODE_VERSIONS


def write_ranking(
    rollouts: Path, sentences: Path, teacher: Path, student: Path, beta: float, seed: int, out: Path
) -> None:
    """Write one row per candidate with a column per score; each path is the list of the parts.

    A candidate that a student must not learn from, or that a model did not score, is rejected.
    """
    inputs = [
        open_parts(rollouts, kinds.ROLLOUTS),
        open_parts(sentences, kinds.SENTENCES),
        *(open_parts(path, kinds.LOGPROBS) for path in (teacher, student)),
    ]
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    rows_in = 0
    for written, cut, *by_model in zip(*inputs, strict=True):
        for made in (cut, *by_model):
            made.require_made_from(written)
        by_teacher, by_student = (logprobs.read("rollout_id", "starts", "ends", "logprobs") for logprobs in by_model)
        responses = written.read("rollout_id", "question_id", "sample", "text", "finish_reason")
        candidates = candidates_of(responses, cut.read(), by_teacher, by_student, beta, seed)
        table = scored(candidates, SCORES).with_row_index("row", offset=rows_in)
        kept, left_out = set_aside(table, why_unranked(), "rollout_id", "row")
        frames.append(kept.drop("row"))
        rejects += left_out
        rows_in += written.rows
    identity = {
        "version": NODE_VERSIONS["ranking"],
        "inputs": fingerprints(inputs),
        "beta": beta,
        "seed": seed,
        "scores": list(SCORES),
    }
    write_with_rejects(out, kinds.RANKING, pl.concat(frames), rejects, identity, rows_in)


if __name__ == "__main__":
    command.run(write_ranking)
