"""Is a response right? Three ways to compare its answer with the right one.

- `math`: both are parsed as mathematics (math-verify) and compared
- `exact`: the same text, apart from case, white space and full stops at the end
- `choice`: the same letter

Nothing here is bounded in time: `graders.bounded_grade` is.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from math_verify import parse, verify

from distrace.settings import Grader

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time is not bounded

_SHOWN = 1000  # characters of an extracted answer

# "answer: (b)", "the answer is B"; else the last lone capital. A small letter needs its brackets: "a" is a word.
_CHOICE = re.compile(r"(?i:answer)\s*(?i:is|:)?[\s*]*(?:\(?([A-Z])\b|\(([a-z])\))|\b([A-Z])\b(?!')")


@dataclass(frozen=True)
class Grade:
    """`correct` is None if the answer cannot be judged; `reason` says why a response is not correct."""

    extracted: str | None
    correct: bool | None
    reason: str | None


def grade(response: str, answer: str, grader: Grader) -> Grade:
    """Return the grade of the answer part of a response, compared with the right answer."""
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
    gold = _parsed(f"${answer}$") or _parsed(answer)
    if all(isinstance(value, str) for value in gold):  # math-verify returns what it cannot read as text
        return Grade(None, None, f"the right answer {answer!r} is not mathematics")
    given = _parsed(response)
    if not given:
        return Grade(None, False, "no answer found")
    correct = verify(gold, given, timeout_seconds=None)
    return Grade(_shown(given[-1]), correct, None if correct else "another answer")


def _parsed(text: str) -> list[object]:
    found: list[object] = parse(text, parsing_timeout=None)
    return found


def _shown(value: object) -> str | None:
    try:
        return str(value)[:_SHOWN]
    except ValueError:  # Python writes no number of more than 4300 digits
        return None


def _grade_exact(response: str, answer: str) -> Grade:
    extracted = _plain(response)
    correct = extracted == _plain(answer)
    return Grade(extracted[:_SHOWN], correct, None if correct else "another answer")


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
