r"""Cut responses into sentences (or lines, or paragraphs) which, joined, are the response.

    >>> split("First. Then 3.14 follows.\n\nSo: yes", "sentences")
    [0, 6, 27, 34]

A line break ends a sentence and belongs to it; a space begins the next sentence, as in most tokenizers. White space
alone is not a sentence: it belongs to the sentence before it (at the start of a text, to the one after it).

With `sentences`,

- a sentence ends at a line break; at a full stop, exclamation mark, question mark or ellipsis, with the quotes,
  brackets and asterisks after it, before white space; and at a CJK one of these before anything,
- it does not end at an abbreviation, an initial, a factorial, a number at the start of a line (`1. Foo`), nor at an
  ellipsis or the end of a quote that is followed by lower case,
- nothing is cut inside `$...$`, `$$...$$`, `\(...\)`, `\[...\]` and `\begin{x}...\end{x}`; what is not closed within
  its paragraph is not a formula,
- in a fenced block of code, each line is a sentence.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import polars as pl

from distrace.errors import DistraceError

_NEWLINES = re.compile(r"(?:\r\n|\n|\r)(?:[^\S\r\n]*(?:\r\n|\n|\r))*")
_BLANK_LINES = re.compile(r"(?:\r\n|\n|\r)(?:[^\S\r\n]*(?:\r\n|\n|\r))+")
_CJK = "\u3002\uff01\uff1f"  # full stop, exclamation mark, question mark
_QUOTES = "\"'\u201d\u2019\u00bb"  # those that close
_CLOSING = rf"(?:[{_QUOTES})\]}}*_`$\u300d\u300f\uff09\u3011]|\\\)|\\\])*"
# No look-ahead here: on a long run of dots it would make the search quadratic.
_TERMINATOR = re.compile(rf"([.!?…{_CJK}]+)({_CLOSING})")
_ELLIPSIS = re.compile(r"\.{2,}|\.*…[.…]*")

_MATH = re.compile(r"\\[\\$]|\$\$|\$(?!\s|\d[\d,.]*\s+[A-Za-z])|\\\[|\\\(|\\begin\{[A-Za-z]+\*?\}")
_MATH_ENDS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
# Prices are not formulas. As in Pandoc, a formula's dollars have no space inside and no digit after them; "$5 each" is
# no formula either.
_DOLLAR_END = re.compile(r"(?<![\s\\$])\$(?![\d$])")
_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)

_LOOK = 40  # characters to look at on both sides: more than an abbreviation or the head of a list needs
_TITLE = re.compile("Mr|Mrs|Ms|Dr|Prof|St|Rev|Gen|Gov|Capt|Lt|Col")
_ABBREVIATION = re.compile(r"e\.g|i\.e|vs|cf|figs?|eqn?s?|approx|resp|viz", re.IGNORECASE)
_BEFORE_NUMBER = re.compile("nos?|pp?|vol|ch|sec|ex|art|pt|thm|prop|def", re.IGNORECASE)
_WITHIN = re.compile(r"etc|al|[ap]\.m|inc|ltd|co|jr|sr|ph\.d|w\.l\.o\.g|w\.r\.t|s\.t|i\.i\.d", re.IGNORECASE)
_STARTER = re.compile(
    r"(?:a|after|also|and|as|at|because|but|by|finally|first|for|from|given|hence|here|how|however|i|if|in|it|its|last"
    r"|let|next|no|now|of|on|or|our|second|since|so|step|that|the|then|there|therefore|these|they|this|those|thus|to"
    r"|wait|we|what|when|where|which|while|with|yes|you)\b",
    re.IGNORECASE,
)
_INITIALS = re.compile(r"(?:[A-Z]\.)*[A-Z]")
_BEFORE_INITIAL = re.compile(r"(?:^\s*|[A-Z]\.|[.!?…]\s|\b(?:by|and|[A-Z][a-z]+)\s)[(\"\u201c]?[A-Z]\Z", re.MULTILINE)
_LIST_HEAD = re.compile(
    r"^\s*(?:[-*+•>#|]+\s+)*[*_(\[]*(?:(?:step|case|part)\s)?(?:\d{1,3}(?:\.\d{1,3})*|[A-Z]|[IVX]{1,5})\Z",
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST_NUMBER = 8
_FACTORIAL = re.compile(r"(?:\d|\)|\b[A-Za-z])\Z")
_OPERAND = re.compile(r"[a-z=+\-*/^<>≤≥≈\u00d7·÷,;:)\]}|&\\]")


def split(text: str, splitter: str, answer_start: int = 0) -> list[int]:
    """Return the boundaries [0, ..., len(text)], in characters: sentence i is `text[b[i]:b[i + 1]]`, never empty.

    "" gives [0]. If `answer_start` is inside the text, there is a boundary: reasoning and answer share no sentence, not
    even if one of them is white space alone. Time is linear in the text. Raises DistraceError for an unknown splitter.
    """
    if splitter not in SPLITTERS:
        raise DistraceError(f"no splitter {splitter!r}; there are {', '.join(SPLITTERS)}")
    if not text:
        return [0]
    if 0 < answer_start < len(text):
        reasoning = split(text[:answer_start], splitter)
        answer = split(text[answer_start:], splitter)
        return reasoning + [answer_start + boundary for boundary in answer[1:]]
    inside = sorted({cut for cut in SPLITTERS[splitter](text) if 0 < cut < len(text)})
    bounds = [0, *inside, len(text)]
    kept = [start for start, end in pairwise(bounds) if not text[start:end].isspace()]
    return [0, *kept[1:], len(text)]


def sentences_of(responses: pl.DataFrame, splitter: str) -> list[dict[str, Any]]:
    """Return a row for each sentence: its number, and its characters from `start` up to but not including `end`."""
    rows = []
    for rollout_id, text, answer_start in responses.iter_rows():
        bounds = split(text, splitter, answer_start)
        for number, (start, end) in enumerate(pairwise(bounds)):
            rows.append({"rollout_id": rollout_id, "sentence": number, "start": start, "end": end})
    return rows


def _lines(text: str) -> Iterator[int]:
    return (found.end() for found in _NEWLINES.finditer(text))


def _paragraphs(text: str) -> Iterator[int]:
    return (found.end() for found in _BLANK_LINES.finditer(text))


def _sentences(text: str) -> list[int]:
    code = _code(text)
    math = _math(text, code)
    ends = [found.end() for found in _TERMINATOR.finditer(text) if _is_end(text, found)]
    return list(_outside(_lines(text), math)) + list(_outside(_outside(ends, math), code))


def _is_end(text: str, terminator: re.Match[str]) -> bool:
    """Return whether a sentence ends with a terminator, judging by the characters around it."""
    run, closing = terminator.groups()
    if not set(run).isdisjoint(_CJK):
        return True
    place, end = terminator.start(), terminator.end()
    if not text[end : end + 1].isspace():
        return False
    ahead = text[end : end + _LOOK].lstrip()
    if ahead[:1] in (".", "!", "?", "…"):
        return False
    if ahead[:1].islower() and (_ELLIPSIS.fullmatch(run) or not set(_QUOTES).isdisjoint(closing)):
        return False
    if run == "!":
        return not (_FACTORIAL.search(text, max(0, place - 2), place) and _OPERAND.match(ahead))
    return run != "." or not _is_inner_dot(text, place, ahead)


def _is_inner_dot(text: str, place: int, ahead: str) -> bool:
    """Return whether the dot at `place` belongs to an abbreviation, an initial or a list's number."""
    begin = max(0, place - _LOOK)
    words = text[begin:place].split()
    word = words[-1].lstrip("([{*_\"'\u201c\u00ab") if words else ""
    if _TITLE.fullmatch(word) or _ABBREVIATION.fullmatch(word):
        return True
    if _BEFORE_NUMBER.fullmatch(word):
        return ahead[:1].isdigit() or ahead[:1] in ("(", "$", "\\", "#")
    if _WITHIN.fullmatch(word):
        return not ahead[:1].isupper()
    if len(word) <= _LONGEST_NUMBER and _LIST_HEAD.search(text, begin, place):
        return True
    if not _INITIALS.fullmatch(word) or not ahead[:1].isupper() or _STARTER.match(ahead):
        return False
    return len(word) > 1 or bool(_BEFORE_INITIAL.search(text, begin, place))


