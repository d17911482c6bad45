"""The numbers of the report, read from the artifacts that a plan names.

Accuracies and shares come as {"mean", "low", "high", "n"}: a 95 % bootstrap interval over n questions.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import artifacts
from distrace.attribution import holm, lean_differences, p_value_beyond
from distrace.intervals import mean, share
from distrace.plan import Plan, RolloutSet, Trace, attribution_path, ranking_path, selection_path
from distrace.precision import token_shifts
from distrace.provenance import LABELS
from distrace.validation import ORIGINS, precision_and_recall, roc_auc


def numbers_of(plan: Plan) -> dict:
    """Give every number of the report: `runs` by name, and `accounting`, what each artifact kept and dropped."""
    return {
        "seed": plan.config["seed"],
        "runs": {run: _run_numbers(plan, run) for run in plan.config["runs"]},
        "world": _world_numbers(plan),
        "accounting": accounting(report_inputs(plan)),
    }


def report_inputs(plan: Plan) -> list[str]:
    """Give the paths of all artifacts that the report reads or counts."""
    paths: dict[str, None] = {}
    for run, settings in plan.config["runs"].items():
        for rollouts in plan.tests(run):
            for kind in ("questions", "rollouts", "grades"):
                paths |= dict.fromkeys(_parts(plan, kind, rollouts))
        for trace in plan.traces(run):
            paths |= dict.fromkeys(plan.trace_parts(trace))
            paths[positions_path(trace)] = None
            if plan.has_truth(trace):
                paths |= dict.fromkeys(plan.separations(trace))
                paths[validation_path(trace)] = None
            for scorer in plan.scorers(trace).values():
                paths |= dict.fromkeys(plan.rollout_parts(f"logprobs/{scorer}/full", trace.rollouts))
            if compared := plan.precision_path(trace):
                paths[compared] = None
                paths |= dict.fromkeys(in_float32 for _, in_float32 in _compared_log_probs(plan, trace).values())
        paths |= dict.fromkeys(attribution_path(run, rollouts) for rollouts in plan.attributed(run))
        for candidates in _candidates(plan, run):
            for kind in ("questions", "rollouts", "grades"):
                paths |= dict.fromkeys(_parts(plan, kind, candidates))
            paths[ranking_path(run, candidates)] = None
            paths |= dict.fromkeys(selection_path(run, candidates, s) for s in settings["strategies"])
    paths |= dict.fromkeys(f"results/models/{name}/training.arrow" for name in plan.distilled)
    return list(paths)


def positions_path(trace: Trace) -> str:
    """Give the path of a trace's label positions."""
    return f"results/positions/{trace.folder}.arrow"


def validation_path(trace: Trace) -> str:
    """Give the path of the label counts by true origin of a trace in the world."""
    return f"results/validation/{trace.folder}.arrow"


def accounting(paths: Iterable[str]) -> list[dict]:
    """Give, for each artifact over all its parts: rows kept, rows rejected, and how often each reason was given."""
    found: dict[str, dict] = {}
    for path in map(Path, paths):
        name = str(path.parent if path.stem.isdecimal() else path)
        entry = found.setdefault(name, {"artifact": name, "rows": 0, "rejected": 0, "reasons": Counter()})
        entry["rows"] += artifacts.metadata(path).rows
        rejects = artifacts.rejects_path(path)
        if rejects.is_file():
            reasons = artifacts.read(rejects, "rejects")["reason"].to_list()
            entry["rejected"] += len(reasons)
            entry["reasons"].update(reasons)
    return [entry | {"reasons": dict(entry["reasons"].most_common())} for entry in found.values()]


def _run_numbers(plan: Plan, run: str) -> dict:
    settings = plan.config["runs"][run]
    return {
        "teachers": settings["teachers"],
        "student": settings["student"],
        "alpha": settings["alpha"],
        "beta": settings["beta"],
        "accuracy": {
            questions: {
                rollouts.author: accuracy(plan, rollouts)
                for rollouts in plan.tests(run)
                if rollouts.questions == questions
            }
            for questions in settings["test"]["questions"]
        },
        "traces": [_trace_numbers(plan, trace) for trace in plan.traces(run)],
        "attribution": [_attribution_numbers(plan, run, r) for r in plan.attributed(run)],
        "selections": [
            _selection_numbers(plan, run, candidates, strategy)
            for candidates in _candidates(plan, run)
            for strategy in settings["strategies"]
        ],
    }


