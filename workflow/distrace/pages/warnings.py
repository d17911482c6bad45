"""What a reviewer would ask about the numbers of a report: each warning with its number and the limit that it crosses.

A warning is a dict with `kind`, what it is about, `value` and `limit`; `warning_text` puts it into words.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from markupsafe import Markup

from distrace.measures.labels import LABELS
from distrace.pages.texts import counted, linked, listed, percent
from distrace.plan import Plan

Numbers = dict[str, Any]

LEAST_QUESTIONS = 100
MOST_OF_ONE_LABEL = 0.95
MOST_CUT_OFF = 0.05
MOST_FLIPPED = 0.01
MOST_REJECTED = 0.01
MOST_JUDGED_OTHERWISE = 0.01
LIMITS = (
    f"fewer than {LEAST_QUESTIONS} questions",
    f"one label above {100 * MOST_OF_ONE_LABEL:g} %",
    f"more than {100 * MOST_CUT_OFF:g} % of responses cut off",
    f"more than {100 * MOST_FLIPPED:g} % of labels that flip in float32, or a number format that was not compared",
    "teacher and student of one family",
    f"more than {100 * MOST_REJECTED:g} % of rows rejected",
    f"more than {100 * MOST_JUDGED_OTHERWISE:g} % of answers judged otherwise than in the file that they came from",
)


def warnings_of(plan: Plan, numbers: Numbers) -> list[Numbers]:
    """Return the warnings about all runs of a report, and then those about rejected rows."""
    found: list[Numbers] = []
    for name, run in numbers["runs"].items():
        about: Iterator[Numbers]
        for about in (
            _questions(run),
            _cut_off(run),
            _verdicts(run),
            _families(plan, name),
            _labels(run),
            _formats(plan, name, run),
        ):
            found += [{"run": name} | warning for warning in about]
    return found + list(_rejects(numbers["accounting"]))


def _questions(run: Numbers) -> Iterator[Numbers]:
    for questions, models in run["accuracy"].items():
        fewest = min(value["n"] for value in models.values())
        if fewest < LEAST_QUESTIONS:
            yield {"kind": "few_questions", "questions": questions, "value": fewest, "limit": LEAST_QUESTIONS}


def _cut_off(run: Numbers) -> Iterator[Numbers]:
    for questions, models in run["accuracy"].items():
        for model, value in models.items():
            if (value["cut_off"] or 0) > MOST_CUT_OFF:
                about = {"questions": questions, "model": model, "responses": value["responses"]}
                yield {"kind": "cut_off"} | about | {"value": value["cut_off"], "limit": MOST_CUT_OFF}


def _verdicts(run: Numbers) -> Iterator[Numbers]:
    for questions, models in run["accuracy"].items():
        for model, value in models.items():
            both = value["as_source_says"]
            if both and both["mean"] < 1 - MOST_JUDGED_OTHERWISE:
                about = {"questions": questions, "model": model, "answers": both["n"]}
                yield {"kind": "verdicts"} | about | {"value": 1 - both["mean"], "limit": MOST_JUDGED_OTHERWISE}


def _labels(run: Numbers) -> Iterator[Numbers]:
    for trace in run["traces"]:
        for label in LABELS:
            share = trace["labels"][label]
            if share and share["mean"] > MOST_OF_ONE_LABEL:
                about = {"trace": trace["folder"], "label": label, "sentences": trace["sentences"]}
                yield {"kind": "one_label"} | about | {"value": share["mean"], "limit": MOST_OF_ONE_LABEL}


def _formats(plan: Plan, name: str, run: Numbers) -> Iterator[Numbers]:
    """Yield a warning for each trace whose labels flip in float32, or whose models were not checked for it."""
    for trace, numbers in zip(plan.traces(name), run["traces"], strict=True):
        if unchecked := plan.not_compared(trace):
            about = {"trace": trace.folder, "models": unchecked, "value": len(unchecked), "limit": 0}
            yield {"kind": "number_format_not_checked"} | about
        compared: Numbers = (numbers["float32_check"] or {}).get("compared") or {}
        flipped = compared.get("flipped")
        if flipped and flipped["mean"] > MOST_FLIPPED:
            about = {"trace": trace.folder, "sentences": compared["sentences"]}
            yield {"kind": "number_format"} | about | {"value": flipped["mean"], "limit": MOST_FLIPPED}


def _families(plan: Plan, run: str) -> Iterator[Numbers]:
    settings = plan.config["runs"][run]
    for teacher in settings["teachers"]:
        if reason := family(plan, teacher, settings["student"]):
            about = {"teacher": teacher, "student": settings["student"], "reason": reason}
            yield {"kind": "one_family"} | about | {"value": None, "limit": None}


def family(plan: Plan, teacher: str, student: str) -> str | None:
    """Return why teacher and student are of one family as far as the config tells; None if it does not."""
    teachers, students = plan.line_of(teacher), plan.line_of(student)
    if teacher == student:
        return f"{teacher} is both"
    if student in teachers:
        return f"{teacher} is trained from {student}"
    if teacher in students:
        return f"{student} is trained from {teacher}"
    if common := [name for name in teachers if name in students]:
        return f"both are trained from {common[0]}"
    one, other = (plan.config["models"][line[-1]]["source"] for line in (teachers, students))
    if one["folder"] and other["folder"] and PurePosixPath(one["folder"]) == PurePosixPath(other["folder"]):
        return f"both come from the folder {one['folder']}"
    if one["fresh"] and other["fresh"] and _tokenizer(one["fresh"]) == _tokenizer(other["fresh"]):
        return f"both have the tokenizer trained on {one['fresh']['questions']}"
    if one["hub"] and other["hub"] and _series(one["hub"]) == _series(other["hub"]):
        return f"{one['hub']} and {other['hub']} are of one series"
    return None


def _tokenizer(fresh: Numbers) -> tuple[Any, ...]:
    return fresh["questions"], fresh["vocabulary"], fresh["words"]


def _series(hub: str) -> tuple[str, str]:
    """Return the owner of a hub model and the first letters of its name: ("qwen", "qwen") of "Qwen/Qwen3-8B"."""
    owner, _, name = hub.rpartition("/")
    letters = re.match(r"[A-Za-z]*", name)
    return owner.lower(), (letters[0] if letters else name).lower()


def _rejects(accounting: list[Numbers]) -> Iterator[Numbers]:
    for row in accounting:
        rows = row["rows"] + row["rejected"]
        if row["rejected"] > MOST_REJECTED * rows:
            about = {"artifact": row["artifact"], "rejected": row["rejected"], "rows": rows}
            yield {"kind": "rejects", "run": None} | about | {"value": row["rejected"] / rows, "limit": MOST_REJECTED}


def warning_text(warning: Numbers) -> Markup:
    """Return a warning as a sentence, with links to the sentences that it is about."""
    return Markup(_TEXTS[warning["kind"]](warning))


def _text(pattern: str, *values: object) -> Markup:
    return Markup(pattern).format(*values)


_TEXTS: dict[str, Any] = {
    "few_questions": lambda w: _text(
        "{} has {} with judged answers, fewer than {}: intervals are wide, and rankings may turn.",
        *(w["questions"], counted(w["value"], "question"), w["limit"]),
    ),
    "cut_off": lambda w: _text(
        "{} of the {} of {} on {} end at max_tokens (more than {}): what they would have gone on to say is missing.",
        *(percent(w["value"]), counted(w["responses"], "response"), w["model"], w["questions"], percent(w["limit"])),
    ),
    "verdicts": lambda w: _text(
        "{} of the {} of {} on {} are judged otherwise here than in the file that they came from (more than {}): one "
        "of the two graders misreads them.",
        *(percent(w["value"]), counted(w["answers"], "answer"), w["model"], w["questions"], percent(w["limit"])),
    ),
    "one_label": lambda w: _text(
        "{} of the {} of {} are labelled {} (more than {}): thresholds that separate nothing, or models too alike.",
        linked(percent(w["value"]), trace=w["trace"], label=w["label"]),
        *(counted(w["sentences"], "sentence"), w["trace"], w["label"], percent(w["limit"])),
    ),
    "number_format": lambda w: _text(
        "{} of the labels of {} are others in float32 (more than {}; {} compared): so many lie within the shift of the "
        "number format.",
        *(percent(w["value"]), w["trace"], percent(w["limit"]), counted(w["sentences"], "sentence")),
    ),
    "number_format_not_checked": lambda w: _text(
        "{} of the models of {} ({}) ran in a number format that was not compared with float32: how many labels that "
        "flips is not known.",
        *(w["value"], w["trace"], listed(w["models"])),
    ),
    "one_family": lambda w: _text(
        "Teacher {} and student {} are of one family ({}): scores by likelihood prefer such a teacher, and its "
        "sentences are harder to tell from the student's.",
        *(w["teacher"], w["student"], w["reason"]),
    ),
    "rejects": lambda w: _text(
        "{} of the {} that came into {} were rejected ({}, more than {}).",
        *(f"{w['rejected']:,}", counted(w["rows"], "row"), w["artifact"], percent(w["value"]), percent(w["limit"])),
    ),
}
