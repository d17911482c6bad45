"""The report's numbers of "which teacher was it?": what each test says, and which teachers cannot be excluded.

`docs/scores.md` describes the tests.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.leans import MARGIN, attributed_to, lean_differences, nearness_differences, not_excluded
from distrace.measures.losses import LEAST_FALL, loss_falls
from distrace.measures.references import mean_leans, reference_p_values
from distrace.measures.statistics import holm, mean, p_value_beyond
from distrace.pages.evaluation import plain
from distrace.plan import Plan, RolloutSet, attribution_path, distilldetect_path

Numbers = dict[str, Any]

LEVEL = 0.05


def attribution_numbers(plan: Plan, run: str, rollouts: RolloutSet) -> Numbers:
    """Return what the tests say of the teacher that the author of a rollout set learned from.

    `not_excluded` is the answer: what leans alone leave and, where the run names reference students, they leave too.
    """
    teachers = plan.config["runs"][run]["teachers"]
    leans = open_artifact(attribution_path(run, rollouts), kinds.ATTRIBUTION).read()
    pairs = [
        _tested({"teacher": teacher, "other": other}, lean_differences(rows), MARGIN)
        for (teacher, other), rows in leans.group_by("teacher", "other", maintain_order=True)
    ]
    approaches = [_tested({"teacher": name}, nearness_differences(leans, name), MARGIN) for name in teachers]
    judged = _adjusted(pairs)
    by_leans = not_excluded(judged, _adjusted(approaches))
    references = _reference_numbers(leans, plan.references(run), teachers)
    return {
        "distilled": rollouts.author,
        "questions": rollouts.questions,
        "pairs": pairs,
        "attributed_to": attributed_to(judged, teachers),
        "teachers": approaches,
        "not_excluded": [name for name in by_leans if not references or name in references["not_excluded"]],
        "by": "references" if references else "leans",
        "references": references,
        "distilldetect": _distilldetect_numbers(plan, run, rollouts),
    }


def _tested(about: Numbers, differences: NDArray[np.float64], margin: float) -> Numbers:
    """Return the mean of differences, one for each question, and the p-value of a mean within the margin."""
    return about | {"difference": plain(mean(differences)), "p_value": p_value_beyond(differences, margin)}


def _adjusted(tested: Iterable[Numbers]) -> list[Numbers]:
    """Return those with a p-value, to each of which its adjusted one is added, in place (Holm)."""
    judged = [found for found in tested if found["p_value"] is not None]
    for found, adjusted in zip(judged, holm([found["p_value"] for found in judged]), strict=True):
        found["p_adjusted"] = adjusted
    return judged


def _reference_numbers(leans: pl.DataFrame, learned_from: dict[str, str], teachers: list[str]) -> Numbers | None:
    """Return how the model compares with the students of each teacher; None without reference students."""
    if not learned_from:
        return None
    means = mean_leans(leans.filter(pl.col("role") != "student"))
    pairs: list[Numbers] = []
    for (teacher, other), found in means.items():
        students = {
            name: [found[m] for m, of in learned_from.items() if of == name and m in found] for name in teachers
        }
        pairs.append({"teacher": teacher, "other": other, "lean": found.get("distilled"), "students": students})
    return _compared(pairs, "lean", teachers)


def _compared(pairs: list[Numbers], value: str, teachers: list[str]) -> Numbers:
    """Return the pairs, the p-value of each teacher, and the teachers that its reference students do not exclude.

    `value` names the model's number in a pair, which its `students` have, too.
    """
    # Two students of each show a variance; of those whose answers no teacher could score there is no number.
    complete = {
        (pair["teacher"], pair["other"]): pair
        for pair in pairs
        if pair[value] is not None and min(len(pair["students"][pair[side]]) for side in ("teacher", "other")) > 1
    }
    p_values = reference_p_values(
        {names: pair[value] for names, pair in complete.items()},
        {names: pair["students"] for names, pair in complete.items()},
        teachers,
    )
    left = [teacher for teacher in teachers if p_values[teacher] >= LEVEL]
    return {"pairs": pairs, "p_adjusted": p_values, "not_excluded": left}


def _distilldetect_numbers(plan: Plan, run: str, rollouts: RolloutSet) -> Numbers | None:
    """Return how far the loss on each teacher's own answers fell; None if the run does not ask for it."""
    if rollouts not in plan.detected(run):
        return None
    losses = open_artifact(distilldetect_path(run, rollouts), kinds.DISTILLDETECT).read()
    falls = loss_falls(losses)
    teachers = [_tested({"teacher": name}, falls[name].to_numpy(), LEAST_FALL) for name in falls.columns]
    pairs = [
        _tested({"teacher": one, "other": other}, (falls[one] - falls[other]).to_numpy(), 0.0)
        for one, other in combinations(falls.columns, 2)
    ]
    judged, approaches = _adjusted(pairs), _adjusted(teachers)
    lowest = max(approaches, key=lambda found: found["difference"]["mean"], default=None)
    references = _references_by_losses(falls, losses, plan.references(run)) if len(falls) else None
    left = not_excluded(judged, approaches)
    return {
        "teachers": teachers,
        "pairs": pairs,
        "lowest": lowest and lowest["teacher"],
        "references": references,
        "not_excluded": [name for name in left if not references or name in references["not_excluded"]],
    }


def _references_by_losses(falls: pl.DataFrame, losses: pl.DataFrame, learned_from: dict[str, str]) -> Numbers | None:
    """Return how the falls of the model's losses compare with those of the students of each teacher; None without."""
    if not learned_from:
        return None
    of_model = falls.mean().row(0, named=True)
    means = {
        model: loss_falls(losses, f"reference_{number}").mean().row(0, named=True)
        for number, model in enumerate(learned_from)
    }
    pairs = [
        {"teacher": one, "other": other, "fall": of_model[one] - of_model[other]}
        | {
            "students": {
                name: [means[model][one] - means[model][other] for model, of in learned_from.items() if of == name]
                for name in of_model
            }
        }
        for one, other in combinations(of_model, 2)
    ]
    return _compared(pairs, "fall", list(of_model))
