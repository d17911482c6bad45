"""The report's numbers of answers and strategies: how good a model is, what trained it, which strategies differ.

`docs/evaluation.md` describes each number.
"""

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace import kinds
from distrace.artifacts import open_artifact, read_rejects
from distrace.measures.agreement import overlaps, rank_correlations, without_doubles
from distrace.measures.answers import answers_by_question, numbers_of_samples, pass_at
from distrace.measures.comparisons import LEVEL, Comparison, compared, interval, letters, resampled_means
from distrace.measures.statistics import Interval, proportion, share, standard_error, with_wilson
from distrace.parts import open_parts
from distrace.plan import Distilled, Plan, RolloutSet, ranking_path, selection_path, training_path
from distrace.resources import model_size
from distrace.settings import Training

Numbers = dict[str, Any]

# FLOPs for each parameter and token: two forwards, two for the gradients of activations, two for those of the weights,
# of which LoRA computes next to none.
TRAINING_FLOPS = {"full": 6, "lora": 4}
QUANTILES = {"least": 0.0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "most": 1.0}


def plain(found: Interval | None) -> Numbers | None:
    """Return an interval as it stands in `numbers.json`; None if there is none."""
    return None if found is None else asdict(found)


def share_correct(chosen: pl.DataFrame) -> Numbers | None:
    """Return the share of right ones of responses by their `question_id` and `correct`; None of unjudged ones."""
    judged = chosen.filter(pl.col("correct").is_not_null())
    return plain(proportion(judged["correct"].to_numpy(), judged["question_id"].n_unique()))


def accuracy(plan: Plan, rollouts: RolloutSet) -> Numbers:
    """Return the share of right answers, the mean over questions, and what else their samples say of the model."""
    answers = _answers(plan, rollouts)
    by_question = answers_by_question(answers)
    right, judged = by_question["right"].to_numpy(), by_question["judged"].to_numpy()
    unknown: Numbers = dict.fromkeys(("mean", "low", "high")) | {"n": 0}
    return (plain(proportion(by_question["accuracy"].to_numpy())) or unknown) | {
        "responses": len(answers),
        "not_judged": len(answers) - int(judged.sum()),
        "cut_off": (answers["finish_reason"] == "length").mean(),
        "standard_error": standard_error(by_question["accuracy"].to_numpy()),
        "pass_at": {
            str(k): plain(proportion(pass_at(k, right, judged))) for k in numbers_of_samples(int(judged.max(initial=0)))
        },
        "majority": plain(proportion(by_question["majority"].to_numpy())),
        "as_source_says": plain(proportion(_as_source_says(answers))),
        "tokens": _length(answers, "tokens"),
        "characters": _length(answers, "characters"),
    }


def _as_source_says(answers: pl.DataFrame) -> NDArray[np.float64]:
    """Return for each answer with two verdicts, here and in the file that it came from, whether they agree."""
    if "source_correct" not in answers.columns:
        return np.array([])
    judged = answers.drop_nulls(["correct", "source_correct"])
    return (judged["correct"] == judged["source_correct"]).cast(pl.Float64).to_numpy()


def _answers(plan: Plan, rollouts: RolloutSet) -> pl.DataFrame:
    """Return the graded answers of a set with their lengths; texts and tokens are in memory one part at a time.

    Those from a file that says which are right have that as `source_correct`.
    """
    imported = plan.responses(rollouts.author, rollouts.sampling) if plan.is_imported(rollouts) else None
    given = ["source_correct"] if imported and imported["correct"] else []
    graded = open_parts(plan.rollouts_parts("grades", rollouts), kinds.GRADES)
    written = open_parts(plan.rollouts_parts("rollouts", rollouts), kinds.ROLLOUTS)
    parts = []
    for grades, responses in zip(graded, written, strict=True):
        lengths = responses.read("rollout_id", "text", "token_ids", "finish_reason", *given).select(
            "rollout_id",
            "finish_reason",
            *given,
            pl.col("text").str.len_chars().alias("characters"),
            pl.col("token_ids").list.len().alias("tokens"),
        )
        judged = grades.read("rollout_id", "question_id", "extracted", "correct")
        parts.append(judged.join(lengths, on="rollout_id", how="left", maintain_order="left"))
    return pl.concat(parts)


