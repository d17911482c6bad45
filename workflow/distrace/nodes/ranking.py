"""The ranking node: every score of every candidate response of a teacher.

Run by the workflow as `python -m distrace.nodes.ranking --rollouts PARTS --sentences PARTS --teacher PARTS
--student PARTS --beta B --seed N --out FILE`; the scores are in `measures/scores.py`. `--scores JSON` lists them; the
student's log-probs in the contexts that they need are `--contexts PARTS...`, and `--own-scores JSON` names files with
scores of the user's (`measures/own_scores.py`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, write_with_rejects
from distrace.errors import DistraceError
from distrace.measures.own_scores import OwnScore, load_score
from distrace.measures.scores import (
    ALWAYS,
    SCORES,
    TOP,
    TOP_PROBABILITIES,
    Candidates,
    Score,
    candidates_of,
    compared,
    scored,
    why_unranked,
)
from distrace.parts import fingerprints, open_parts
from distrace.rejects import Reject, set_aside
from distrace.versions import NODE_VERSIONS

_COLUMNS = ("rollout_id", "starts", "ends", "logprobs")


def write_ranking(
    rollouts: Path,
    sentences: Path,
    teacher: Path,
    student: Path,
    beta: float,
    seed: int,
    out: Path,
    scores: list[str] | None = None,
    contexts: list[Path] | None = None,
    own_scores: dict[str, Any] | None = None,
) -> None:
    """Write one row per candidate with a column per score; each path is the list of the parts.

    A candidate that a student must not learn from, or that a model did not score, is rejected; one that lacks the value
    of a score is kept for the others. Raises DistraceError if something that a score needs is not there.
    """
    own = {name: load_score(OwnScore(**settings)) for name, settings in (own_scores or {}).items()}
    wanted = {name: SCORES[name] for name in scores or ALWAYS} | {name: score for name, (score, _) in own.items()}
    inputs = [
        open_parts(rollouts, kinds.ROLLOUTS),
        open_parts(sentences, kinds.SENTENCES),
        *(open_parts(path, kinds.LOGPROBS) for path in (teacher, student, *(contexts or []))),
    ]
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    rows_in = 0
    for part in zip(*inputs, strict=True):
        candidates = _candidates(*part, needs=_needs(wanted.values()), beta=beta, seed=seed)
        table = scored(candidates, wanted).with_row_index("row", offset=rows_in)
        kept, left_out = set_aside(table, why_unranked(), "rollout_id", "row")
        frames.append(kept.drop("row"))
        rejects += left_out
        rows_in += part[0].rows
    identity = {
        "version": NODE_VERSIONS["ranking"],
        "inputs": fingerprints(inputs),
        "beta": beta,
        "seed": seed,
        "scores": list(wanted),
        "own_scores": {name: digest for name, (_, digest) in own.items()},
    }
    write_with_rejects(out, kinds.RANKING, compared(pl.concat(frames), wanted), rejects, identity, rows_in)


def _needs(scores: Iterable[Score]) -> set[str]:
    return {need for score in scores for need in score.needs}


def _candidates(
    written: Artifact,
    sentences: Artifact,
    teacher: Artifact,
    student: Artifact,
    *others: Artifact,
    needs: set[str],
    beta: float,
    seed: int,
) -> Candidates:
    """Return the candidates of a part, from its artifacts, which must belong together and hold what is needed."""
    for made in (sentences, teacher, student, *others):
        made.require_made_from(written)
    contexts = {made.identity["context"]: made for made in others}
    if lacking := sorted(needs - contexts.keys() - {TOP_PROBABILITIES}):
        raise DistraceError(f"a score needs the student's log-probs in context {lacking[0]!r}: give their --contexts")
    columns = [*_COLUMNS, "ranks"]
    if TOP_PROBABILITIES in needs:
        if student.identity.get(TOP_PROBABILITIES) != TOP:
            raise DistraceError(
                f"{student.path} holds no sums over the {TOP} most probable tokens, which a score needs; "
                "delete it and run again"
            )
        columns += ["top_masses", "top_squares"]
    return candidates_of(
        written.read("rollout_id", "question_id", "sample", "text", "finish_reason"),
        sentences.read(),
        teacher.read(*_COLUMNS),
        student.read(*columns),
        beta,
        seed,
        {name: made.read(*_COLUMNS) for name, made in contexts.items()},
    )


if __name__ == "__main__":
    command.run(write_ranking)
