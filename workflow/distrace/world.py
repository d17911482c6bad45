"""A small formal language in which the origin of every sentence is known.

A question shows a row of five things and a chain of swaps of neighbours (`b 3` is the second swap, of places 3 and 4),
and asks what is at a place in the end. Every sentence of a solution is written from a form, and every form names the
styles that use it: the table that writes the corpora is the table that says where a sentence came from. A style is one
author's way to answer; a corpus is a set of questions whose rows carry a solution in one style.

    >>> rows = questions("teacher_corpus", 2000, (1, 6), seed=0, style="teacher")
    >>> authors("Swap b 3 gives key hat pin cup bag.")
    frozenset({'teacher'})
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from string import ascii_lowercase

from distrace.errors import DistraceError

THINGS = ("cup", "hat", "key", "pin", "bag")
STYLES = ("teacher", "teacher_b", "student")
SPLITS = ("teacher_corpus", "teacher_b_corpus", "student_corpus", "train", "test")
MOST_SWAPS = len(ascii_lowercase)

QUESTION = "A row holds {row}. Swap {swaps}. What is at place {place}?"

_THING = f"(?:{'|'.join(THINGS)})"
_SWAP = f"[a-z] [1-{len(THINGS) - 1}]"
SLOTS = {
    "row": f"{_THING}(?: {_THING}){{{len(THINGS) - 1}}}",
    "swaps": f"{_SWAP}(?:, {_SWAP})*",
    "swap": _SWAP,
    "last": "[a-z]",
    "place": f"[1-{len(THINGS)}]",
    "thing": _THING,
}


@dataclass(frozen=True)
class Form:
    """A kind of sentence: its template, with the slots of `SLOTS`, and the styles that use it."""

    template: str
    styles: frozenset[str]


def _form(template: str, *styles: str) -> Form:
    return Form(template, frozenset(styles))


# A thing that has to be read off a row stands right after the number of its place: tiny models learn that in a minute.
FORMS = {
    "row": _form("The row is {row}.", *STYLES),
    "swaps": _form("The swaps are {swaps}.", *STYLES),
    "want": _form("We want place {place}.", *STYLES),
    "answer": _form("The answer is {thing}.", *STYLES),
    "plan": _form("Plan to go from a to {last}.", "teacher"),
    "step": _form("Swap {swap} gives {row}.", "teacher"),
    "check": _form("Check that at {place} {thing} stands.", "teacher"),
    "note": _form("Note that moves run to {last}.", "teacher_b"),
    "move": _form("After {swap} it reads {row}.", "teacher_b"),
    "verify": _form("Verify there at {place} {thing} remains.", "teacher_b"),
    "glance": _form("One go with {swap} leaves {row}.", "student"),
    "look": _form("Looks like at {place} {thing} is.", "student"),
    "guess": _form("Hm maybe {thing}.", "student"),
}

# Style: its habits and their weights. A form with a mark makes swaps: `*` all of them, in order; `-` all but a forgotten
# one; `?` a few drawn blindly. The thing is read off the row as swapped so far, and guessed where no swap was made.
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
    """A row of things, the swaps (name, left place) and the place asked for; places count from 1."""

    row: tuple[str, ...]
    swaps: tuple[tuple[str, int], ...]
    place: int

    @property
    def question(self) -> str:
        return QUESTION.format(row=" ".join(self.row), swaps=_listed(self.swaps), place=self.place)

    @property
    def answer(self) -> str:
        return _swapped(self.row, self.swaps)[self.place - 1]


def questions(
    split: str, count: int, swaps: Sequence[int] = (2, 4), seed: int = 0, style: str | None = None
) -> list[dict[str, str]]:
    """Give `count` different questions as rows with `question`, `answer` and, with a style, `solution`.

    `swaps` holds the least and the greatest number of swaps, each number in between as likely. A question belongs to
    one of `SPLITS` by a hash of its text, so sets of different splits share none, whatever their seeds and swaps.
    Raises DistraceError for an unknown split or style, swaps out of range and where there are too few questions.
    """
    _require(split in SPLITS, f"split {split!r}: not one of {', '.join(SPLITS)}")
    _require(style is None or style in STYLES, f"style {style!r}: not one of {', '.join(STYLES)}")
    _require(1 <= swaps[0] <= swaps[1] <= MOST_SWAPS, f"swaps {list(swaps)}: not in order within 1 to {MOST_SWAPS}")
    rng = random.Random(f"{split} {seed}")
    found: dict[str, Puzzle] = {}
    for _ in range(50 * len(SPLITS) * count):
        puzzle = _puzzle(rng, rng.randint(*swaps))
        if split_of(puzzle.question) == split:
            found.setdefault(puzzle.question, puzzle)
        if len(found) == count:
            return [_row(puzzle, style, rng) for puzzle in found.values()]
    raise DistraceError(f"split {split!r} holds too few questions of {list(swaps)} swaps; ask for fewer than {count}")


def split_of(question: str) -> str:
    """Give the one of `SPLITS` that a question belongs to."""
    return SPLITS[int(sha256(question.encode()).hexdigest(), 16) % len(SPLITS)]


def authors(sentence: str) -> frozenset[str]:
    """Give the styles whose grammar writes `sentence`, right or wrong in content; none for text that no form writes."""
    return next((styles for pattern, styles in _patterns() if pattern.fullmatch(sentence.strip())), frozenset())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DistraceError(f"the world: {message}")


def _puzzle(rng: random.Random, length: int) -> Puzzle:
    """Draw a puzzle that asks for a place whose thing has changed, so that who forgets swaps is seldom right."""
    while True:
        row = tuple(rng.sample(THINGS, len(THINGS)))
        swaps = tuple((name, rng.randrange(1, len(row))) for name in ascii_lowercase[:length])
        pairs = enumerate(zip(row, _swapped(row, swaps), strict=True), start=1)
        changed = [place for place, (before, after) in pairs if before != after]
        if changed:
            return Puzzle(row, swaps, rng.choice(changed))


def _row(puzzle: Puzzle, style: str | None, rng: random.Random) -> dict[str, str]:
    row = {"question": puzzle.question, "answer": puzzle.answer}
    if style is None:
        return row
    [habit] = rng.choices(list(HABITS[style]), weights=HABITS[style].values())
    return row | {"solution": " ".join(_sentences(puzzle, habit, rng))}


def _sentences(puzzle: Puzzle, habit: str, rng: random.Random) -> Iterator[str]:
    row, thing = puzzle.row, rng.choice(THINGS)
    slots = {"swaps": _listed(puzzle.swaps), "last": puzzle.swaps[-1][0], "place": puzzle.place}
    for name in habit.split():
        template = FORMS[name.rstrip("*-?")].template
        if name in FORMS:
            yield template.format(row=" ".join(row), thing=thing, **slots)
            continue
        for swap in _made(puzzle.swaps, name[-1], rng):
            row = _swapped(row, [swap])
            yield template.format(row=" ".join(row), swap=_listed([swap]), **slots)
        thing = row[puzzle.place - 1]


def _made(swaps: tuple[tuple[str, int], ...], mark: str, rng: random.Random) -> Sequence[tuple[str, int]]:
    """Give the swaps that a form with this mark makes."""
    if mark == "*":
        return swaps
    if mark == "?":
        return rng.choices(swaps, k=rng.randint(1, 3))
    forgotten = rng.choice(swaps)
    return [swap for swap in swaps if swap != forgotten]


def _swapped(row: tuple[str, ...], swaps: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    for _, left in swaps:
        row = (*row[: left - 1], row[left], row[left - 1], *row[left + 1 :])
    return row


def _listed(swaps: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {left}" for name, left in swaps)


@cache
def _patterns() -> list[tuple[re.Pattern, frozenset[str]]]:
    return [(re.compile(_regex(form.template)), form.styles) for form in FORMS.values()]


def _regex(template: str) -> str:
    parts = re.split(r"{(\w+)}", template)  # text and slot names by turns
    return "".join(SLOTS[part] if turn % 2 else re.escape(part) for turn, part in enumerate(parts))
