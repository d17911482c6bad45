r"""Is a response right? Three ways to compare its answer with the right one.

- `math`: both are parsed as mathematics (math-verify) and compared. The last box counts (`\boxed{}`, with those that it
  is joined to by "and", "or" or a comma), without one what math-verify finds. Answers in words are compared as words.
- `exact`: the same text, apart from case, white space and full stops at the end
- `choice`: the same letter

Nothing here is bounded in time: `graders.bounded_grade` is. `tests/grading` holds answers with verdicts by hand.
"""

import logging
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from math_verify import parse, verify

from distrace.settings import Grader

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its time is not bounded

_SHOWN = 1000  # characters of an extracted answer
_LONGEST = 20_000  # characters at the end of a response that are searched for an answer, where no box holds it


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


def _judged(extracted: str | None, correct: bool) -> Grade:
    # No file holds half of a character's pair.
    shown = extracted and extracted[:_SHOWN].encode("utf-8", "replace").decode("utf-8")
    return Grade(shown, correct, None if correct else "another answer")


# Mathematics


def _grade_math(response: str, answer: str) -> Grade:
    right, response = _plain_characters(answer), _final(_plain_characters(response))
    boxes = _last_boxes(response)
    words, right_words = _stated_words(response, boxes), _as_words(right)
    in_words = _WORDS.fullmatch(right_words) is not None
    if in_words and right_words in words:
        return _judged(right_words, True)
    gold = _parsed_right(right)
    if all(isinstance(value, str) for value in gold):  # math-verify returns what it cannot read as text
        if in_words:
            return _judged(words[0], False) if words else Grade(None, False, "no answer found")
        return Grade(None, None, f"the right answer {answer!r} is not mathematics")
    given = _parsed(" and ".join(rf"$\boxed{{{box}}}$" for box in boxes) or _with_marked_mathematics(response))
    if not given:
        return Grade(None, False, "no answer found")
    # An inequality may stand for the interval that it describes.
    same = verify(gold, given, allow_set_relation_comp=True, timeout_seconds=None)
    return _judged(_shown(given[-1]), same and not _differ_in_case(right, _shown(given[-1])))


@lru_cache(1000)
def _parsed_right(right: str) -> list[object]:
    """Return a right answer as math-verify reads it; many responses are compared with each."""
    return _parsed(f"${right}$") or _parsed(right)


def _parsed(text: str) -> list[object]:
    found: list[object] = parse(text, parsing_timeout=None)
    return found


def _differ_in_case(right: str, given: str | None) -> bool:
    """Return whether letters differ in their case alone, as in 3R and 3r: math-verify takes them for the same."""
    letters, others = (set(_LETTERS.findall(text)) for text in (right, given or ""))
    fold = {letter.casefold() for letter in letters} == {letter.casefold() for letter in others}
    return fold and letters != others and any(map(str.isdigit, right))


