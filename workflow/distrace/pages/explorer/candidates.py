"""Candidates of training questions as the explorer shows them: scores, what strategies chose and why, and rejects."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, read_rejects
from distrace.measures.probabilities import with_probability
from distrace.pages.explorer.chunks import Chunks, by_chunk, flat, listed
from distrace.pages.explorer.responses import Shown
from distrace.pages.explorer.traces import per_response
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, ranking_path, selection_path

log = logging.getLogger(__name__)

_LEANS = {"start": "i32", "end": "i32", "p_teacher": "f64", "p_student": "f64"}
_CHOICE = ("rank", "reason", "eligible")


@dataclass(frozen=True)
class Pool:
    """What a run selects from: the candidates of a teacher, or those of all, whose `name` is `pooled`."""

    run: str
    name: str
    sets: list[RolloutSet]


def shown_pools(plan: Plan) -> list[Pool]:
    """Return the pools of all runs; one of which a part was deleted meanwhile is left out, with a warning."""
    pools = [Pool(run, *pool) for run in plan.config["runs"] for pool in plan.pools(run).items()]
    found = []
    for pool in pools:
        if gone := _gone(plan, pool):
            log.warning("candidates of %s, %s are not shown, since %s is no longer there", pool.run, pool.name, gone)
        else:
            found.append(pool)
    return found


def _gone(plan: Plan, pool: Pool) -> Path | None:
    """Return a file that is listed but was deleted, of those that show a pool; None if all are there."""
    student = plan.config["runs"][pool.run]["student"]
    for rollouts in pool.sets:
        lists = [plan.rollouts_parts("rollouts", rollouts), plan.sentences_parts(rollouts)]
        lists += [plan.logprobs_parts(scorer, rollouts) for scorer in (rollouts.author, student)]
        for parts in map(open_parts, lists):
            for path in (parts.path.with_name(f"{name}.arrow") for name, _ in parts.listed):
                if not path.is_file():
                    return path
    return None


def write_candidates(
    plan: Plan, number: int, pool: Pool, shown: list[Shown], asked: pl.Series, chunks: Chunks
) -> dict[str, Any]:
    """Write the chunks of a pool, the one of this number; return what the index says of it.

    `shown` are its rollout sets, `asked` the ids of the questions that are shown.
    """
    run, settings = pool.run, plan.config["runs"][pool.run]
    strategies = settings["strategies"]
    scores = [*plan.scores(run), *plan.own_scores(run)]
    places = pl.concat([_places(one) for one in shown])
    ranked = pl.concat(
        [open_artifact(ranking_path(run, one.rollouts), kinds.RANKING).read("rollout_id", *scores) for one in shown]
    )
    table = places.join(ranked, on="rollout_id", how="left", maintain_order="left")
    chosen = {name: _chosen(plan, pool, name, places) for name in strategies}
    values: dict[str, Any] = listed(table.select("set", "row", "question"))
    values["scores"] = listed(table.select(scores))
    values["strategies"] = {name: listed(choice) for name, choice in chosen.items()}
    values["rejects"] = [reject for one in shown for reject in _rejects(plan, run, one, asked)]
    chunks.write(f"candidates-{number}", values)
    for place, one in enumerate(shown):
        for k, responses in enumerate(by_chunk(_leans(plan, run, one), one.bounds)):
            chunks.write(f"leans-{number}-{place}-{k}", arrays=flat(responses, _LEANS))
    questions = open_parts(plan.questions_parts(settings["candidates"]["questions"]), kinds.QUESTIONS).rows
    trained = [model for model in plan.distilled.values() if (model.run, model.teacher) == (run, pool.name)]
    return {
        "run": run,
        "teacher": pool.name,
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


def _chosen(plan: Plan, pool: Pool, strategy: str, places: pl.DataFrame) -> pl.DataFrame:
    path = selection_path(pool.run, plan.candidates(pool.run, pool.name), strategy)
    found = open_artifact(path, kinds.SELECTION).read("rollout_id", *_CHOICE)
    return places.join(found, on="rollout_id", how="left", maintain_order="left").select(_CHOICE)


def _rejects(plan: Plan, run: str, shown: Shown, asked: pl.Series) -> Iterator[dict[str, str]]:
    """Yield what was set aside of the questions shown: responses that were not written, or not ranked."""
    sources = [*asked, *pl.concat(shown.parts)["rollout_id"]]
    written = open_parts(plan.rollouts_parts("rollouts", shown.rollouts), kinds.ROLLOUTS)
    paths = [part.path for part, _ in zip(written, shown.parts, strict=False)]
    for path in (*paths, Path(ranking_path(run, shown.rollouts))):
        rejects = read_rejects(path, "source", "reason")
        yield from rejects.filter(pl.col("source").is_in(sources)).iter_rows(named=True)


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
