"""The numbers of the report, read from the artifacts that a plan names.

An accuracy or a share is {"mean", "low", "high", "n"}, with a 95 % bootstrap interval over n questions.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.labels import LABELS, habit_labels, label_counts, label_shares, thresholds_of
from distrace.measures.positions import area_between_curves
from distrace.measures.probabilities import token_shifts
from distrace.measures.statistics import proportions, roc_auc
from distrace.measures.validation import ORIGINS, agreement, confusion_table, oracle_agreement, precision_and_recall
from distrace.pages.attribution import attribution_numbers
from distrace.pages.contexts import context_numbers
from distrace.pages.curves import curve_numbers, reach
from distrace.pages.evaluation import accuracy, plain, share_correct, strategy_numbers
from distrace.pages.evidence import evidence_numbers
from distrace.pages.labelled import habit_sentences, labelled_sentences
from distrace.pages.sensitivity import sensitivity_numbers
from distrace.pages.warnings import warnings_of
from distrace.parts import open_parts, reasons_in_parts
from distrace.plan import (
    Plan,
    Trace,
    positions_path,
    ranking_path,
    selection_path,
    validation_path,
)

Numbers = dict[str, Any]


def numbers_of(plan: Plan) -> Numbers:
    """Return every number of the report: `runs` by name, `world`, `accounting` of rows, `warnings`."""
    numbers = {
        "seed": plan.config["seed"],
        "runs": {run: _run_numbers(plan, run) for run in plan.config["runs"]},
        "world": _world_numbers(plan),
        "accounting": accounting(plan.report_inputs()),
    }
    return numbers | {"warnings": warnings_of(plan, numbers)}


def accounting(paths: Iterable[str]) -> list[Numbers]:
    """Return, for each artifact over all its parts: rows kept, rows rejected, and how often each reason was given."""
    return [_account(Path(path)) for path in paths]


def _account(path: Path) -> Numbers:
    opened = open_artifact(path)
    is_list = opened.kind == kinds.PARTS.name
    rows = int(opened.read("rows")["rows"].sum()) if is_list else opened.rows
    reasons = Counter(reasons_in_parts(path))
    in_parts = is_list or path.stem.isdecimal()
    return {
        "artifact": str(path.parent if in_parts else path),
        "rows": rows,
        "rejected": reasons.total(),
        "reasons": dict(reasons.most_common()),
    }


def _run_numbers(plan: Plan, run: str) -> Numbers:
    settings = plan.config["runs"][run]
    return {
        "teachers": settings["teachers"],
        "student": settings["student"],
        "alpha": settings["alpha"],
        "beta": settings["beta"],
        "label_rule": settings["label_rule"],
        "accuracy": {
            questions: {
                rollouts.author: accuracy(plan, rollouts)
                for rollouts in plan.tests(run)
                if rollouts.questions == questions
            }
            for questions in settings["test"]["questions"]
        },
        "traces": [_trace_numbers(plan, trace) for trace in plan.traces(run)],
        "attribution": [attribution_numbers(plan, run, rollouts) for rollouts in plan.attributed(run)],
        "selections": [
            _selection_numbers(plan, run, teacher, strategy)
            for teacher in plan.pools(run)
            for strategy in settings["strategies"]
        ],
        "strategies": strategy_numbers(plan, run),
    }


def _trace_numbers(plan: Plan, trace: Trace) -> Numbers:
    counted: dict[str, list[pl.DataFrame]] = {"all": [], "right": [], "wrong": []}
    sentences = responses = 0
    for table in labelled_sentences(plan, trace):
        sentences, responses = sentences + len(table), responses + table["rollout_id"].n_unique()
        counted["all"].append(label_counts(table))
        counted["right"].append(label_counts(table.filter(pl.col("correct"))))
        counted["wrong"].append(label_counts(table.filter(~pl.col("correct"))))
    positions = open_artifact(positions_path(trace), kinds.POSITIONS).read()
    return {
        "teacher": trace.teacher,
        "distilled": trace.rollouts.author,
        "questions": trace.rollouts.questions,
        "folder": trace.folder,
        "sentences": sentences,
        "responses": responses,
        "labels": label_shares(pl.concat(counted["all"])),
        "labels_correct": label_shares(pl.concat(counted["right"])),
        "labels_incorrect": label_shares(pl.concat(counted["wrong"])),
        "area_between_curves": area_between_curves(positions),
        "reach": reach(positions),
        "curves": curve_numbers(trace),
        "sensitivity": sensitivity_numbers(plan, trace),
        "habits": _habits(plan, trace),
        "contexts": context_numbers(plan, trace),
        "float32_check": _float32_numbers(plan, trace),
        "evidence": evidence_numbers(plan, trace),
    }


def _float32_numbers(plan: Plan, trace: Trace) -> Numbers | None:
    """Return how float32 changes labels and log-probs of a trace's first part; None if there is nothing to check.

    `not_checked` names the models that cannot run in float32; `compared` is None if no other model is left.
    """
    path, not_checked = plan.float32_check_path(trace), plan.not_checkable(trace)
    if path is None:
        return {"not_checked": not_checked, "compared": None} if not_checked else None
    first = next(iter(open_parts(plan.rollouts_parts("grades", trace.rollouts), kinds.GRADES)))
    asked = first.read("rollout_id", "question_id")
    table = open_artifact(path, kinds.FLOAT32_CHECK).read().join(asked, on="rollout_id", maintain_order="left")
    flipped = pl.col("label") != pl.col("label_float32")
    counts = table.group_by("question_id", maintain_order=True).agg(
        pl.len().alias("all"), flipped.sum().alias("flipped")
    )
    pairs = {(a, b): n for a, b, n in table.group_by("label", "label_float32").len().iter_rows()}
    compared = {
        "part": Path(path).stem,
        "sentences": len(table),
        "responses": table["rollout_id"].n_unique(),
        "flipped": plain(proportions([counts["flipped"].to_numpy()], counts["all"].to_numpy())[0]),
        "flips": {label: {other: pairs.get((label, other), 0) for other in LABELS} for label in LABELS},
        "shifts": _shifts(plan, trace),
    }
    return {"not_checked": not_checked, "compared": compared}


def _shifts(plan: Plan, trace: Trace) -> Numbers:
    """Return, for each role that is compared, the mean and largest shift of a token's log-prob from float32 (nats)."""
    scorers, found = plan.scorers(trace), {}
    for role, paths in plan.float32_checked(trace).items():
        own, in_float32 = (open_artifact(path, kinds.LOGPROBS).read("rollout_id", "logprobs") for path in paths)
        shifts = token_shifts(own, in_float32)
        dtype = plan.model_config(scorers[role])["dtype"]
        found[role] = {"model": scorers[role], "dtype": dtype, "tokens": len(shifts)}
        found[role] |= {"mean": shifts.mean(), "max": shifts.max()}
    return found


