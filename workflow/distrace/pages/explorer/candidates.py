"""Candidates of training questions as the explorer shows them: scores, what strategies chose and why, and rejects."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, rejects_path
from distrace.measures.probabilities import with_probability
from distrace.pages.explorer.chunks import Chunks, by_chunk, flat, listed
from distrace.pages.explorer.responses import Shown
from distrace.pages.explorer.traces import per_response
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, ranking_path, selection_path

_LEANS = {"start": "i32", "end": "i32", "p_teacher": "f64", "p_student": "f64"}
_CHOICE = ("rank", "reason", "eligible")


def write_candidates(
    plan: Plan, number: int, run: str, pool: str, shown: list[Shown], asked: pl.Series, chunks: Chunks
) -> dict[str, Any]:
    """Write the chunks of the candidates that a run selects from, those of a teacher or `pooled`; return their index.

    `shown` are the rollout sets of the pool, `asked` the ids of the questions that are shown.
    """
    settings, strategies = plan.config["runs"][run], plan.config["runs"][run]["strategies"]
    scores = [*plan.scores(run), *plan.own_scores(run)]
    places = pl.concat([_places(one) for one in shown])
    ranked = pl.concat(
        [open_artifact(ranking_path(run, one.rollouts), kinds.RANKING).read("rollout_id", *scores) for one in shown]
    )
    table = places.join(ranked, on="rollout_id", how="left", maintain_order="left")
    chosen = {name: _chosen(plan, run, pool, name, places) for name in strategies}
    values: dict[str, Any] = listed(table.select("set", "row", "question"))
    values["scores"] = listed(table.select(scores))
    values["strategies"] = {name: listed(choice) for name, choice in chosen.items()}
    values["rejects"] = [reject for one in shown for reject in _rejects(plan, run, one, asked)]
    chunks.write(f"candidates-{number}", values)
    for place, one in enumerate(shown):
        for k, responses in enumerate(by_chunk(_leans(plan, run, one), one.bounds)):
            chunks.write(f"leans-{number}-{place}-{k}", arrays=flat(responses, _LEANS))
    questions = open_parts(plan.questions_parts(settings["candidates"]["questions"]), kinds.QUESTIONS).rows
    trained = [model for model in plan.distilled.values() if (model.run, model.teacher) == (run, pool)]
    return {
        "run": run,
        "teacher": pool,
        "rollouts": [one.number for one in shown],
        "scores": scores,
        "strategies": strategies,
        "models": {name: [model.name for model in trained if model.strategy == name] for name in strategies},
        "shown_questions": len(asked),
        "all_questions": questions,
        "beta": settings["candidates"]["beta"],
    }


def _places(shown: Shown) -> pl.DataFrame:
    """Return a row for each response shown of a set: the set's number, the response's row, its question and id."""
    rows = pl.concat(shown.parts).with_row_index("row")
    return rows.select(pl.lit(shown.number).alias("set"), "row", "question", "rollout_id")


def _chosen(plan: Plan, run: str, pool: str, strategy: str, places: pl.DataFrame) -> pl.DataFrame:
    path = selection_path(run, plan.candidates(run, pool), strategy)
    found = open_artifact(path, kinds.SELECTION).read("rollout_id", *_CHOICE)
    return places.join(found, on="rollout_id", how="left", maintain_order="left").select(_CHOICE)


def _rejects(plan: Plan, run: str, shown: Shown, asked: pl.Series) -> Iterator[dict[str, str]]:
    """Yield what was set aside of the questions shown: responses that were not written, or not ranked."""
    sources = {*asked, *pl.concat(shown.parts)["rollout_id"]}
    written = open_parts(plan.rollouts_parts("rollouts", shown.rollouts), kinds.ROLLOUTS)
    for part, _ in zip(written, shown.parts, strict=False):
        yield from _read_rejects(part.path, sources)
    yield from _read_rejects(ranking_path(run, shown.rollouts), sources)


def _read_rejects(path: Any, sources: set[str]) -> Iterator[dict[str, str]]:
    beside = rejects_path(path)
    if not beside.is_file():
        return
    for source, reason in open_artifact(beside, kinds.REJECTS).read("source", "reason").iter_rows():
        if source in sources:
            yield {"source": source, "reason": reason}


def _leans(plan: Plan, run: str, shown: Shown) -> Iterator[pl.DataFrame]:
    """Yield for each part a row for each candidate shown, with lists over its sentences that both models scored."""
    rollouts: RolloutSet = shown.rollouts
    inputs = [open_parts(plan.rollouts_parts("rollouts", rollouts), kinds.ROLLOUTS)]
    inputs += [open_parts(plan.sentences_parts(rollouts), kinds.SENTENCES)]
    models = {"teacher": rollouts.author, "student": plan.config["runs"][run]["student"]}
    inputs += [open_parts(plan.logprobs_parts(model, rollouts), kinds.LOGPROBS) for model in models.values()]
    for rows, (part, cut, *scored) in zip(shown.parts, zip(*inputs, strict=True), strict=False):
        table = cut.read()
        for role, logprobs in zip(models, scored, strict=True):
            logprobs.require_made_from(part)
            table = with_probability(table, logprobs.read("rollout_id", "starts", "ends", "logprobs"), role)
        yield per_response(rows, table.drop_nulls(["p_teacher", "p_student"]))
