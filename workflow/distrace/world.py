"""A small formal language in which the origin of every sentence is known.

A question shows a row of five things and a chain of swaps, and asks what is in front in the end. Every sentence of a
solution is written from a form, and every form names the styles that use it. So the table that writes the corpora also
gives the origin of any sentence. A style is one author's way to answer; a corpus is a set of questions with solutions
in one style.

    >>> rows = questions("teacher_corpus", 2000, (1, 6), seed=0, style="teacher")
    >>> authors("Swap b cup hat gives key cup hat pin bag.")
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

QUESTION = "A row holds {row}. Swap {swaps}. What is in front?"

_THING = f"(?:{'|'.join(THINGS)})"
_SWAP = f"[a-z] {_THING} {_THING}"
SLOTS = {
    "row": f"{_THING}(?: {_THING}){{{len(THINGS) - 1}}}",
    "swap": _SWAP,
    "last": "[a-z]",
    "thing": _THING,
    "words": "[A-Za-z]+(?: [A-Za-z]+){3}",
}


@dataclass(frozen=True)
class Form:
    """A kind of sentence: its template, with the slots of `SLOTS`, and the styles that use it."""

    template: str
    styles: frozenset[str]


def _form(template: str, *styles: str) -> Form:
    return Form(template, frozenset(styles))


# Sentences that write a row have five words before it and follow one another. So at every step, what is copied from
# the row before is at the same distance, which tiny models learn in a minute.
FORMS = {
    "see": _form("Let us see now.", *STYLES),
    "row": _form("At first the row is {row}.", *STYLES),
    "answer": _form("The answer is {thing}.", *STYLES),
    "plan": _form("Plan to go from a to {last}.", "teacher"),
    "step": _form("Swap {swap} gives {row}.", "teacher"),
    "check": _form("Checked all from a to {last}.", "teacher"),
    "note": _form("Note that moves run to {last}.", "teacher_b"),
    "move": _form("After {swap} comes {row}.", "teacher_b"),
    "verify": _form("Verified each move to {last}.", "teacher_b"),
    "easy": _form("That looks easy enough.", "student"),
    "glance": _form("Doing {swap} leaves {row}.", "student"),
    "guess": _form("Hm maybe {thing}.", "student"),
    "done": _form("Good enough for me.", "student"),
    "mutter": _form("Well {words}.", "student"),
    "ramble": _form("Well {words} {row}.", "student"),
}

# The words of all styles. The student mutters them in random order, so it knows the teacher's words, not its sentences.
WORDS = sorted({word for form in FORMS.values() for word in re.sub("{.*?}|[.]", "", form.template).split()})

# The habits of each style, with their weights. A habit is a list of forms. A form with a mark makes swaps and writes
# the row after them: `*` a sentence for each swap, in order; `-` the same, with one swap forgotten; `?` one sentence
# for one swap drawn at random; `=` one sentence without a swap. The answer is the front of the last such row, else a
# guess.
HABITS = {
    "teacher": {
        "plan row step* answer check": 6,
        "plan row step- answer check": 2,
        "see row answer": 2,
    },
    "teacher_b": {
        "note row move* answer verify": 6,
        "note row move- answer verify": 2,
        "see row answer": 2,
    },
    "student": {
        "easy row glance? answer done": 4,
        "see row glance? answer done": 2,
        "mutter row glance? answer": 2,
        "mutter row ramble= answer done": 2,
        "see row ramble= ramble= ramble= answer done": 2,
        "easy row guess answer": 1,
    },
}

# Forms that say the same in the words of different styles: how each style begins, makes a swap, and ends.
COUNTERPARTS = (
    {"teacher": "plan", "teacher_b": "note", "student": "easy"},
    {"teacher": "step", "teacher_b": "move", "student": "glance"},
    {"teacher": "check", "teacher_b": "verify", "student": "done"},
)


Swap = tuple[str, ...]  # its letter and the two things


@dataclass(frozen=True)
class Puzzle:
    """A row of things, and a chain of swaps, each with a letter and two things."""

    row: tuple[str, ...]
    swaps: tuple[Swap, ...]

    @property
    def question(self) -> str:
        """The puzzle as a text."""
        return QUESTION.format(row=" ".join(self.row), swaps=_listed(self.swaps))

    @property
    def answer(self) -> str:
        """The thing in front after all swaps."""
        return _swapped(self.row, self.swaps)[0]


def questions(
    split: str, count: int, swaps: Sequence[int] = (2, 4), seed: int = 0, style: str | None = None
) -> list[dict[str, str]]:
    """Return `count` different questions as rows with `question`, `answer` and, with a style, `solution`.

    `swaps` holds the smallest and the largest number of swaps; all numbers in between are equally likely. A question
    belongs to one of `SPLITS` by a hash of its text, so sets of different splits share none, whatever their seeds and
    swaps. Raises DistraceError for an unknown split or style, swaps out of range, and a `count` that is too large.
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
    """Return the split, one of `SPLITS`, that a question belongs to."""
    return SPLITS[int(sha256(question.encode()).hexdigest(), 16) % len(SPLITS)]