SPLITTERS: dict[str, Callable[[str], Iterable[int]]] = {
    "sentences": _sentences,
    "lines": _lines,
    "paragraphs": _paragraphs,
}


def _outside(cuts: Iterable[int], spans: list[tuple[int, int]]) -> Iterator[int]:
    """Yield the cuts that are inside none of the spans (in order, disjoint); a span's ends are not inside it."""
    starts = [start for start, _ in spans]
    for cut in cuts:
        before = bisect_right(starts, cut - 1) - 1
        if before < 0 or cut >= spans[before][1]:
            yield cut


def _code(text: str) -> list[tuple[int, int]]:
    """Return the spans of fenced blocks that are closed by the fence that opened them (``` or ~~~)."""
    spans, opening = [], None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[1] == opening[1]:
            spans.append((opening.start(), fence.end()))
            opening = None
    return spans


def _math(text: str, code: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans of formulas that are closed within their paragraph."""
    spans = []
    edges = [0, *_paragraphs(text), *(edge for span in code for edge in span), len(text)]
    for begin, end in pairwise(sorted(edges)):
        at, hopeless = begin, set()
        while found := _MATH.search(text, at, end):
            at = found.end()
            # A closing mark that was not found is not searched for again, or time would be quadratic.
            if found[0] in hopeless or found[0] in ("\\\\", "\\$"):
                continue
            closed = _closed(text, found[0], at, end)
            if closed < 0:
                hopeless.add(found[0])
                continue
            spans.append((found.start(), closed))
            at = closed
    return spans


def _closed(text: str, opener: str, at: int, end: int) -> int:
    """Return where a formula that is open at `at` ends, its closing mark included; -1 if it is not closed."""
    if opener == "$":
        found = _DOLLAR_END.search(text, at, end)
        return found.end() if found else -1
    closer = _MATH_ENDS.get(opener) or opener.replace("\\begin", "\\end")
    place = text.find(closer, at, end)
    return place + len(closer) if place >= 0 else -1