def accuracy(plan: Plan, rollouts: RolloutSet) -> dict:
    """Give the share of right responses, averaged over questions, with what it rests on."""
    graded = artifacts.concatenated(_parts(plan, "grades", rollouts), "grades")
    written = _read(plan, "rollouts", rollouts, ["rollout_id", "finish_reason"])
    judged = graded.filter(pl.col("correct").is_not_null())
    per_question = judged.group_by("question_id", maintain_order=True).agg(pl.col("correct").mean())
    return (
        _plain(mean(per_question["correct"].to_numpy())) or dict.fromkeys(("mean", "low", "high"), None) | {"n": 0}
    ) | {
        "responses": len(graded),
        "not_judged": len(graded) - len(judged),
        "cut_off": (written["finish_reason"] == "length").mean(),
    }


def _trace_numbers(plan: Plan, trace: Trace) -> dict:
    labelled = artifacts.concatenated(map(Path, plan.trace_parts(trace)), "provenance")
    graded = artifacts.concatenated(_parts(plan, "grades", trace.rollouts), "grades")
    table = labelled.join(graded.select("rollout_id", "question_id", "correct"), on="rollout_id")
    return {
        "teacher": trace.teacher,
        "distilled": trace.rollouts.author,
        "questions": trace.rollouts.questions,
        "sentences": len(table),
        "responses": table["rollout_id"].n_unique(),
        "labels": label_shares(table),
        "labels_correct": label_shares(table.filter(pl.col("correct"))),
        "labels_incorrect": label_shares(table.filter(~pl.col("correct"))),
        "area_between_curves": area_between_curves(artifacts.read(Path(positions_path(trace)), "positions")),
        "habits": _habits(plan, trace, table),
        "precision": _precision_numbers(plan, trace, graded.select("rollout_id", "question_id")),
    }


def _precision_numbers(plan: Plan, trace: Trace, asked: pl.DataFrame) -> dict | None:
    """Give what the models' number formats do to the first part of a trace; None where all run in float32.

    `not_checked` names the models that cannot be run in float32; `compared` is None where that leaves none.
    """
    path, not_checked = plan.precision_path(trace), plan.of_unknown_precision(trace)
    if path is None:
        return {"not_checked": not_checked, "compared": None} if not_checked else None
    table = artifacts.read(Path(path), "precision").join(asked, on="rollout_id", maintain_order="left")
    flipped = pl.col("label") != pl.col("label_float32")
    counts = table.group_by("question_id", maintain_order=True).agg(
        pl.len().alias("all"), flipped.sum().alias("flipped")
    )
    pairs = {(a, b): n for a, b, n in table.group_by("label", "label_float32").len().iter_rows()}
    compared = {
        "part": Path(path).stem,
        "sentences": len(table),
        "responses": table["rollout_id"].n_unique(),
        "flipped": _plain(share(counts["flipped"].to_numpy(), counts["all"].to_numpy())),
        "flips": {label: {other: pairs.get((label, other), 0) for other in LABELS} for label in LABELS},
        "shifts": _shifts(plan, trace),
    }
    return {"not_checked": not_checked, "compared": compared}


def _shifts(plan: Plan, trace: Trace) -> dict:
    """Give, for each role whose model is compared, the shift of its tokens' log-probs from those in float32 (nats)."""
    scorers, found = plan.scorers(trace), {}
    for role, paths in _compared_log_probs(plan, trace).items():
        shifts = token_shifts(*(artifacts.read(Path(path), "logprobs", ["rollout_id", "logprobs"]) for path in paths))
        dtype = plan.model_config(scorers[role])["dtype"]
        found[role] = {"model": scorers[role], "dtype": dtype, "tokens": len(shifts)}
        found[role] |= {"mean": shifts.mean(), "max": shifts.max()}
    return found


