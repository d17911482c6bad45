"""Questions and responses as the explorer shows them: what their lists need, and the texts in chunks of their own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import Artifact
from distrace.pages.explorer.chunks import Chunks, by_chunk, cut_bounds, listed
from distrace.parts import Parts, open_parts, reasons_in_parts
from distrace.plan import Plan, RolloutSet

_NEEDED = ("rollout_id", "question_id", "sample", "text", "answer_start", "token_ids", "finish_reason")


@dataclass(frozen=True)
class Shown:
    """The responses of a rollout set that the explorer shows: those to its first questions, or all.

    - `number`: the set's place in the index
    - `parts`: of each part, up to the last one shown, `rollout_id` and the row of its question, in order
    - `bounds`: the first response of each chunk, and the end of the last
    """

    number: int
    rollouts: RolloutSet
    parts: list[pl.DataFrame]
    bounds: list[int]


def shown_questions(plan: Plan, candidates: Iterable[RolloutSet]) -> dict[RolloutSet, int | None]:
    """Return, for each test's rollout set and each of `candidates`, to how many questions it is shown: None for all."""
    tests = [rollouts for run in plan.config["runs"] for rollouts in plan.tests(run)]
    return dict.fromkeys(candidates, plan.config["explorer"]["candidate_questions"]) | dict.fromkeys(tests, None)


def write_questions(
    plan: Plan, shown: dict[RolloutSet, int | None], chunks: Chunks
) -> tuple[list[dict[str, Any]], list[pl.Series]]:
    """Write a chunk for each set of questions; return what the index says of each, and the ids of those shown."""
    index: list[dict[str, Any]] = []
    asked: list[pl.Series] = []
    for name in dict.fromkeys(rollouts.questions for rollouts in shown):
        opened = open_parts(plan.questions_parts(name), kinds.QUESTIONS)
        most = max(opened.rows if count is None else count for r, count in shown.items() if r.questions == name)
        frames = _first_rows(opened, most, "question_id", "question", "answer")
        table = pl.concat(frames).rename({"question_id": "ids", "question": "questions", "answer": "answers"})
        chunks.write(f"questions-{len(index)}", listed(table))
        index.append({"name": name, "fingerprint": opened.fingerprint, "count": opened.rows})
        asked.append(table["ids"])
    return index, asked


def _first_rows(opened: Parts, most: int, *columns: str) -> list[pl.DataFrame]:
    """Return the first rows of an artifact, so many at most; parts after them are not read."""
    frames: list[pl.DataFrame] = []
    for part in opened:
        frames.append(part.read(*columns).head(most))
        most -= len(frames[-1])
        if not most:
            break
    return frames


def write_responses(
    plan: Plan, number: int, rollouts: RolloutSet, questions: int, asked: pl.Series, most: int | None, chunks: Chunks
) -> tuple[Shown, dict[str, Any]]:
    """Write the chunks `responses` and `texts` of a rollout set, the one of this number.

    `questions` is the number of its set of questions, `asked` their ids; shown are responses to the first `most`.
    Returns what is shown, and what the index says of it.
    """
    path = plan.rollouts_parts("rollouts", rollouts)
    written = open_parts(path, kinds.ROLLOUTS)
    tables = list(_tables(plan, rollouts, written, asked.head(len(asked) if most is None else most)))
    responses = pl.concat(tables, how="diagonal_relaxed")
    bounds = cut_bounds(responses["characters"])
    chunks.write(f"responses-{number}", listed(responses.rename({"rollout_id": "ids"})))
    texts = (
        table.join(part.read("rollout_id", "text"), on="rollout_id", how="left", maintain_order="left")
        for table, part in zip(tables, written, strict=False)
    )
    for k, chunk in enumerate(by_chunk(texts, bounds)):
        chunks.write(f"texts-{number}-{k}", {"texts": chunk["text"].to_list()})
    reasons = reasons_in_parts(path)
    index = {
        "author": rollouts.author,
        "questions": questions,
        "sampling": rollouts.sampling,
        "fingerprint": written.fingerprint,
        "responses": written.rows,
        "rejected": sum(reasons.values()),
        "reasons": reasons,
        "bounds": bounds,
    }
    return Shown(number, rollouts, [table.select("rollout_id", "question") for table in tables], bounds), index


def _tables(plan: Plan, rollouts: RolloutSet, written: Parts, asked: pl.Series) -> Iterator[pl.DataFrame]:
    """Yield what the list of responses says of each that answers one of the questions `asked`, part by part.

    Parts after the last that holds such a question are not read.
    """
    rows = pl.DataFrame({"question_id": asked}).with_row_index("question")
    graded = open_parts(plan.rollouts_parts("grades", rollouts), kinds.GRADES)
    questions = open_parts(plan.questions_parts(rollouts.questions), kinds.QUESTIONS)
    left = len(asked)
    for part, grades, of_part in zip(written, graded, questions, strict=True):
        yield _table(part, grades, rows)
        left -= of_part.rows
        if left <= 0:
            return


def _table(part: Artifact, grades: Artifact, rows: pl.DataFrame) -> pl.DataFrame:
    grades.require_made_from(part)
    begun = [name for name in ("begun",) if name in pl.read_ipc_schema(part.path)]
    return (
        part.read(*_NEEDED, *begun)
        .join(rows, on="question_id", how="inner", maintain_order="left")
        .join(
            grades.read("rollout_id", "extracted", "correct", "reason"),
            on="rollout_id",
            how="left",
            maintain_order="left",
        )
        .select(
            "rollout_id",
            pl.col("question").cast(pl.Int64),
            "sample",
            "correct",
            "extracted",
            "reason",
            pl.col("finish_reason").alias("finish"),
            pl.col("token_ids").list.len().alias("tokens"),
            pl.col("text").str.len_chars().alias("characters"),
            "answer_start",
            *begun,
        )
    )
