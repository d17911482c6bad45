"""The grades node: is a response right?

Run by the workflow as `python -m distrace.grades --rollouts FILE --questions FILE --grader JSON --out FILE`.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from math_verify import parse, verify

from distrace import artifacts, command
from distrace.identity import source_digest

# "answer: (b)", "the answer is B"; else the last lone capital. A small letter needs its brackets: "a" is a word.
_CHOICE = re.compile(r"(?i:answer)\s*(?i:is|:)?[\s*]*(?:\(?([A-Z])\b|\(([a-z])\))|\b([A-Z])\b(?!')")


@dataclass(frozen=True)
class Grader:
    """`pattern` is a regular expression whose last match's first group is the response's answer."""

    method: str = "math"
    pattern: str | None = None


@dataclass(frozen=True)
class Grade:
    """`correct` is None where the answer cannot be judged; `reason` says why a response is not correct."""

    extracted: str | None
    correct: bool | None
    reason: str | None


def write_grades(rollouts: Path, questions: Path, grader: Grader, out: Path) -> None:
    """Write a grade for each response of a part."""
    artifacts.require_made_from(rollouts, "questions", questions)
    answers = dict(artifacts.read(questions, "questions", ["question_id", "answer"]).iter_rows())
    responses = artifacts.read(rollouts, "rollouts", ["rollout_id", "question_id", "text", "answer_start"])
    rows = []
    for rollout_id, question_id, text, answer_start in responses.iter_rows():
        result = grade(text[answer_start:], answers[question_id], grader)
        rows.append({"rollout_id": rollout_id, "question_id": question_id} | asdict(result))
    identity = {
        "version": source_digest("grades"),
        "rollouts": artifacts.metadata(rollouts).fingerprint,
        "grader": asdict(grader),
    }
    artifacts.write(out, "grades", rows, identity)


def grade(response: str, answer: str, grader: Grader) -> Grade:
    """Judge the answer part of a response against the right answer."""
    if grader.pattern is not None:
        found = _last_group(grader.pattern, response)
        if found is None:
            return Grade(None, False, "the pattern matches nothing in the response")
        response = found
    return METHODS[grader.method](response, answer)


def _last_group(pattern: str, text: str) -> str | None:
    found = [match[1] for match in re.finditer(pattern, text, re.MULTILINE) if match[1] is not None]
    return found[-1].strip() if found else None


def _grade_math(response: str, answer: str) -> Grade:
    gold = parse(f"${answer}$") or parse(answer)
    if all(isinstance(value, str) for value in gold):  # math-verify gives back as text what it cannot read
        return Grade(None, None, f"the right answer {answer!r} is not mathematics")
    given = parse(response)
    if not given:
        return Grade(None, False, "no answer found")
    correct = verify(gold, given)
    return Grade(str(given[-1]), correct, None if correct else "another answer")


def _grade_exact(response: str, answer: str) -> Grade:
    extracted = _plain(response)
    correct = extracted == _plain(answer)
    return Grade(extracted, correct, None if correct else "another answer")


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


def _grade_choice(response: str, answer: str) -> Grade:
    matches = _CHOICE.findall(response)
    if not matches:
        return Grade(None, False, "no letter found")
    named = [capital or small for capital, small, _ in matches if capital or small]
    letter = (named or [lone for _, _, lone in matches])[-1].upper()
    correct = letter == answer.strip("() .").upper()
    return Grade(letter, correct, None if correct else "another answer")


METHODS: dict[str, Callable[[str, str], Grade]] = {
    "math": _grade_math,
    "exact": _grade_exact,
    "choice": _grade_choice,
}


if __name__ == "__main__":
    command.run(write_grades)