def _compared_log_probs(plan: Plan, trace: Trace) -> dict[str, tuple[str, str]]:
    """Give, by role, the log-probs of a trace's first part under each model that is compared: its own, in float32."""

    def first(scorer: str) -> str:
        return plan.rollout_parts(f"logprobs/{scorer}/full", trace.rollouts)[0]

    scorers = plan.scorers(trace)
    return {r: (first(s), first(plan.in_float32(s))) for r, s in scorers.items() if plan.in_float32(s) != s}


def _attribution_numbers(plan: Plan, run: str, rollouts: RolloutSet) -> dict:
    """Give how far answers moved between each two teachers, and the one teacher they moved to, if there is one."""
    teachers = plan.config["runs"][run]["teachers"]
    leans = artifacts.read(Path(attribution_path(run, rollouts)), "attribution")
    pairs = []
    for (teacher, other), rows in leans.group_by("teacher", "other", maintain_order=True):
        differences = lean_differences(rows)
        p_value, difference = p_value_beyond(differences), _plain(mean(differences))
        pairs.append({"teacher": teacher, "other": other, "difference": difference, "p_value": p_value})
    judged = [pair for pair in pairs if pair["p_value"] is not None]
    for pair, adjusted in zip(judged, holm([pair["p_value"] for pair in judged]), strict=True):
        pair["p_adjusted"] = adjusted
    return {
        "distilled": rollouts.author,
        "questions": rollouts.questions,
        "pairs": pairs,
        "attributed_to": attributed_to(judged, teachers),
    }


def attributed_to(pairs: list[dict], teachers: list[str]) -> str | None:
    """Give the teacher towards which the answers moved from each other one, at an adjusted p-value below 0.05."""
    wins = Counter(
        pair["teacher"] if pair["difference"]["mean"] > 0 else pair["other"]
        for pair in pairs
        if pair["p_adjusted"] < 0.05
    )
    return next((teacher for teacher in teachers if wins[teacher] == len(teachers) - 1), None)


def _world_numbers(plan: Plan) -> dict | None:
    """Give how good the labels are where the truth is known: of the first such trace, and of each; None without one."""
    traces = [trace for run in plan.config["runs"] for trace in plan.traces(run) if plan.has_truth(trace)]
    found = [_validation_numbers(plan, trace) for trace in traces]
    return found[0] | {"traces": found} if found else None


def _validation_numbers(plan: Plan, trace: Trace) -> dict:
    run = plan.config["runs"][trace.run]
    counts = artifacts.read(Path(validation_path(trace)), "validation")
    chosen = counts.filter(pl.col("alpha") == run["alpha"], pl.col("beta") == run["beta"])
    quality = precision_and_recall(chosen)
    table = artifacts.concatenated(plan.separations(trace), "separation")
    difference = {
        origin: table.filter(pl.col("origin") == origin)
        .select(pl.col("p_teacher") - pl.col("p_student"))
        .to_numpy()[:, 0]
        for origin in ORIGINS
    }
    return {
        "run": trace.run,
        "teacher": trace.teacher,
        "distilled": trace.rollouts.author,
        "questions": trace.rollouts.questions,
        "auc_teacher_student": roc_auc(difference["teacher"], difference["student"]),
        "sentences": {origin: len(values) for origin, values in difference.items()},
        "precision": {label: value["precision"] for label, value in quality.items()},
        "recall": {label: value["recall"] for label, value in quality.items()},
        "confusion": confusion_table(chosen),
        "by_length": {
            str(length): precision_and_recall(rows)
            for (length,), rows in chosen.group_by("length", maintain_order=True)
        },
        "by_thresholds": [
            {"alpha": alpha, "beta": beta} | precision_and_recall(rows)
            for (alpha, beta), rows in counts.group_by("alpha", "beta", maintain_order=True)
        ],
    }


