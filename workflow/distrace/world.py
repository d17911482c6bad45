"""A small formal language in which the origin of every sentence is known.

A question shows a row of five things and a chain of swaps, and asks what is in front in the end. Every sentence of a
solution is written from a form, and every form names the styles that use it. So the table that writes the corpora also
gives the origin of any sentence. A style is one author's way to answer; a corpus is a set of questions with solutions
in one style. Dials make the world harder: how much of the teacher's the student writes already, how much is said that
carries nothing, and in how many forms the teacher says one thing.

    >>> rows = questions("teacher_corpus", 2000, (1, 6), seed=0, style="teacher")
    >>> authors("Swap b cup hat gives key cup hat pin bag.")
    frozenset({'teacher'})
"""

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from string import ascii_lowercase

from distrace.errors import DistraceError

THINGS = ("cup", "hat", "key", "pin", "bag")
STUDENT = "student"
STYLES = ("teacher", "teacher_b", STUDENT)
REWRITTEN = "rewritten"  # a corpus: the teacher's answers in the student's forms, so no style of its own
SPLITS = ("teacher_corpus", "teacher_b_corpus", "student_corpus", "train", "test")
MOST_SWAPS = len(ascii_lowercase)
MUTTERED = 4  # words in a row that the student mutters

QUESTION = "A row holds {row}. Swap {swaps}. What is in front?"

_THING = f"(?:{'|'.join(THINGS)})"
_SWAP = f"[a-z] {_THING} {_THING}"
SLOTS = {
    "row": f"{_THING}(?: {_THING}){{{len(THINGS) - 1}}}",
    "swap": _SWAP,
    "last": "[a-z]",
    "thing": _THING,
    "words": f"[A-Za-z]+(?: [A-Za-z]+){{{MUTTERED - 1}}}",
}


@dataclass(frozen=True)
class Form:
    """A kind of sentence: its template, with the slots of `SLOTS`, and the styles that use it."""

    template: str
    styles: frozenset[str]


def _form(template: str, *styles: str) -> Form:
    return Form(template, frozenset(styles))


@dataclass(frozen=True)
class Dials:
    """How hard the world is, each from 0 to 1; at zero, no author writes a form of another.

    `overlap`: how often the student takes the teacher's form at a place of an answer, and how often it lays an answer
    out as the teacher does (1: always). `filler`: the largest share of the gaps between the sentences of an answer that
    hold one that carries nothing; each answer draws its own share between 0 and it. `paraphrase`: how often the teacher
    writes another form of the same content, one of `PARAPHRASES`.
    """

    overlap: float = 0.0
    filler: float = 0.0
    paraphrase: float = 0.0


@dataclass(frozen=True)
class Author:
    """Who writes: one of the styles, or `REWRITTEN`, in a world with these dials."""

    style: str
    dials: Dials = Dials()


NO_DIALS = Dials()
DIALS = tuple(Dials.__annotations__)


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

# What the dials add: forms that no style has without them.
PARAPHRASES = {"plan": ("aim", "easy"), "step": ("apply", "turn", "glance"), "check": ("sure", "done")}
FILLERS = ("on", "good", "well", "next")
DIALLED = {
    "aim": _form("We want all moves up to {last}."),
    "apply": _form("Apply {swap} making {row}."),
    "turn": _form("Then {swap} shows {row}."),
    "sure": _form("Every move holds up to {last}."),
    "on": _form("Let us go on."),
    "good": _form("So far so good."),
    "well": _form("This is going well."),
    "next": _form("Now for what comes next."),
}
EVERY_FORM = FORMS | DIALLED

# Forms that say the same in the words of different styles: how each style begins, makes a swap, and ends.
COUNTERPARTS = (
    {"teacher": "plan", "teacher_b": "note", "student": "easy"},
    {"teacher": "step", "teacher_b": "move", "student": "glance"},
    {"teacher": "check", "teacher_b": "verify", "student": "done"},
)
# What the teacher and the student write at the same place of an answer.
AS_TEACHER = {forms["student"]: forms["teacher"] for forms in COUNTERPARTS} | {"mutter": "plan"}
AS_STUDENT = {forms["teacher"]: forms["student"] for forms in COUNTERPARTS}

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
HABITS[REWRITTEN] = {
    " ".join(AS_STUDENT.get(name, name) + mark for name, mark in re.findall(r"(\w+)(\W?)(?: |$)", habit)): weight
    for habit, weight in HABITS["teacher"].items()
}


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
        return swapped(self.row, self.swaps)[0]