def authors(sentence: str) -> frozenset[str]:
    """Return the styles whose grammar writes `sentence`, whether its content is right or wrong; empty if none does."""
    return next((styles for pattern, styles in _patterns() if pattern.fullmatch(sentence.strip())), frozenset())


def rewritten(text: str, style: str) -> str:
    """Return a text with each line in the words of a style; lines that the style has no words for stay as they are.

    So a trace keeps its steps and its errors, but not its words.

        >>> rewritten("Swap b cup hat gives key cup hat pin bag.", "student")
        'Doing b cup hat leaves key cup hat pin bag.'
    """
    _require(style in STYLES, f"style {style!r}: not one of {', '.join(STYLES)}")
    return "\n".join(_rewritten(line, style) for line in text.split("\n"))


def _rewritten(sentence: str, style: str) -> str:
    for forms in COUNTERPARTS:
        template = FORMS[forms[style]].template
        for name in forms.values():
            found = re.fullmatch(_regex(FORMS[name].template, named=True), sentence)
            if found and found.groupdict().keys() >= set(re.findall(r"{(\w+)}", template)):
                return template.format(**found.groupdict())
    return sentence


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DistraceError(f"the world: {message}")


def _puzzle(rng: random.Random, length: int) -> Puzzle:
    """Return a random puzzle whose front changes, so that an answer without any swap is never right."""
    while True:
        swaps = tuple((name, *rng.sample(THINGS, 2)) for name in ascii_lowercase[:length])
        puzzle = Puzzle(tuple(rng.sample(THINGS, len(THINGS))), swaps)
        if puzzle.answer != puzzle.row[0]:
            return puzzle


def _row(puzzle: Puzzle, style: str | None, rng: random.Random) -> dict[str, str]:
    row = {"question": puzzle.question, "answer": puzzle.answer}
    if style is None:
        return row
    [habit] = rng.choices(list(HABITS[style]), weights=list(HABITS[style].values()))
    return row | {"solution": "\n".join(_sentences(puzzle, habit, rng))}


def _sentences(puzzle: Puzzle, habit: str, rng: random.Random) -> Iterator[str]:
    row, thing = puzzle.row, rng.choice(THINGS)
    for name in habit.split():
        form = FORMS[name.rstrip("*-?=")]
        for made in [[]] if name in FORMS else _made(puzzle.swaps, name[-1], rng):
            row = _swapped(row, made)
            thing = thing if name in FORMS else row[0]
            yield form.template.format(
                row=" ".join(row),
                thing=thing,
                swap=_listed(made),
                last=puzzle.swaps[-1][0],
                words=" ".join(rng.choices(WORDS, k=4)),
            )


def _made(swaps: tuple[Swap, ...], mark: str, rng: random.Random) -> list[list[Swap]]:
    """Return, for each sentence of a form with this mark, the swaps that it makes."""
    chosen = rng.choice(swaps)
    made: dict[str, list[list[Swap]]] = {
        "*": [[swap] for swap in swaps],
        "-": [[swap] for swap in swaps if swap != chosen],
        "?": [[chosen]],
        "=": [[]],
    }
    return made[mark]


def _swapped(row: tuple[str, ...], swaps: Sequence[Swap]) -> tuple[str, ...]:
    for _, one, other in swaps:
        exchanged = {one: other, other: one}
        row = tuple(exchanged.get(thing, thing) for thing in row)
    return row


def _listed(swaps: Sequence[Swap]) -> str:
    return ", ".join(map(" ".join, swaps))


@cache
def _patterns() -> list[tuple[re.Pattern[str], frozenset[str]]]:
    return [(re.compile(_regex(form.template)), form.styles) for form in FORMS.values()]


def _regex(template: str, named: bool = False) -> str:
    """Return what a form's sentences match; with `named`, each slot is a group of its name."""
    parts = re.split(r"{(\w+)}", template)  # text and slot names by turns
    slots = {name: f"(?P<{name}>{slot})" if named else slot for name, slot in SLOTS.items()}
    return "".join(slots[part] if turn % 2 else re.escape(part) for turn, part in enumerate(parts))
