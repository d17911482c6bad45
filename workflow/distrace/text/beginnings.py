"""Beginnings of one author's responses, for another author to go on with (mixed-policy data, arXiv 2601.09088).

A beginning is whole sentences: a tokenizer joins characters across any other place, so that the author would go on from
tokens that it never writes itself. And each sentence then has one author, as labels and scores assume.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from distrace.errors import BadRow
from distrace.text.alignment import AlignmentError, decode_generated, encode_response
from distrace.text.prompts import Format, parse_response, response_pieces
from distrace.text.splitting import split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORD_ENDS = re.compile(r"(?<=\S)(?=\s)")


@dataclass(frozen=True)
class Beginning:
    """The text that a response begins with, and its tokens in the format of the author that goes on, glue included."""

    text: str
    token_ids: list[int]


def cut_place(text: str, answer_start: int, share: float, draw: int) -> int:
    """Return the character that a beginning ends before: the start of one of the sentences beyond `share` of the text.

    `draw` is a large random number; each of these sentences is as likely. Where none begins there, the beginning ends
    behind a word. Raises BadRow if there is no such place either.

        >>> cut_place("One. Two. Three. Four.", 0, 0.5, draw=3)
        16
    """
    for places in (split(text, "sentences", answer_start), [found.start() for found in _WORD_ENDS.finditer(text)]):
        beyond = [place for place in places if share * len(text) < place < len(text)]
        if beyond:
            return beyond[draw % len(beyond)]
    raise BadRow(f"no sentence or word of the response to begin with ends beyond {share:g} of it")


def beginning(
    form: Format, tokenizer: "PreTrainedTokenizerBase", text: str, answer_start: int, place: int
) -> Beginning:
    """Return a response up to a place as the beginning of a response by an author with this format and tokenizer.

    Raises AlignmentError if the author's tokens cannot hold the text as it is, or its format not tell it from glue.
    """
    text = text[:place]
    pieces = response_pieces(form, text, min(answer_start, place))
    while pieces and pieces[-1].start is None:  # what the format writes after an answer that has ended
        pieces.pop()
    token_ids: list[int] = encode_response(tokenizer, pieces).token_ids.tolist()
    if parse_response(form, decode_generated(tokenizer, token_ids))[0] != text:
        raise AlignmentError("the tokens of the beginning do not decode to it")
    return Beginning(text, token_ids)


def begun_characters(begun: Beginning, text: str) -> int:
    """Return how many characters at the start of a response's text are those of its beginning.

    These may be fewer than the beginning has: white space before a marker that follows counts as the format's glue.
    """
    pairs = zip(begun.text, text, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