def _world_numbers(plan: Plan) -> Numbers | None:
    """Return how good the labels are for the first trace in the world and, in `traces`, for each; None without any."""
    traces = [trace for run in plan.config["runs"] for trace in plan.traces(run) if plan.has_truth(trace)]
    found = [_validation_numbers(plan, trace) for trace in traces]
    return found[0] | {"traces": found} if found else None


def _validation_numbers(plan: Plan, trace: Trace) -> Numbers:
    counts = _validated(trace)
    chosen = _at_own_thresholds(plan, trace, counts)
    others = {context: other for context, other in plan.in_contexts(trace).items() if other != trace}
    return {
        "run": trace.run,
        "teacher": trace.teacher,
        "folder": trace.folder,
        "distilled": trace.rollouts.author,
        "questions": trace.rollouts.questions,
        **_quality(plan, trace, chosen),
        "oracle": _oracle_numbers(plan, trace),
        "by_length": {
            str(length): precision_and_recall(rows)
            for (length,), rows in chosen.group_by("length", maintain_order=True)
        },
        "by_thresholds": [
            {"alpha": alpha, "beta": beta} | precision_and_recall(rows)
            for (alpha, beta), rows in counts.group_by("alpha", "beta", maintain_order=True)
        ],
        "contexts": {
            context: _quality(plan, other, _at_own_thresholds(plan, other, _validated(other)))
            for context, other in others.items()
        },
    }