def _length(answers: pl.DataFrame, unit: str) -> Numbers | None:
    """Return the mean length of the responses, with its interval over questions; None where no length is known."""
    known = answers.filter(pl.col(unit).is_not_null())
    sums = known.group_by("question_id", maintain_order=True).agg(pl.col(unit).sum(), pl.len().alias("responses"))
    return plain(share(sums[unit].to_numpy(), sums["responses"].to_numpy()))


def strategy_numbers(plan: Plan, run: str) -> Numbers | None:
    """Return how the strategies of a run compare; None for a run that trains nothing.

    `tests` by questions, `training` by strategy, `correlations` and `overlaps` by whose candidates they are of.
    """
    trained = trained_by_strategy(plan, run)
    if not trained:
        return None
    settings, pools = plan.config["runs"][run], plan.pools(run)
    return {
        "seeds": len(settings["seeds"]),
        "tests": {
            questions: _test_numbers(plan, run, questions, trained) for questions in settings["test"]["questions"]
        },
        "training": {name: _training_numbers(plan, models[0]) for name, models in trained.items()},
        "correlations": [_correlations(run, teacher, pool) for teacher, pool in pools.items()],
        "overlaps": [_overlaps(plan, run, teacher) for teacher in pools],
    }


def trained_by_strategy(plan: Plan, run: str) -> dict[str, list[Distilled]]:
    """Return the models that each strategy of a run trains, one for each seed; of several teachers, by both names."""
    models = [model for model in plan.distilled.values() if model.run == run]
    several = len({model.teacher for model in models}) > 1
    trained: dict[str, list[Distilled]] = {}
    for model in models:
        name = f"{model.teacher}.{model.strategy}" if several else model.strategy
        trained.setdefault(name, []).append(model)
    return trained


def _test_numbers(plan: Plan, run: str, questions: str, trained: dict[str, list[Distilled]]) -> Numbers:
    """Return each strategy's accuracy over seeds and questions, and all pairs, on questions that all were judged on."""
    names = list(trained)
    sampling = plan.config["runs"][run]["test"]["sampling"]
    models = [model.name for model in chain.from_iterable(trained.values())]
    asked = pl.concat([_question_scores(plan, RolloutSet(name, questions, sampling)) for name in models])
    by_question = asked.pivot("author", index="question_id", values="accuracy", maintain_order=True)
    complete = by_question.drop_nulls()
    found: Numbers = {"questions": len(complete), "left_out": len(by_question) - len(complete)}
    if complete.is_empty():
        return found | {"accuracy": dict.fromkeys(names), "pairs": []}
    scores = complete.select(models).to_numpy().T.reshape(len(names), -1, len(complete))
    means, draws = scores.mean(axis=(1, 2)), resampled_means(scores)
    pairs = compared(scores, draws)
    accuracies = draws.clip(0, 1)  # the deviations of questions and of seeds, added, may lead beyond
    marks = letters(means.tolist(), {(pair.one, pair.other) for pair in pairs if differ(pair)})
    return found | {
        "accuracy": {
            name: _accuracy(means[n], accuracies[:, n], len(complete)) | {"letters": marks[n]}
            for n, name in enumerate(names)
        },
        "pairs": [_pair(pair, names) for pair in pairs],
    }


def _accuracy(mean: float, draws: NDArray[np.float64], questions: int) -> Numbers:
    return asdict(with_wilson(interval(mean, draws, questions), questions, questions))


def _question_scores(plan: Plan, rollouts: RolloutSet) -> pl.DataFrame:
    graded = open_parts(plan.rollouts_parts("grades", rollouts), kinds.GRADES).read("question_id", "correct")
    means = graded.group_by("question_id", maintain_order=True).agg(pl.col("correct").mean().alias("accuracy"))
    return means.with_columns(author=pl.lit(rollouts.author))


