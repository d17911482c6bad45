"""The report's numbers of evidence: how many sentences of each label stand in the training responses."""

from dataclasses import asdict
from typing import Any

import polars as pl

from distrace import kinds
from distrace.measures.evidence import VERBATIM_WORDS
from distrace.measures.labels import LABELS
from distrace.measures.statistics import proportions, shares
from distrace.parts import open_parts
from distrace.plan import Plan, Trace

ALL = "all"
_SEARCHED = ("searched_responses", "searched_words")


def evidence_numbers(plan: Plan, trace: Trace) -> dict[str, Any] | None:
    """Return what of a trace's labelled sentences is verbatim in the training responses, and in the control.

    `shares` has, for each label and for `all`: its `sentences`, their mean number of `words`, and the shares of them
    that are verbatim in the training responses (`training`), in the student's answers (`control`), and their
    `difference`. None if no run trained the model.
    """
    path = plan.evidence_parts(trace)
    if path is None:
        return None
    labelled, graded = plan.trace_parts(trace), plan.rollouts_parts("grades", trace.rollouts)
    lists = open_parts(path, kinds.EVIDENCE), open_parts(labelled, kinds.PROVENANCE), open_parts(graded, kinds.GRADES)
    counted, searched = [], dict.fromkeys((*_SEARCHED, *(f"control_{name}" for name in _SEARCHED)), 0)
    for evidence, labels, grades in zip(*lists, strict=True):
        found = evidence.read("rollout_id", "sentence", "sentence_words", "verbatim", "control_verbatim", *searched)
        if len(found):
            searched = found.select(*searched).row(0, named=True)
        table = labels.read("rollout_id", "sentence", "label").join(found, on=["rollout_id", "sentence"])
        counted.append(_counts(table.join(grades.read("rollout_id", "question_id"), on="rollout_id")))
    counts = pl.concat(counted)
    return {
        "verbatim_words": VERBATIM_WORDS,
        "training": {name.removeprefix("searched_"): searched[name] for name in _SEARCHED},
        "control": {name.removeprefix("searched_"): searched[f"control_{name}"] for name in _SEARCHED},
        "shares": {label: _shares(counts, label) for label in (*LABELS, ALL)},
    }


def _counts(sentences: pl.DataFrame) -> pl.DataFrame:
    """Return, for each question and label, the number of sentences, of their words, and of those that are verbatim."""
    return sentences.group_by("question_id", "label", maintain_order=True).agg(
        pl.len().alias("sentences"),
        *(pl.col(name).sum() for name in ("sentence_words", "verbatim", "control_verbatim")),
    )


def _shares(counts: pl.DataFrame, label: str) -> dict[str, Any]:
    """Return the numbers of a label, with 95 % bootstrap intervals over the questions that have a sentence of it."""
    mine = counts if label == ALL else counts.filter(pl.col("label") == label)
    by_question = mine.drop("label").group_by("question_id", maintain_order=True).sum()
    training, control = (by_question[name].cast(pl.Int64) for name in ("verbatim", "control_verbatim"))
    totals = by_question["sentences"]
    found = [*proportions([training, control], totals), *shares([training - control], totals)]
    sentences = int(by_question["sentences"].sum())
    return {
        "sentences": sentences,
        "words": by_question["sentence_words"].sum() / sentences if sentences else None,
        **{
            name: asdict(interval) if interval else None
            for name, interval in zip(("training", "control", "difference"), found, strict=True)
        },
    }