def _validated(trace: Trace) -> pl.DataFrame:
    return open_artifact(validation_path(trace), kinds.VALIDATION).read()


def _at_own_thresholds(plan: Plan, trace: Trace, counts: pl.DataFrame) -> pl.DataFrame:
    run = plan.config["runs"][trace.run]
    return counts.filter(pl.col("alpha") == run["alpha"], pl.col("beta") == run["beta"])


def _quality(plan: Plan, trace: Trace, chosen: pl.DataFrame) -> Numbers:
    """Return how good the labels of a trace are in its context; `chosen` counts them at the run's own thresholds."""
    differences, quality = _differences(plan, trace), precision_and_recall(chosen)
    return {
        "auc_teacher_student": roc_auc(differences["teacher"], differences["student"]),
        "sentences": {origin: len(values) for origin, values in differences.items()},
        "agreement": agreement(chosen),
        "precision": {label: value["precision"] for label, value in quality.items()},
        "recall": {label: value["recall"] for label, value in quality.items()},
        "confusion": confusion_table(chosen),
    }


def _oracle_numbers(plan: Plan, trace: Trace) -> Numbers:
    """Return how far the labels of a trace agree with those of exact probabilities."""
    run = plan.config["runs"][trace.run]
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    graded = open_parts(plan.rollouts_parts("grades", trace.rollouts), kinds.GRADES)
    exact = open_parts(plan.oracle_parts(trace), kinds.ORACLE)
    tables = [
        sentences.read()
        .join(grades.read("rollout_id", "question_id"), on="rollout_id", maintain_order="left")
        .join(known.read(), on=["rollout_id", "sentence"], suffix="_exact", maintain_order="left")
        for sentences, grades, known in zip(labelled, graded, exact, strict=True)
    ]
    return oracle_agreement(pl.concat(tables), thresholds_of(run))


def _differences(plan: Plan, trace: Trace) -> dict[str, NDArray[np.float64]]:
    """Return p_teacher - p_student of the sentences of each true origin, from the answers of all three models."""
    lists = [open_parts(path, kinds.SEPARATION) for path in plan.separation_parts(trace)]
    table = pl.concat([parts.read("origin", "p_teacher", "p_student") for parts in lists])
    table = table.with_columns((pl.col("p_teacher") - pl.col("p_student")).alias("difference"))
    return {origin: table.filter(pl.col("origin") == origin)["difference"].to_numpy() for origin in ORIGINS}


def _habits(plan: Plan, trace: Trace) -> Numbers:
    """Return, for each habit (a regular expression by name) of the run, the labels of the sentences it matches."""
    habits: dict[str, str] = plan.config["runs"][trace.run]["habits"]
    if not habits:
        return {}
    parts = list(habit_sentences(plan, trace))
    shown = {name: pl.concat([part[name] for part in parts]) for name in habits}
    return {name: {"pattern": pattern} | habit_labels(shown[name]) for name, pattern in habits.items()}


def _selection_numbers(plan: Plan, run: str, teacher: str, strategy: str) -> Numbers:
    pool = plan.pools(run)[teacher]
    ranking = pl.concat([open_artifact(ranking_path(run, one), kinds.RANKING).read() for one in pool])
    grades = [open_parts(plan.rollouts_parts("grades", one), kinds.GRADES) for one in pool]
    graded = pl.concat([parts.read("rollout_id", "correct") for parts in grades])
    selected = open_artifact(selection_path(run, plan.candidates(run, teacher), strategy), kinds.SELECTION)
    chosen = selected.read("rollout_id", "rank").filter(pl.col("rank").is_not_null()).select("rollout_id")
    table = chosen.join(ranking, on="rollout_id").join(graded, on="rollout_id", how="left")
    return {
        "teacher": teacher,
        "strategy": strategy,
        "selected": len(chosen),
        "candidates": len(ranking),
        "correct": share_correct(table),
        **{f"mean_{name}": table[name].mean() for name in ("longest", "sentences", "teacher_count", "grape")},
    }
