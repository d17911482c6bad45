"""Tokens that came with a ready-made response, as its author sampled them: do they fit it, is its glue among them?"""

from typing import TYPE_CHECKING

import numpy as np

from distrace.errors import BadRow
from distrace.ready_made import Response
from distrace.text.alignment import AlignmentError, Piece, align_generated, decode_generated
from distrace.text.prompts import Format, align_own, response_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


def with_own_tokens(form: Format, tokenizer: "Tokenizer", response: Response, glue_in_tokens: bool) -> Response:
    """Return a response with all tokens that its author sampled, glue included, without the one that ends it.

    If the glue is not among its tokens, that of the format is put around them, with null for log-probs. Raises BadRow
    if the tokens do not decode to the text.
    """
    if not glue_in_tokens:
        return _with_glue(form, tokenizer, response)
    ids = response.token_ids or []
    try:
        align_own(form, tokenizer, ids, response.text)
        return response
    except AlignmentError as error:
        if ids and ids[-1] in tokenizer.all_special_ids:
            rest = response.logprobs and response.logprobs[:-1]
            return with_own_tokens(form, tokenizer, response._replace(token_ids=ids[:-1], logprobs=rest), True)
        found = tokenizer.decode(ids)
        raise BadRow(f"{error} The tokens end in {found[-30:]!r}, the text in {response.text[-30:]!r}") from error


def _with_glue(form: Format, tokenizer: "Tokenizer", response: Response) -> Response:
    """Return a response of which the tokens stand for reasoning and answer alone, with the glue of the format.

    Its text becomes what the tokens decode to; white space between reasoning and answer may differ from what it was.
    """
    ids = response.token_ids or []
    if ids and ids[-1] in tokenizer.all_special_ids:
        ids = ids[:-1]
    text = decode_generated(tokenizer, ids)
    first, last = _between(text, response)
    starts = np.append(align_generated(tokenizer, ids, [Piece(text, 0)] if text else []).starts, len(text))
    # The answer begins with the last token that begins in the white space, or behind it.
    [fitting] = np.nonzero((starts >= first) & (starts <= last))
    if not len(fitting):
        raise BadRow("a token lies across the end of the reasoning, where the glue would be")
    cut = int(fitting[-1]) if first else 0
    answer_start = int(starts[cut]) if first else 0
    values = response.logprobs[: len(ids)] if response.logprobs else None
    known: list[tuple[list[int], list[float | None] | None]] = [
        (ids[:cut], values and values[:cut]),
        (ids[cut:], values and values[cut:]),
    ]
    shares = iter([share for share in known if share[0]])
    own_ids: list[int] = []
    own_values: list[float | None] = []
    for piece in response_pieces(form, text, answer_start):
        if piece.start is None:
            glue = tokenizer(piece.text, add_special_tokens=False).input_ids
            own_ids, own_values = own_ids + glue, own_values + [None] * len(glue)
        else:
            share, share_values = next(shares)
            own_ids, own_values = own_ids + share, own_values + (share_values or [None] * len(share))
    align_own(form, tokenizer, own_ids, text)
    return response._replace(
        text=text, answer_start=answer_start, token_ids=own_ids, logprobs=own_values if values is not None else None
    )


def _between(text: str, response: Response) -> tuple[int, int]:
    """Return where in `text` the reasoning of a response ends and where its answer begins: white space lies between."""
    reasoning, answer = response.text[: response.answer_start].strip(), response.text[response.answer_start :].strip()
    begin = len(text) - len(text.lstrip())
    end, answer_begin = begin + len(reasoning), len(text.rstrip()) - len(answer)
    same = text[begin:end] == reasoning and text[answer_begin:].rstrip() == answer
    if not same or end > answer_begin or text[end:answer_begin].strip():
        raise BadRow(f"the tokens decode to {text[-30:]!r} at their end, not to the text, which is {answer[-30:]!r}")
    return (end, answer_begin) if reasoning else (0, 0)