def differ(pair: Comparison) -> bool:
    """Return whether two strategies differ at the level of 5 %, adjusted for all pairs."""
    return pair.p_adjusted is not None and pair.p_adjusted < LEVEL


def _pair(pair: Comparison, names: list[str]) -> Numbers:
    return {
        "strategy": names[pair.one],
        "other": names[pair.other],
        "difference": asdict(pair.difference),
        "p_value": pair.p_value,
        "p_adjusted": pair.p_adjusted,
        "differ": differ(pair),
        "questions_needed": pair.questions_needed,
    }


def _training_numbers(plan: Plan, model: Distilled) -> Numbers:
    """Return what a strategy's model was trained on: responses, tokens, an estimate of the FLOPs, lengths, share right.

    Tokens are the student's, of the response without the prompt. Responses that training rejected are left out.
    """
    chosen = _chosen(plan, model)
    learned = chosen.filter(~pl.col("rollout_id").is_in(_rejected(training_path(model.name))))
    training, size = plan.training(model.name), model_size(plan, model.name)
    tokens, epochs = float(learned["tokens"].sum()), _epochs(training, model)
    trained = tokens * epochs
    return {
        "teacher": model.teacher,
        "strategy": model.strategy,
        "selected": len(chosen),
        "responses": len(learned),
        "tokens": tokens,
        "epochs": epochs,
        "tokens_trained": trained,
        "parameters": size and size.parameters,
        "flops": size and TRAINING_FLOPS[training.method] * size.parameters * trained,
        "correct": share_correct(chosen),
        "length": {"mean": chosen["tokens"].mean()}
        | {name: chosen["tokens"].quantile(at, "linear") for name, at in QUANTILES.items()},
    }


def _chosen(plan: Plan, model: Distilled) -> pl.DataFrame:
    """Return the responses that were selected for a model: `rollout_id`, `question_id`, `tokens`, `correct`."""
    grades = [
        open_parts(plan.rollouts_parts("grades", candidates), kinds.GRADES).read("rollout_id", "correct")
        for candidates in plan.pools(model.run)[model.teacher]
    ]
    selected = _selected(plan, model.run, model.teacher, model.strategy)
    return selected.join(pl.concat(grades), on="rollout_id", how="left", maintain_order="left")


def _selected(plan: Plan, run: str, teacher: str, strategy: str) -> pl.DataFrame:
    path = selection_path(run, plan.candidates(run, teacher), strategy)
    selection = open_artifact(path, kinds.SELECTION).read("rollout_id", "question_id", "rank", "tokens")
    return selection.filter(pl.col("rank").is_not_null()).drop("rank")


def _rejected(path: str) -> list[str]:
    return read_rejects(Path(path), "source")["source"].to_list()


def _epochs(training: Training, model: Distilled) -> float:
    """Return how often a training sees each of its responses; of given steps, as its log counts epochs."""
    if training.max_steps <= 0:
        return training.epochs
    last = open_artifact(training_path(model.name), kinds.TRAINING).read("step", "epoch").row(-1, named=True)
    return float(training.max_steps * last["epoch"] / last["step"])


def _correlations(run: str, teacher: str, pool: list[RolloutSet]) -> Numbers:
    rankings = [open_artifact(ranking_path(run, candidates), kinds.RANKING) for candidates in pool]
    ranked = pl.concat([ranking.read() for ranking in rankings])
    scores = without_doubles(ranked, rankings[0].identity["scores"])
    return {"teacher": teacher, "scores": scores, "pairs": rank_correlations(ranked, scores)}


def _overlaps(plan: Plan, run: str, teacher: str) -> Numbers:
    strategies = plan.config["runs"][run]["strategies"]
    chosen = {name: set(_selected(plan, run, teacher, name)["rollout_id"]) for name in strategies}
    return {"teacher": teacher, "strategies": strategies, "pairs": overlaps(chosen)}