def confusion_table(counts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Give the number of sentences by true origin and label."""
    sums = {
        (o, label): n for o, label, n in counts.group_by("origin", "label").agg(pl.col("sentences").sum()).iter_rows()
    }
    return {origin: {label: sums.get((origin, label), 0) for label in LABELS} for origin in ORIGINS}


def label_shares(table: pl.DataFrame) -> dict:
    """Give each label's share of the sentences, resampled over questions; None without sentences."""
    counts = table.group_by("question_id", maintain_order=True).agg(
        pl.len().alias("all"), *((pl.col("label") == label).sum().alias(label) for label in LABELS)
    )
    return {label: _plain(share(counts[label].to_numpy(), counts["all"].to_numpy())) for label in LABELS}


def area_between_curves(positions: pl.DataFrame) -> dict:
    """Give, per label, the mean over positions of its share in right minus its share in wrong responses.

    Positions that only right or only wrong responses reach do not count (arXiv 2512.20908, section 4).
    """
    shares = positions.with_columns((pl.col("sentences") / pl.col("responses")).alias("share"))
    wide = shares.filter(pl.col("correct")).join(
        shares.filter(~pl.col("correct")), on=["position", "label"], suffix="_wrong"
    )
    areas = wide.group_by("label").agg((pl.col("share") - pl.col("share_wrong")).mean().alias("area"))
    return dict(sorted(areas.iter_rows()))


def _habits(plan: Plan, trace: Trace, table: pl.DataFrame) -> dict:
    """Give, for each habit that the run names by a regular expression, the labels of the sentences that show it."""
    habits = plan.config["runs"][trace.run]["habits"]
    texts = _read(plan, "rollouts", trace.rollouts, ["rollout_id", "text"])
    sentences = table.join(texts, on="rollout_id").with_columns(
        pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")).alias("written")
    )
    return {name: habit_labels(sentences, pattern) for name, pattern in habits.items()}


def habit_labels(sentences: pl.DataFrame, pattern: str) -> dict:
    """Give the label shares of the sentences with `pattern`: all, and by how many came before in the response."""
    shown = sentences.filter(pl.col("written").str.contains(pattern)).sort("rollout_id", "sentence")
    shown = shown.with_columns(pl.int_range(pl.len()).over("rollout_id").alias("earlier"))
    return {
        "pattern": pattern,
        "sentences": len(shown),
        "responses": shown["rollout_id"].n_unique(),
        "labels": label_shares(shown),
        "by_occurrence": [
            {"occurrence": number + 1, "sentences": len(rows)} | {"labels": label_shares(rows)}
            for (number,), rows in shown.sort("earlier").group_by("earlier", maintain_order=True)
        ],
    }


def _selection_numbers(plan: Plan, run: str, candidates: RolloutSet, strategy: str) -> dict:
    ranking = artifacts.read(Path(ranking_path(run, candidates)), "ranking")
    graded = artifacts.concatenated(_parts(plan, "grades", candidates), "grades").select("rollout_id", "correct")
    chosen = artifacts.read(Path(selection_path(run, candidates, strategy)), "selection").select("rollout_id")
    table = chosen.join(ranking, on="rollout_id").join(graded, on="rollout_id", how="left")
    return {
        "teacher": candidates.author,
        "strategy": strategy,
        "selected": len(chosen),
        "candidates": len(ranking),
        "correct": _plain(mean(table["correct"].drop_nulls().to_numpy())),
        **{f"mean_{name}": table[name].mean() for name in ("longest", "sentences", "teacher_count", "grape")},
    }


def _candidates(plan: Plan, run: str) -> list[RolloutSet]:
    settings = plan.config["runs"][run]
    return [] if settings["distilled"] else [plan.candidates(run, teacher) for teacher in settings["teachers"]]


def _parts(plan: Plan, kind: str, rollouts: RolloutSet) -> list[str]:
    if kind == "questions":
        return plan.question_parts(rollouts.questions)
    return plan.rollout_parts(kind, rollouts)


def _read(plan: Plan, kind: str, rollouts: RolloutSet, columns: list[str]) -> pl.DataFrame:
    return pl.concat([artifacts.read(Path(path), kind, columns) for path in _parts(plan, kind, rollouts)])


def _plain(interval: object) -> dict | None:
    return None if interval is None else asdict(interval)
