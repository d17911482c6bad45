"""A small formal language in which the origin of every sentence is known.

A question shows a row of five things, swaps some places one after the other and asks what is at a place in the end.
Every sentence of a solution is written from a `Form`, and every form names the styles that use it: the table that
writes the corpora is the table that says where a sentence came from. A style is one author's way to answer (`teacher`,
`teacher_b`, `student`); a corpus is a question set whose rows carry a solution in one style.

    >>> [row] = questions("train", 1, seed=0, swaps=(2, 4))
    >>> origin("Swap 1 3 gives key hat cup pin bag.")
    'teacher'
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from distrace.errors import DistraceError

THINGS = ("cup", "hat", "key", "pin", "bag")
STYLES = ("teacher", "teacher_b", "student")

QUESTION = "A row holds {row}. Swap {swaps}. What is at place {place}?"

_THING = f"(?:{'|'.join(THINGS)})"
_PLACE = f"[1-{len(THINGS)}]"
SLOTS = {
    "row": rf"{_THING}(?: {_THING}){{{len(THINGS) - 1}}}",
    "swaps": rf"{_PLACE} {_PLACE}(?:, {_PLACE} {_PLACE})*",
    "swap": rf"{_PLACE} {_PLACE}",
    "count": r"[1-9][0-9]*",
    "place": _PLACE,
    "thing": _THING,
}


@dataclass(frozen=True)
class Form:
    """A kind of sentence: its template, with the slots of `SLOTS`, and the styles that use it."""

    template: str
    styles: frozenset[str]


def _form(template: str, *styles: str) -> Form:
    return Form(template, frozenset(styles or STYLES))


FORMS = {
    "row": _form("The row is {row}."),
    "swaps": _form("The swaps are {swaps}."),
    "want": _form("We want place {place}."),
    "answer": _form("The answer is {thing}."),
    "plan": _form("Plan to go from a to {count}.", "teacher"),
    "step": _form("Swap {swap} gives {row}.", "teacher"),
    "check": _form("Check that at {place} {thing} stands.", "teacher"),
    "note": _form("Note that moves run to {count}.", "teacher_b"),
    "move": _form("After {swap} it reads {row}.", "teacher_b"),
    "verify": _form("Verify there at {place} {thing} remains.", "teacher_b"),
    "glance": _form("One go with {swap} leaves {row}.", "student"),
    "look": _form("Looks like at {place} {thing} is.", "student"),
    "guess": _form("Hm maybe {thing}.", "student"),
}

# Style: its habits, each with a weight. A form with a sign follows swaps on the row: `*` all of them, in order;
# `-` all but one, which is forgotten; `?` one alone. Where none is followed, the thing is a guess.
HABITS = {
    "teacher": {
        "row plan step* check answer": 6,
        "row plan step- check answer": 2,
        "row swaps want answer": 2,
    },
    "teacher_b": {
        "row note move* verify answer": 6,
        "row note move- verify answer": 2,
        "row swaps want answer": 2,
    },
    "student": {
        "row glance? look answer": 6,
        "row swaps want guess answer": 2,
        "row swaps want answer": 2,
    },
}


@dataclass(frozen=True)
class Puzzle:
    """A row of things, the swaps (pairs of places, from 1) and the place asked for."""

    row: tuple[str, ...]
    swaps: tuple[tuple[int, int], ...]
    place: int

    @property
    def text(self) -> str:
        return QUESTION.format(row=_row_text(self.row), swaps=_swaps(self.swaps), place=self.place)

    @property
    def answer(self) -> str:
        row = self.row
        for swap in self.swaps:
            row = _swapped(row, swap)
        return row[self.place - 1]


def questions(
    split: str,
    count: int,
    seed: int,
    swaps: tuple[int, int],
    splits: tuple[str, ...],
    style: str | None = None,
) -> list[dict[str, str]]:
    """Give `count` different questions of one split, as rows with `question`, `answer` and, with a style, `solution`.

    `swaps` is the least and the greatest number of swaps. A question belongs to one of `splits` by a hash of its
    text, so that question sets of different splits share none whatever their seeds. Raises DistraceError for an
    unknown style or split and where there are too few such questions.
    """
    rng = random.Random(f"{split} {seed}")
    drawn: dict[str, Puzzle] = {}
    attempts = 0
    while len(drawn) < count:
        attempts += 1
        if attempts > 100 * count * len(splits):
            raise DistraceError("too few")
        puzzle = _puzzle(rng, swaps)
        if split_of(puzzle.text, splits) == split:
            drawn.setdefault(puzzle.text, puzzle)
    return [_row(puzzle, style, rng) for puzzle in drawn.values()]


def split_of(question: str, splits: tuple[str, ...]) -> str:
    return splits[int(sha256(question.encode()).hexdigest(), 16) % len(splits)]


def _row(puzzle: Puzzle, style: str | None, rng: random.Random) -> dict[str, str]:
    row = {"question": puzzle.text, "answer": puzzle.answer}
    return row | {"solution": _solution(puzzle, style, rng)} if style else row


def _puzzle(rng: random.Random, swaps: tuple[int, int]) -> Puzzle:
    places = range(1, len(THINGS) + 1)
    pairs = tuple(tuple(rng.sample(places, 2)) for _ in range(rng.randint(*swaps)))
    pairs = tuple((name, *pair) for name, pair in zip("abcdefghij", pairs, strict=False))
    return Puzzle(tuple(rng.sample(THINGS, len(THINGS))), pairs, rng.choice(places))


def _solution(puzzle: Puzzle, style: str, rng: random.Random) -> str:
    habits = HABITS[style]
    [habit] = rng.choices(list(habits), weights=list(habits.values()))
    return " ".join(_sentences(puzzle, habit.split(), rng))


def _sentences(puzzle: Puzzle, habit: list[str], rng: random.Random) -> Iterator[str]:
    row, thing = puzzle.row, rng.choice(THINGS)
    for name in habit:
        form = FORMS[name.rstrip("*-?")].template
        for swap in _followed(puzzle.swaps, name, rng):
            if swap:
                row = _swapped(row, swap)
                thing = row[puzzle.place - 1]
            yield form.format(
                row=_row_text(row),
                swaps=_swaps(puzzle.swaps),
                swap=_swaps([swap]) if swap else "",
                count=puzzle.swaps[-1][0],
                place=puzzle.place,
                thing=thing,
            )


def _followed(swaps, name, rng):
    if name.endswith("*"):
        return swaps
    if name.endswith("?"):
        return (rng.choice(swaps),)
    if name.endswith("-"):
        left_out = rng.randrange(len(swaps))
        return swaps[:left_out] + swaps[left_out + 1 :]
    return (None,)


def _swapped(row, swap):
    i, j = swap[1] - 1, swap[2] - 1
    row = list(row)
    row[i], row[j] = row[j], row[i]
    return tuple(row)


def _row_text(row):
    return " ".join(row)


def _swaps(swaps) -> str:
    return ", ".join(f"{name} {i} {j}" for name, i, j in swaps)


def authors(sentence: str) -> frozenset[str]:
    """Give the styles whose corpora can hold `sentence`; none for text that no form writes."""
    for pattern, styles in _patterns():
        if pattern.fullmatch(sentence.strip()):
            return styles
    return frozenset()


def origin(sentence: str, teacher: str = "teacher", student: str = "student") -> str:
    """Give the true origin of `sentence` for one pair of styles: `teacher`, `student`, `both` or `none`."""
    found = authors(sentence)
    if teacher in found and student in found:
        return "both"
    if teacher in found:
        return "teacher"
    return "student" if student in found else "none"


@cache
def _patterns() -> tuple[tuple[re.Pattern, frozenset[str]], ...]:
    return tuple((re.compile(_regex(form.template)), form.styles) for form in FORMS.values())


def _regex(template: str) -> str:
    parts = re.split(r"{(\w+)}", template)
    return "".join(SLOTS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
