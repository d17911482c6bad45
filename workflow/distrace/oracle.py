"""The exact probability of each sentence under an author of the world: what the labels of models estimate.

Every answer is laid out by a habit, drawn first, which puts a form and perhaps a swap at each place; what is written
there is drawn place by place, from the forms that the author has for it (`world.forms_at`). So the probability of a
sentence follows from the sentences before it by adding up, over all layouts that agree with them:

    >>> question = "A row holds hat pin key cup bag. Swap a pin hat, b cup key. What is in front?"
    >>> written = ["Plan to go from a to b.", "At first the row is hat pin key cup bag."]
    >>> [round(p, 3) for p in sentence_probabilities(Author("teacher"), question, written)]
    [0.8, 1.0]

A choice has a cost: which form, which swap, which words to mutter, what to guess. What follows from the sentences
before, such as the row after a swap, costs nothing, whether it is written right or wrong.

An author may not write what stands before a sentence at all; its probability would be 0/0. Then the sentences before
are read by their place in the answer (`PLACES`) and the swaps that they make, in whatever form; if no layout agrees
with that either, only the last of them counts: its place and whether it makes a swap or, at last, its place alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from distrace.world import (
    EVERY_FORM,
    FILLERS,
    MUTTERED,
    THINGS,
    WORDS,
    Author,
    Swap,
    form_of,
    forms_at,
    habits,
    read_puzzle,
    slots_of,
    swapped,
)

PLACES = {
    "opening": ("plan", "aim", "note", "see", "easy", "mutter"),
    "row": ("row",),
    "work": ("step", "apply", "turn", "move", "glance", "guess", "ramble"),
    "answer": ("answer",),
    "closing": ("check", "sure", "verify", "done"),
}
_PLACE = {form: place for place, forms in PLACES.items() for form in forms}
_SHARES = (np.arange(400) + 0.5) / 400  # over which the share of fillers of an answer is integrated


@dataclass(frozen=True)
class Place:
    """A place of a layout: the form that the habit has there, the swap made, and whether its thing is guessed."""

    name: str
    swap: str | None = None  # its letter
    guessed: bool = False


@dataclass(frozen=True)
class Written:
    """A sentence as read: its form, and the swap that it makes."""

    form: str
    swap: str | None = None  # its letter: the things may be wrong

    @property
    def place(self) -> str:
        """The part of an answer that it is."""
        return _PLACE[self.form]


@dataclass(frozen=True)
class Layout:
    """One way to lay an answer out, with its probability."""

    probability: float
    places: tuple[Place, ...]


def sentence_probabilities(author: Author, question: str, sentences: Sequence[str]) -> list[float]:
    """Return the probability, given those before it, of each sentence of an answer; 0 for one of no known form."""
    layouts = list(layouts_of(author, [letter for letter, *_ in read_puzzle(question).swaps]))
    fillers = _Fillers(author.dials.filler)
    before: list[Written] = []
    found = []
    for sentence in sentences:
        form = form_of(sentence)
        if form is None:
            found.append(0.0)
            continue
        chance = fillers.chance(form)
        if form not in FILLERS:
            swap = _swap_of(sentence)
            written = Written(form, swap[0] if swap else None)
            chance *= _probability(author, layouts, before, written)
            before.append(written)
        found.append(chance)
    return found


def layouts_of(author: Author, swaps: Sequence[str]) -> Iterator[Layout]:
    """Yield the ways in which an author lays an answer out, with probabilities that add up to 1; swaps are letters."""
    for habit, probability in habits(author.style, author.dials).items():
        names = habit.split()
        marked = [_made(name, swaps) for name in names]
        ways = list(product(*marked))
        for way in ways:
            yield Layout(probability / len(ways), _places(names, way))


def follows(question: str, sentences: Sequence[str]) -> list[bool]:
    """Return whether what each sentence says follows from the question and the sentences before it.

    The row must be the last one after the swap that the sentence makes, the answer what stands in front or was guessed,
    the last letter that of the last swap. A sentence of no known form does not follow.
    """
    puzzle = read_puzzle(question)
    row, thing, found = puzzle.row, None, []
    for sentence in sentences:
        form, slots = form_of(sentence), slots_of(sentence)
        swap = _swap_of(sentence)
        expected = swapped(row, [swap] if swap else [])
        right = form is not None and (swap is None or swap in puzzle.swaps)
        if "row" in slots:
            right &= tuple(slots["row"].split()) == expected
            row = tuple(slots["row"].split())
            thing = thing if form == "row" else row[0]
        if form == "answer":
            right &= thing in (None, slots["thing"])
        if form == "guess":
            thing = slots["thing"]
        found.append(right and slots.get("last", puzzle.swaps[-1][0]) == puzzle.swaps[-1][0])
    return found


def _swap_of(sentence: str) -> Swap | None:
    swap = slots_of(sentence).get("swap")
    return tuple(swap.split()) if swap else None


def _made(name: str, swaps: Sequence[str]) -> list[list[str | None]]:
    """Return the equally likely ways to fill a form of a habit: for each, the swaps of its sentences."""
    if name.endswith("*"):
        return [list(swaps)]
    if name.endswith("-"):
        return [[swap for swap in swaps if swap != left_out] for left_out in swaps]
    if name.endswith("?"):
        return [[swap] for swap in swaps]
    return [[None]]


def _places(names: Sequence[str], way: Sequence[Sequence[str | None]]) -> tuple[Place, ...]:
    places, known = [], False  # whether the answer follows from what was written
    for name, made in zip(names, way, strict=True):
        form = name.rstrip("*-?=")
        known = known or (form != name and len(made) > 0)
        places += [Place(form, swap, form == "guess" or (form == "answer" and not known)) for swap in made]
        known = known or form == "guess"
    return tuple(places)


def _probability(author: Author, layouts: Sequence[Layout], before: Sequence[Written], written: Written) -> float:
    """Return the probability of a sentence, after others that are no fillers."""
    for agreement in (_as_written, _by_place):
        weights = [layout.probability * agreement(author, layout, before) for layout in layouts]
        if total := sum(weights):
            places = [_place_at(layout, len(before)) for layout in layouts]
            at = [(weight, place) for weight, place in zip(weights, places, strict=True) if place]
            exact = sum(weight * _chance(author, place, written) for weight, place in at)
            # A swap that nobody would make there: the sentence costs what its form does.
            return (exact or sum(weight * _form_chance(author, place, written) for weight, place in at)) / total
    last = before[-1]
    alike = (
        (lambda place: _PLACE[place.name] == last.place and bool(place.swap) == bool(last.swap)),
        (lambda place: _PLACE[place.name] == last.place),
    )
    return next((found for is_last in alike if (found := _after(author, layouts, is_last, written)) is not None), 0.0)


def _as_written(author: Author, layout: Layout, before: Sequence[Written]) -> float:
    """Return the probability of sentences in a layout."""
    if len(before) > len(layout.places):
        return 0.0
    chance = 1.0
    for place, written in zip(layout.places, before, strict=False):
        chance *= _chance(author, place, written)
    return chance


def _by_place(_author: Author, layout: Layout, before: Sequence[Written]) -> float:
    """Return 1 if sentences stand at the places of a layout and make its swaps, in whatever form, else 0."""
    if len(before) > len(layout.places):
        return 0.0
    pairs = zip(layout.places, before, strict=False)
    return float(all(_PLACE[place.name] == written.place and place.swap == written.swap for place, written in pairs))


def _place_at(layout: Layout, number: int) -> Place | None:
    return layout.places[number] if number < len(layout.places) else None


def _after(
    author: Author, layouts: Sequence[Layout], is_last: Callable[[Place], bool], written: Written
) -> float | None:
    """Return the probability of a sentence of this form right after a place of some kind; None if no layout has one."""
    passed = chance = 0.0
    for layout in layouts:
        for number, place in enumerate(layout.places):
            if not is_last(place):
                continue
            passed += layout.probability
            if following := _place_at(layout, number + 1):
                chance += layout.probability * _form_chance(author, following, written)
    return chance / passed if passed else None


def _chance(author: Author, place: Place, written: Written) -> float:
    """Return the probability of a sentence at a place."""
    return _form_chance(author, place, written) if place.swap == written.swap else 0.0


def _form_chance(author: Author, place: Place, written: Written) -> float:
    """Return the probability of a sentence of this form at a place, whatever swap it makes."""
    return forms_at(place.name, author.style, author.dials).get(written.form, 0.0) * _cost(place, written.form)


def _cost(place: Place, form: str) -> float:
    """Return the probability of what is drawn at random for the slots of a form."""
    words = float(len(WORDS)) ** -MUTTERED if "{words}" in EVERY_FORM[form].template else 1.0
    return words / len(THINGS) if place.guessed else words


class _Fillers:
    """The chance of a filler in a gap: each answer has a share of its own, of which the gaps so far tell."""

    def __init__(self, largest: float) -> None:
        self.shares = largest * _SHARES
        self.likelihood = np.ones_like(_SHARES)
        self.in_gap = False  # a gap, so far without a filler, is before the next sentence

    def chance(self, form: str) -> float:
        """Return the chance that a gap holds this filler or, of another form, no filler; count the gap."""
        is_filler, in_gap = form in FILLERS, self.in_gap
        share = float((self.likelihood * self.shares).sum() / self.likelihood.sum())
        if in_gap and share:
            self.likelihood = self.likelihood * (self.shares if is_filler else 1 - self.shares)
        if is_filler:
            self.in_gap = False
            return share / len(FILLERS) if in_gap else 0.0
        self.in_gap = True
        return 1 - share if in_gap else 1.0