def questions(
    split: str,
    count: int,
    swaps: Sequence[int] = (2, 4),
    seed: int = 0,
    style: str | None = None,
    **dials: float,
) -> list[dict[str, str]]:
    """Return `count` different questions as rows with `question`, `answer` and, with a style, `solution`.

    `swaps` holds the smallest and the largest number of swaps; all numbers in between are equally likely. A question
    belongs to one of `SPLITS` by a hash of its text, so sets of different splits share none, whatever their seeds and
    swaps. `dials` are the fields of `Dials`; no question depends on them. Raises DistraceError for an unknown split or
    style, swaps out of range, and a `count` that is too large.
    """
    _require(split in SPLITS, f"split {split!r}: not one of {', '.join(SPLITS)}")
    _require(style is None or style in HABITS, f"style {style!r}: not one of {', '.join(HABITS)}")
    require_enough(split, count, swaps)
    rng = random.Random(f"{split} {seed}")
    found: dict[str, Puzzle] = {}
    for _ in range(50 * len(SPLITS) * count):
        puzzle = _puzzle(rng, rng.randint(*swaps))
        if split_of(puzzle.question) == split:
            found.setdefault(puzzle.question, puzzle)
        if len(found) == count:
            return [_row(puzzle, style, Dials(**dials), rng) for puzzle in found.values()]
    raise DistraceError(f"split {split!r} holds too few questions of {list(swaps)} swaps; ask for fewer than {count}")


def require_enough(split: str, count: int, swaps: Sequence[int]) -> None:
    """Raise DistraceError if swaps are out of range, or if a split cannot hold `count` questions of so many."""
    _require(1 <= swaps[0] <= swaps[1] <= MOST_SWAPS, f"swaps {list(swaps)}: not in order within 1 to {MOST_SWAPS}")
    most = most_questions(swaps)
    chain = " to ".join(map(str, dict.fromkeys(swaps))) + (" swap" if swaps[1] == 1 else " swaps")
    few = f"split {split!r} holds too few questions of {chain} for a count of {count}"
    _require(count <= most, f"{few}: at most {most}; allow longer chains")


def most_questions(swaps: Sequence[int]) -> int:
    """Return a number of questions of so many swaps that no split exceeds: its share of all, and what chance adds.

    All are the rows times the chains, less those after which the same thing is in front. In a step, the thing in front
    leaves it with chance 2/5, and one that was in front before comes back with chance 2/5 * 1/4.
    """
    rows, pairs = math.perm(len(THINGS)), math.perm(len(THINGS), 2)
    moved = 2 / len(THINGS)
    found, same = 0.0, 1.0
    for length in range(1, swaps[1] + 1):
        same = same * (1 - moved) + (1 - same) * moved / (len(THINGS) - 1)
        found += rows * pairs**length * (1 - same) if length >= swaps[0] else 0
    mean = found / len(SPLITS)
    return math.ceil(mean + 6 * math.sqrt(mean))


def split_of(question: str) -> str:
    """Return the split, one of `SPLITS`, that a question belongs to."""
    return SPLITS[int(sha256(question.encode()).hexdigest(), 16) % len(SPLITS)]


def authors(sentence: str, dials: Dials = NO_DIALS) -> frozenset[str]:
    """Return the styles whose grammar writes `sentence`, whether its content is right or wrong; empty if none does."""
    form = form_of(sentence)
    return frozenset() if form is None else _writers(dials).get(form, frozenset())


def sentences_of(style: str) -> str:
    """Return the style, one of `STYLES`, in whose sentences an author writes."""
    return STUDENT if style == REWRITTEN else style


def form_of(sentence: str) -> str | None:
    """Return the form, one of `EVERY_FORM` by name, that `sentence` is written from; None if there is none."""
    return next((name for name, pattern in _patterns().items() if pattern.fullmatch(sentence.strip())), None)


def slots_of(sentence: str) -> dict[str, str]:
    """Return what stands in the slots of a sentence of a known form, by the names of `SLOTS`."""
    name = form_of(sentence)
    matched = _patterns()[name].fullmatch(sentence.strip()) if name else None
    return matched.groupdict() if matched else {}


def read_puzzle(question: str) -> Puzzle:
    """Return the puzzle that a question asks; raise DistraceError if it is none of the world's."""
    matched = _question_pattern().fullmatch(question)
    if not matched:
        raise DistraceError(f"the world: {question[:60]!r} is none of its questions")
    swaps = [tuple(swap.split()) for swap in matched["swaps"].split(", ")]
    return Puzzle(tuple(matched["row"].split()), tuple(swaps))


def swapped(row: tuple[str, ...], swaps: Sequence[Swap]) -> tuple[str, ...]:
    """Return the row after swaps."""
    for _, one, other in swaps:
        exchanged = {one: other, other: one}
        row = tuple(exchanged.get(thing, thing) for thing in row)
    return row


def turned(style: str | None, dials: Dials) -> dict[str, float]:
    """Return the dials, by name, that are not at zero and change what a style writes."""
    changes = {
        "overlap": style == STUDENT,
        "filler": style is not None,
        "paraphrase": style == "teacher" or (style == STUDENT and dials.overlap > 0),
    }
    return {name: value for name, value in asdict(dials).items() if value and changes[name]}