def _shown(value: object) -> str | None:
    try:
        return str(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return None


_LETTERS = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")  # variables

# What is written in another way than math-verify reads it, and the way it does.
_REWRITTEN = [
    (re.compile(r"[\u2212\ufe63\uff0d]"), "-"),
    (re.compile(r"\\fbox\b"), r"\\boxed"),
    (re.compile(r"(?<=\d)(?:\\[,!;:]|\u2009|\u202f|\xa0)\s*(?=\d{3}(?!\d))"), ""),  # between thousands
    (re.compile(r"\\text\s*\{\s*\\?\$\s*\}"), ""),
    (re.compile(r"\\(?:mathrm|text|operatorname|rm)\s*\{\s*([ie])\s*\}"), r"\1"),
    (re.compile(r"\\text\s*\{\s*percent\s*\}"), r"\\%"),
    (re.compile(r"√\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+|[A-Za-z]))"), r"\\sqrt{\1\2\3}"),
    (re.compile(r"(?<![\\\w])sqrt\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"×"), r"\\times "),
    (re.compile(r"[·⋅]"), r"\\cdot "),
    (re.compile(r"(?i:\bnegative)\s+(?=\d)"), "-"),
    (re.compile(r"(\bis|[:=])\s*-\s+(?=\d)"), r"\1 -"),
    (re.compile(r"(?<=[^\W\d_\x00-\x7f])(?=\d)"), " "),  # scripts without spaces between words and numbers
]
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_OTHER_DIGIT = re.compile(r"[^\W\x00-\x7f⁰¹²³⁴⁵⁶⁷⁸⁹]")


def _plain_characters(text: str) -> str:
    """Return a text with digits, signs and fractions of Unicode as ASCII and LaTeX have them."""
    text = _SUPERSCRIPT_RUN.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _OTHER_DIGIT.sub(lambda found: _digits(found[0]), text)
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text


def _digits(character: str) -> str:
    """Return a digit of any script as an ASCII digit, ½ as 1/2, and any other character as it is."""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    fraction = unicodedata.normalize("NFKC", character)
    return " " + fraction.replace("\u2044", "/") if "\u2044" in fraction else character


_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\[{}\\]|[{}]")
_JOINT = re.compile(r"[\s$\\()\[\].]*(?:,|;|,?\s*\band\b|,?\s*\bor\b)?[\s$\\(\[]*(?:[A-Za-z]\s*=\s*)?")
_LONGEST_JOINT = 40  # characters
_PERCENT = re.compile(r"\s*\\?%")
_RETRACTION = re.compile(r"(?i:\b(?:wrong|incorrect|mistake|correction|actually|wait)\b)")
_HASHES = re.compile(r"^\s*####\s*([-$]?[\d.,/]+)\s*$", re.MULTILINE)
_ANSWER = re.compile(r"(?i:\banswer\s*(?:is\b|:))")


def _last_boxes(text: str) -> list[str]:
    """Return what the last box holds, after what the boxes hold that are joined to it; none if it is not closed."""
    found: list[tuple[int, int]] = []
    for opening in reversed(list(_BOX.finditer(text))):
        end = _closing(text, opening.end())
        if end is None:
            break
        if found and found[-1][0] < end:  # it holds the box after it
            found.pop()
        elif found and not _are_joined(text, end + 1, found[-1][0]):
            break
        found.append((opening.start(), end))
    boxes = [_unboxed(text[start : end + 1]) + (r"\%" if _PERCENT.match(text, end + 1) else "") for start, end in found]
    return boxes[::-1]


def _are_joined(text: str, start: int, end: int) -> bool:
    return end - start <= _LONGEST_JOINT and _JOINT.fullmatch(text, start, end) is not None


def _final(response: str) -> str:
    """Return the part of a response that holds its answer, where it says so; else the whole response.

    That is what follows "####" (GSM8K) or, after a last box that is taken back, what states another answer.
    """
    if "\\boxed" not in response:
        marked = _HASHES.findall(response)
        return marked[-1] if marked else response
    after = response[response.rfind("\\boxed") :]
    retraction = _RETRACTION.search(after)
    if not retraction or not _ANSWER.search(after, retraction.end()):
        return response
    return after[retraction.start() :]


def _closing(text: str, start: int) -> int | None:
    """Return where the brace is closed that was opened just before `start`."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return None


def _unboxed(box: str) -> str:
    """Return what a box holds, without the boxes in it and what decorates it."""
    while inner := _BOX.search(box):
        end = _closing(box, inner.end())
        if end is None:
            break
        box = box[: inner.start()] + box[inner.end() : end] + box[end + 1 :]
    return re.sub(r"^(?:\\[,;:! ]|\s)+|(?:\\[,;:! ]|[\s.])+$", "", box)


_MATHEMATICS = re.compile(r"(\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)|(?<![\\\d])\$[^$\n]+\$)", re.DOTALL)
_TERM = r"(?:\d+(?:\.\d+)?)"
_UNMARKED = re.compile(
    rf"""(?<![\w\\.$])(?:
      -?{_TERM}?\s?\\(?:sqrt\{{[^{{}}]*\}}|pi\b)(?:\s*/\s*\d+)?               # 2\sqrt{{3}}, \pi/4
    | -?{_TERM}\*\\sqrt\{{[^{{}}]*\}}                                        # 3*\sqrt{{13}}
    | -?{_TERM}\s*(?:\\times|\\cdot|\*|x)\s*10\s?\^\s?(?:\{{-?\d+\}}|-?\d+)  # 3 \times 10^8
    | -?{_TERM}[eE][+-]?\d+                                                  # 1.2e5
    | -?(?:\d+[ ])?\d+/\d+                                                   # 5/6, 3 1/2
    | -?{_TERM}\s*[+-]\s*{_TERM}?i                                           # 1 + 274i
    | -?{_TERM}?[A-Za-z](?:\^\d+)?(?:\s*[+-]\s*(?:{_TERM}|{_TERM}?[A-Za-z](?:\^\d+)?))+  # 4a - 2
    )(?![\w\\^/]|\s*=)""",
    re.VERBOSE,
)


def _with_marked_mathematics(response: str) -> str:
    """Return the end of a response with dollars round mathematics in its prose: math-verify sees only numbers there."""
    pieces = _MATHEMATICS.split(response[-_LONGEST:])
    pieces[::2] = [_UNMARKED.sub(_marked, prose) for prose in pieces[::2]]
    return "".join(pieces)


def _marked(found: re.Match[str]) -> str:
    written = re.sub(r"(\d)[eE]([+-]?\d+)$", r"\1 \\times 10^{\2}", found[0])
    written = re.sub(r"(?<=\d)\s*(?:\*|x)\s*(?=10\s?\^)", r" \\times ", written).replace("*", " ")
    written = re.sub(r"^(-?)(\d+ )?(\d+)/(\d+)$", r"\1\2\\frac{\3}{\4}", written)
    # A letter by itself may be a name: "Plan B - 20 dollars".
    return f"${written}$" if re.search(r"\\|\^|\d[A-Za-z]", written) else found[0]


# Answers in words

_WORDS = re.compile(r"[^\W\d_]{2,}[\w,'-]*|\d{1,2}:\d\d(?:[ap]m)?")
_WRAPPERS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|textrm|mbox|operatorname)\b\s*")
_STATEMENT = re.compile(r"(?i:\banswer)(?:\s+is\b|\s*:)[\s*:]*([^\n]+)")


def _as_words(text: str) -> str:
    """Return a text without wrappers, marks, spaces and case: "4:30 p.m." and "4{:}30\\text{ PM}" are both 4:30pm."""
    return re.sub(r"[\s{}*$.~\"]|\\(?![A-Za-z])", "", _WRAPPERS.sub("", text)).casefold()


def _stated_words(response: str, boxes: list[str]) -> list[str]:
    """Return the answer that a response states in its last box, or after its last "answer is", as `_as_words`.

    Of the latter, both the whole line and its first clause may be the answer.
    """
    if boxes:
        return [_as_words(boxes[-1])]
    stated = [found[1] for found in _STATEMENT.finditer(response)][-1:]
    return [_as_words(text) for line in stated for text in (line, re.split(r"[,;(]|\.\s", line, maxsplit=1)[0])]


# The other methods


def _grade_exact(response: str, answer: str) -> Grade:
    extracted = _plain(response)
    return _judged(extracted, extracted == _plain(answer))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


# What may stand before a letter; and the letter: a small one in brackets or at the end of a clause ("a" is a word).
_FILLER = r"(?:\\[a-z]+\b|[\s*_$({\[:\uff1a\"=>])*"
_CAPITAL = r"(?<![A-Za-z'])[A-Z](?![A-Za-z'])"
_LETTER = rf"(\([a-z]\)|{_CAPITAL}|(?<![A-Za-z'])[a-z](?=[)}}\]*]|[.,;]?\s*$))"
# Ways to name a choice; those of the first list that are found in a response count, and of these the last.
_NAMED = [
    [
        rf"(?:(?i:\banswer)(?:\s+is\b)?|答案是?){_FILLER}(?:(?i:option|choice)\b)?{_FILLER}{_LETTER}",
        rf"\\boxed\b{_FILLER}{_LETTER}",
        rf"(?:(?i:\bchoose|\bpick|\bselect|\bgo with|\bchoice is|\bchoice:)|选){_FILLER}{_LETTER}",
        rf"{_LETTER}[\s)*}}$]*\sis\s+(?:the\s+)?(?:correct|right|best|answer)\b",
    ],
    [rf"(?i:\boption|\bchoice)\b{_FILLER}{_LETTER}"],
    # The label of a choice, with no other below it.
    [r"\A[\s*]*(\([A-Za-z]\)|[A-Za-z](?=[.):]|[\s.*]*\Z))(?!.*^[\s*]*\(?[A-Za-z][.):])"],
    [r"(\([a-z]\))", r"(?<![A-Za-z'])([A-HJ-Z])(?![A-Za-z'])"],  # a lone "I" is a word
]
_CHOICES = [[re.compile(pattern, re.MULTILINE | re.DOTALL) for pattern in patterns] for patterns in _NAMED]


def _grade_choice(response: str, answer: str) -> Grade:
    letter = _named_choice(response)
    if letter is None:
        return Grade(None, False, "no letter found")
    return _judged(letter, letter == re.sub(r"\\[A-Za-z]+|[{}]", "", answer).strip("() .").upper())


def _named_choice(response: str) -> str | None:
    for patterns in _CHOICES:
        found = [match for pattern in patterns for match in pattern.finditer(response)]
        if found:
            return max(found, key=lambda match: match.start(1))[1].strip("()").upper()
    return None


METHODS: dict[str, Callable[[str, str], Grade]] = {
    "math": _grade_math,
    "exact": _grade_exact,
    "choice": _grade_choice,
}
