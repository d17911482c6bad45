"""The selection node: which candidate responses one strategy chooses, and why.

Run by the workflow as `python -m distrace.nodes.selection --rankings FILE --teachers JSON --strategy grape
--strategies JSON --seed N --out FILE`, with `--grades PARTS` where only right answers may be chosen and `--equal JSON`
where all strategies of a run get as much; the strategies are in `measures/strategies.py`. Of several teachers, whose
candidates are pooled, it is given a ranking each.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, open_artifact, rejects_path, write, write_rejects
from distrace.errors import DistraceError
from distrace.measures.strategies import Equal, Strategy, select
from distrace.parts import Parts, fingerprints, open_parts
from distrace.rejects import Reject
from distrace.versions import NODE_VERSIONS

log = logging.getLogger(__name__)
NAMED = 10  # questions in the log; the rejects hold all


def write_selection(
    rankings: list[Path],
    teachers: list[str],
    strategy: str,
    strategies: dict[str, Any],
    out: Path,
    grades: list[Path] | None = None,
    equal: Equal | None = None,
    seed: int = 0,
) -> None:
    """Write every candidate of these rankings, one for each teacher, with its rank and the reason for it.

    `strategies` holds the settings of the strategy and of those that it depends on, by name. A question without an
    eligible candidate is a reject. Raises DistraceError if there are no candidates, or none is chosen.
    """
    known = {name: Strategy(**settings) for name, settings in strategies.items()}
    ranked = [open_artifact(path, kinds.RANKING) for path in rankings]
    graded = [open_parts(path, kinds.GRADES) for path in grades or []]
    selected = select(_candidates(ranked, teachers, graded), known, strategy, equal, seed)
    chosen = selected.filter(pl.col("rank").is_not_null())
    if chosen.is_empty():
        raise DistraceError(f"{out}: {_why_none(selected, strategy, equal)}")
    questions = chosen["question_id"].n_unique()
    log.info(
        "%d of %d candidates chosen: %d questions, %d tokens",
        *(len(chosen), len(selected), questions, chosen["tokens"].sum()),
    )
    identity = {
        "version": NODE_VERSIONS["selection"],
        "inputs": fingerprints([*ranked, *graded]),
        "teachers": teachers,
        "strategy": strategy,
        "strategies": {name: asdict(settings) for name, settings in known.items()},
        "equal": equal and asdict(equal),
        "seed": seed,
    }
    write_rejects(out, _lost_questions(selected), {"of": identity})
    write(out, kinds.SELECTION, selected, identity)


def _candidates(ranked: list[Artifact], teachers: list[str], graded: list[Parts]) -> pl.DataFrame:
    """Return the candidates of all teachers, with the column `teacher` and, if there are grades, `correct`."""
    if not any(ranking.rows for ranking in ranked):
        beside = ", ".join(str(rejects_path(ranking.path)) for ranking in ranked)
        raise DistraceError(f"{ranked[0].path}: no candidate is left to select from; {beside} says why")
    frames = [
        ranking.read().with_columns(teacher=pl.lit(teacher)) for ranking, teacher in zip(ranked, teachers, strict=True)
    ]
    if not graded:
        return pl.concat(frames)
    found = [
        frame.join(grades.read("rollout_id", "correct"), on="rollout_id", how="inner", maintain_order="left")
        for frame, grades in zip(frames, graded, strict=True)
    ]
    for frame, ranking, joined, grades in zip(frames, ranked, found, graded, strict=True):
        if len(joined) != len(frame):
            raise DistraceError(
                f"{grades.path} holds grades of {len(joined)} of the {len(frame)} candidates in {ranking.path}; "
                "delete the older one and run again"
            )
    return pl.concat(found)


def _why_none(selected: pl.DataFrame, strategy: str, equal: Equal | None) -> str:
    [reason] = selected["reason"].mode().sort().head(1)
    said = f"strategy {strategy!r} chooses none of {len(selected)} candidates; for most of them: {reason}"
    if not equal:
        return said
    return f"{said}; all of {', '.join(equal.strategies)} get as many {equal.unit} as the one that chooses least"


def _lost_questions(selected: pl.DataFrame) -> list[Reject]:
    """Return a reject for each question without an eligible candidate, and log the first of them."""
    questions = selected.group_by("question_id", maintain_order=True).agg(
        pl.col("eligible").any(), pl.col("reason").unique().sort().str.join("; ")
    )
    lost = questions.with_row_index("row").filter(~pl.col("eligible"))
    if len(lost):
        named = ", ".join(lost["question_id"].head(NAMED))
        log.warning("%d questions have no eligible candidate, such as %s; the rejects name all", len(lost), named)
    return [
        Reject(question_id, row, f"no candidate is eligible: {reason}")
        for question_id, row, reason in lost.select("question_id", "row", "reason").iter_rows()
    ]


if __name__ == "__main__":
    command.run(write_selection)