def habits(style: str, dials: Dials = NO_DIALS) -> dict[str, float]:
    """Return the habits of a style with their probabilities; with `overlap`, the student has the teacher's too."""
    own = HABITS[style]
    found = {habit: weight / sum(own.values()) for habit, weight in own.items()}
    if style != STUDENT or not dials.overlap:
        return found
    found = {habit: (1 - dials.overlap) * p for habit, p in found.items()}
    for habit, p in habits("teacher", dials).items():
        found[habit] = found.get(habit, 0.0) + dials.overlap * p
    return found


@cache
def forms_at(name: str, style: str, dials: Dials = NO_DIALS) -> dict[str, float]:
    """Return the forms that a style writes where its habit has the form `name`, with their probabilities."""
    if style == "teacher":
        return _with_paraphrases(name, dials.paraphrase)
    if style != STUDENT or not dials.overlap:
        return {name: 1.0}
    own, other = AS_STUDENT.get(name, name), AS_TEACHER.get(name, name)
    found = {own: 1 - dials.overlap}
    for form, p in forms_at(other, "teacher", dials).items():
        found[form] = found.get(form, 0.0) + dials.overlap * p
    return {form: p for form, p in found.items() if p}


def _with_paraphrases(name: str, paraphrase: float) -> dict[str, float]:
    others = PARAPHRASES.get(name, ()) if paraphrase else ()
    found = {name: 1 - paraphrase if others else 1.0} | {other: paraphrase / len(others) for other in others}
    return {form: p for form, p in found.items() if p}


@cache
def _writers(dials: Dials) -> dict[str, frozenset[str]]:
    """Return the styles that write each form."""
    found: dict[str, set[str]] = {name: set(STYLES) for name in (FILLERS if dials.filler else ())}
    for style in STYLES:
        for name in {name.rstrip("*-?=") for habit in habits(style, dials) for name in habit.split()}:
            for form in forms_at(name, style, dials):
                found.setdefault(form, set()).add(style)
    return {form: frozenset(styles) for form, styles in found.items()}


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
            found = re.fullmatch(_regex(FORMS[name].template), sentence)
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


def _row(puzzle: Puzzle, style: str | None, dials: Dials, rng: random.Random) -> dict[str, str]:
    row = {"question": puzzle.question, "answer": puzzle.answer}
    if style is None:
        return row
    known = HABITS["teacher"] if style == STUDENT and _happens(dials.overlap, rng) else HABITS[style]
    [habit] = rng.choices(list(known), weights=list(known.values()))
    sentences = list(_sentences(puzzle, habit, style, dials, rng))
    return row | {"solution": "\n".join(_with_fillers(sentences, dials.filler, rng))}


def _happens(probability: float, rng: random.Random) -> bool:
    """Return whether something of this probability happens; where it is 0, nothing is drawn for it."""
    return bool(probability) and rng.random() < probability


def _with_fillers(sentences: list[str], filler: float, rng: random.Random) -> Iterator[str]:
    share = rng.uniform(0, filler) if filler else 0.0
    for number, sentence in enumerate(sentences):
        if number and _happens(share, rng):
            yield DIALLED[rng.choice(FILLERS)].template
        yield sentence


def _sentences(puzzle: Puzzle, habit: str, style: str, dials: Dials, rng: random.Random) -> Iterator[str]:
    row, thing = puzzle.row, rng.choice(THINGS)
    for name in habit.split():
        at_place = forms_at(name.rstrip("*-?="), style, dials)
        for made in [[]] if name in FORMS else _made(puzzle.swaps, name[-1], rng):
            row = swapped(row, made)
            thing = thing if name in FORMS else row[0]
            yield EVERY_FORM[_drawn(at_place, rng)].template.format(
                row=" ".join(row),
                thing=thing,
                swap=_listed(made),
                last=puzzle.swaps[-1][0],
                words=" ".join(rng.choices(WORDS, k=MUTTERED)),
            )


def _drawn(forms: dict[str, float], rng: random.Random) -> str:
    """Return one of the forms; where there is only one, nothing is drawn for it."""
    return next(iter(forms)) if len(forms) == 1 else rng.choices(list(forms), weights=list(forms.values()))[0]


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


def _listed(swaps: Sequence[Swap]) -> str:
    return ", ".join(map(" ".join, swaps))


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {name: re.compile(_regex(form.template)) for name, form in EVERY_FORM.items()}


@cache
def _question_pattern() -> re.Pattern[str]:
    swaps = f"(?P<swaps>{_SWAP}(?:, {_SWAP})*)"
    return re.compile(_regex(QUESTION.replace("{swaps}", "{}")).replace(re.escape("{}"), swaps))


def _regex(template: str) -> str:
    """Return what a form's sentences match; each slot is a group of its name."""
    parts = re.split(r"{(\w+)}", template)  # text and slot names by turns
    return "".join(f"(?P<{part}>{SLOTS[part]})" if turn % 2 else re.escape(part) for turn, part in enumerate(parts))
