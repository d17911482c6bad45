"""Which characters of a response each token carries, for any tokenizer and for generated tokens alike.

Offsets follow from the bytes that the tokens stand for, not from the offsets that a tokenizer reports: those leave out
spaces, cut characters apart and do not exist for generated tokens. Bytes are exact, and show what a tokenizer loses.

    pieces = response_pieces(load_format(settings, tokenizer), text, answer_start)
    aligned = encode_response(tokenizer, pieces)
    owner = owners(aligned.starts, aligned.ends, split(text, "sentences", answer_start))

Prompt and response are tokenised separately, as at sampling: no token crosses the border between them.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distrace.errors import BadRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Integers = NDArray[np.int64]

_BYTE_TOKEN = re.compile(rb"<0x([0-9A-F]{2})>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SENTENCEPIECE = {"Replace", "Metaspace", "ByteFallback", "Fuse", "Strip"}
_STRIPPING = ("Strip", "Precompiled", "Nmt", "BertNormalizer")
_UNFINISHED_TOKENS = 4  # a character has at most four bytes


class AlignmentError(BadRow):
    """A text that a tokenizer cannot represent as it is, or tokens that are not those of a text."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a response; `start` is its first character in the rollout's text, None for glue."""

    text: str
    start: int | None


@dataclass(frozen=True)
class Aligned:
    """The n tokens of a response, glue included, and the characters of the rollout's text that each carries.

    Token i carries the characters from `starts[i]` up to but not including `ends[i]`; both are -1 for a token that
    carries none (glue, an added space). If a character is cut into several tokens, each of them carries it.
    """

    token_ids: np.ndarray  # int32
    starts: np.ndarray  # int32
    ends: np.ndarray  # int32
    scored: np.ndarray  # bool: carries at least one character


def encode_prompt(tokenizer: "Tokenizer", prompt: str) -> list[int]:
    """Return the token ids of a prompt, as at sampling.

    A prompt that holds special tokens as text (any chat template's) is tokenised as it is. To any other, BOS is
    prepended if the tokenizer does so by itself. Raises AlignmentError for lone surrogates.
    """
    _refuse_surrogates(prompt, "the prompt")
    ids = _encode(tokenizer, prompt)
    special = set(tokenizer.all_special_ids)
    if special.isdisjoint(ids) and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]:
        return [tokenizer.bos_token_id, *ids]
    return ids


def encode_response(tokenizer: "Tokenizer", pieces: Sequence[Piece]) -> Aligned:
    """Tokenise a response, glue and text as one string; return its tokens and the characters that each carries.

    A tokenizer's normaliser may change the composition of characters (up to NFKD), change their case, and add or drop
    spaces. The tokens then carry the characters that they were made from; dropped ones go to the token after them.
    Raises AlignmentError, naming the first character, for a text that the tokenizer cannot represent (it drops,
    replaces or does not know a character), and for lone surrogates.
    """
    response = _response(pieces)
    ids = _encode(tokenizer, response)
    decoded = _decoded(tokenizer, ids)
    spans = _exact(tokenizer, decoded, response) or _normalised(tokenizer, decoded, response)
    if spans is None:
        raise AlignmentError(f"the tokenizer loses {_first_loss(decoded.text, response, pieces)}")
    return _on_text(ids, *spans, pieces)


def align_generated(tokenizer: "Tokenizer", token_ids: Sequence[int], pieces: Sequence[Piece]) -> Aligned:
    """Return the tokens of a sampled response and the characters that each carries.

    The pieces are what `decode_generated` returns for the ids, cut by `prompts.generated_pieces`; U+FFFD stands for
    unfinished characters. Raises AlignmentError if the ids do not decode to the pieces: the text was edited, or the
    ids are another tokenizer's.
    """
    response = _response(pieces)
    ids = list(token_ids)
    decoded = _decoded(tokenizer, ids)
    spans = _exact(tokenizer, decoded, response)
    if spans is None:
        loss = _first_loss(decoded.text, response, pieces)
        raise AlignmentError(f"the tokens do not decode to the text, they lack {loss}")
    return _on_text(ids, *spans, pieces)


def decode_generated(tokenizer: "Tokenizer", token_ids: Sequence[int]) -> str:
    """Return the text of sampled tokens, special tokens included, as `prompts.parse_response` reads it."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def owners(starts: ArrayLike, ends: ArrayLike, boundaries: ArrayLike) -> Integers:
    """Return for each token the sentence that holds most of its characters; of two that hold as many, the earlier.

    `starts` and `ends` [tokens] are the characters of each token (`Aligned`), `boundaries` [sentences + 1] the starts
    of the sentences and the text's length (`splitting.split`). The result [tokens] is -1 for a token without
    characters. Raises AlignmentError if a token ends beyond the last boundary.

    Two sentences of 4 characters; tokens of characters 0 to 2, 3 to 5, and of none:

        >>> owners([0, 3, -1], [3, 6, -1], [0, 4, 8])
        array([ 0,  1, -1])
    """
    starts, ends, bounds = (np.asarray(values, np.int64) for values in (starts, ends, boundaries))
    result = np.full(len(starts), -1, np.int64)
    [carrying] = np.nonzero(ends > starts)
    if not len(carrying):
        return result
    starts, ends = starts[carrying], ends[carrying]
    if ends.max() > bounds[-1]:
        raise AlignmentError(f"a token ends at character {ends.max()}, the text at {bounds[-1]}: not its tokens")
    # From here on, arrays hold the tokens with characters alone: two in the example above.
    # The sentence of each token's first character, [0, 0], and how many sentences each token reaches into, [1, 2].
    first = np.searchsorted(bounds, starts, "right") - 1
    counts = np.searchsorted(bounds, ends - 1, "right") - first
    # One entry for each token, [0, 1, 1], and sentence that it reaches into, [0, 0, 1]: counts.sum() of them.
    token = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(token)) - np.repeat(np.cumsum(counts) - counts, counts)
    sentence = first[token] + offset
    # How many characters of the token lie in the sentence: [3, 1, 2].
    held = np.minimum(ends[token], bounds[sentence + 1]) - np.maximum(starts[token], bounds[sentence])
    # Pairs in order of token, then most characters, then earliest sentence: the first pair of each token is wanted.
    order = np.lexsort((sentence, -held, token))
    result[carrying] = sentence[order][np.cumsum(counts) - counts]
    return result


def _encode(tokenizer: "Tokenizer", text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False).input_ids
    return ids


def _response(pieces: Sequence[Piece]) -> str:
    end = 0
    for piece in pieces:
        if piece.start is None:
            continue
        if piece.start != end:
            raise ValueError(f"the pieces skip from character {end} of the text to {piece.start}")
        _refuse_surrogates(piece.text, "the text", piece.start)
        end += len(piece.text)
    return "".join(piece.text for piece in pieces)


def _refuse_surrogates(text: str, where: str, offset: int = 0) -> None:
    if found := _SURROGATE.search(text):
        place = offset + found.start()
        raise AlignmentError(f"lone surrogate U+{ord(found[0]):04X} at character {place} of {where}")


def _on_text(ids: list[int], starts: np.ndarray, ends: np.ndarray, pieces: Sequence[Piece]) -> Aligned:
    """Return the tokens with characters of the text, given characters of the whole response, glue included."""
    # How many characters of the text lie before each character of the response [characters + 1].
    of_text = [np.full(len(piece.text), piece.start is not None) for piece in pieces]
    before = np.concatenate([[0], *of_text]).cumsum()
    starts, ends = before[starts], before[ends]
    scored = ends > starts
    starts, ends = (np.where(scored, values, -1).astype(np.int32) for values in (starts, ends))
    return Aligned(np.asarray(ids, np.int32), starts, ends, scored)


# From tokens to characters of what they decode to


@dataclass(frozen=True)
class _Decoded:
    """Tokens, the text that they decode to, and the characters of that text that each carries."""

    ids: list[int]
    text: str
    starts: np.ndarray  # int64
    ends: np.ndarray


def _decoded(tokenizer: "Tokenizer", ids: list[int]) -> _Decoded:
    surfaces = _surfaces(tokenizer, ids)
    if surfaces is None:
        return _decoded_in_groups(tokenizer, ids)
    text, char_of_byte = _characters(b"".join(surfaces))
    sizes = np.array([len(surface) for surface in surfaces], np.int64)
    stops = np.cumsum(sizes)
    # One more entry, since a token without bytes at the end starts and ends after the last character.
    char_of_byte = np.append(char_of_byte, len(text))
    starts = char_of_byte[stops - sizes]
    ends = np.where(sizes > 0, char_of_byte[stops - 1] + 1, starts)
    return _Decoded(ids, text, starts, ends)


def _surfaces(tokenizer: "Tokenizer", ids: list[int]) -> list[bytes] | None:
    """Return the bytes of each token; None if they do not follow from the token alone."""
    kinds = _decoder_kinds(tokenizer)
    if not _byte_exact(kinds):
        return None
    table, single = _BYTES.setdefault(tokenizer, ({}, {}))
    if new := set(ids).difference(table):
        found = _bytes_of(tokenizer, new, kinds)
        table |= found
        if "ByteFallback" in kinds:
            matches = {i: _BYTE_TOKEN.fullmatch(name) for i, name in found.items()}
            single |= {i: bytes([int(match[1], 16)]) for i, match in matches.items() if match}
    if single.keys().isdisjoint(ids):
        return [table[i] for i in ids]
    return _with_byte_tokens(ids, table, single)


# Of each tokenizer: the bytes that the tokens met so far stand for, and those of its byte tokens. To look a token up
# takes longer than to use it, and responses are made of the same tokens over and over.
_BYTES: WeakKeyDictionary["Tokenizer", tuple[dict[int, bytes], dict[int, bytes]]] = WeakKeyDictionary()


def _bytes_of(tokenizer: "Tokenizer", ids: set[int], kinds: set[str]) -> dict[int, bytes]:
    literal = tokenizer.added_tokens_decoder
    # An id beyond the vocabulary (a padded output layer has some) stands for nothing.
    names = {i: name or "" for i, name in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True)}
    if kinds == {"ByteLevel"}:
        return {i: name.encode() if i in literal else _byte_level(name) for i, name in names.items()}
    return {i: (name if i in literal else name.replace("▁", " ")).encode() for i, name in names.items()}


def _decoder_kinds(tokenizer: "Tokenizer") -> set[str]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return set()
    state = json.loads(backend.decoder.__getstate__())
    steps = state["decoders"] if state["type"] == "Sequence" else [state]
    replacing = [(s["pattern"].get("String"), s["content"]) for s in steps if s["type"] == "Replace"]
    if any(pair != ("▁", " ") for pair in replacing):
        return set()
    return {step["type"] for step in steps}


def _byte_exact(kinds: set[str]) -> bool:
    """Return whether each token stands for bytes by itself, given the kinds of the decoder's steps."""
    return bool(kinds) and (kinds == {"ByteLevel"} or kinds <= _SENTENCEPIECE)


def _byte_level_alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet of bytes: printable bytes are themselves, the others are numbered from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_LEVEL = _byte_level_alphabet()


def _byte_level(name: str) -> bytes:
    try:
        return bytes(_BYTE_LEVEL[char] for char in name)
    except KeyError:
        return name.encode()


def _with_byte_tokens(ids: list[int], table: dict[int, bytes], single: dict[int, bytes]) -> list[bytes]:
    """Return the bytes of each token; byte tokens in a run that is not UTF-8 are U+FFFD each, as tokenizers has it."""
    surfaces: list[bytes] = []
    for is_byte, run in groupby(ids, single.__contains__):
        if not is_byte:
            surfaces.extend(table[i] for i in run)
            continue
        found = [single[i] for i in run]
        try:
            b"".join(found).decode()
        except UnicodeDecodeError:
            found = ["\ufffd".encode()] * len(found)
        surfaces.extend(found)
    return surfaces


def _mark_replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # it only decodes
    return _REPLACED + _REPLACED_MORE * (error.end - error.start - 1), error.end


# Marks for bytes that cannot be decoded: one for the first of a run, one for each further byte. They are surrogates,
# which UTF-8 never holds; an error handler has no other way to say how many bytes it replaced.
_REPLACED, _REPLACED_MORE = "\udc00", "\udc01"
codecs.register_error("distrace_mark", _mark_replaced)


def _characters(data: bytes) -> tuple[str, np.ndarray]:
    """Return UTF-8 decoded, U+FFFD for unfinished characters, and the character that each byte belongs to [bytes].

    >>> _characters("aé".encode())
    ('aé', array([0, 1, 1]))
    """
    marked = data.decode("utf-8", "distrace_mark")
    # For each character of `marked`: its code point, its bytes in UTF-8 (a mark stands for one byte), and its place in
    # the text returned, where the marks of one run are one character.
    codes = np.frombuffer(marked.encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes == ord(_REPLACED)) | (codes == ord(_REPLACED_MORE))] = 1
    characters = np.cumsum(codes != ord(_REPLACED_MORE)) - 1
    return marked.replace(_REPLACED, "\ufffd").replace(_REPLACED_MORE, ""), np.repeat(characters, sizes)


def _decoded_in_groups(tokenizer: "Tokenizer", ids: list[int]) -> _Decoded:
    """Decode step by step, where tokens stand for no bytes by themselves (word pieces, decoders in Python).

    What tokens add to the text shows when they are decoded after the group before them, so the time is linear. The
    tokens of one character are a group, and each carries all of it.
    """
    starts, ends = np.zeros((2, len(ids)), np.int64)
    parts: list[str] = []
    # Characters so far; the first token of the group before this one; the first token of this group.
    length = context = first = 0
    before = ""
    for last in range(len(ids)):
        text = decode_generated(tokenizer, ids[context : last + 1])
        if text.endswith("\ufffd") and last + 1 - first < _UNFINISHED_TOKENS and last + 1 < len(ids):
            continue
        parts.append(text[len(before) :])
        starts[first : last + 1] = length
        length += len(parts[-1])
        ends[first : last + 1] = length
        context, first = first, last + 1
        before = decode_generated(tokenizer, ids[context:first])
    return _Decoded(ids, "".join(parts), starts, ends)


# From what the tokens decode to, to the response


Spans = tuple[np.ndarray, np.ndarray]


def _exact(tokenizer: "Tokenizer", decoded: _Decoded, response: str) -> Spans | None:
    """Return the characters of the response that each token carries if the tokens decode to it, else None.

    The tokenizer may have added a space at the start and after each of its added tokens; these are dropped.
    """
    if decoded.text == response:
        return decoded.starts, decoded.ends
    # The text is cut where such a space can be. `dropped` holds the places of those that the response does not have.
    added = np.isin(decoded.ids, list(tokenizer.added_tokens_decoder))
    breaks = sorted({0, len(decoded.text), *decoded.ends[added].tolist()})
    dropped, parts, length = [], [], 0
    for begin, end in pairwise(breaks):
        part = decoded.text[begin:end]
        if part.startswith(" ") and not response.startswith(part, length):
            dropped.append(begin)
            part = part[1:]
        parts.append(part)
        length += len(part)
    if "".join(parts) != response:
        return None
    # Each place moves left by the number of spaces dropped before it.
    starts, ends = (places - np.searchsorted(dropped, places) for places in (decoded.starts, decoded.ends))
    return starts, ends


def _normalised(tokenizer: "Tokenizer", decoded: _Decoded, response: str) -> Spans | None:
    """Return the characters that each token carries if the tokens decode to the normalised response, else None."""
    # Compare both texts without case and composition: as they are, without spaces and, if the tokenizer may drop more,
    # without white space. Character i of the folded texts is from `made_from[i]` and `given_from[i]`.
    for ignored in ["", " ", None] if _drops_white_space(tokenizer, decoded.ids) else ["", " "]:
        made, made_from = _folded(decoded.text, ignored)
        given, given_from = _folded(response, ignored)
        if made == given:
            break
    else:
        return None
    # The characters of the response from which each character of the decoded text was made: from `first` up to `last`.
    first = np.full(len(decoded.text), len(response), np.int64)
    last = np.zeros(len(decoded.text), np.int64)
    np.minimum.at(first, made_from, given_from)
    np.maximum.at(last, made_from, given_from + 1)
    carried = zip(decoded.starts.tolist(), decoded.ends.tolist(), strict=True)
    spans = [(first[s:e].min(), last[s:e].max()) if e > s else (0, 0) for s, e in carried]
    return _without_gaps(np.array(spans, np.int64).reshape(-1, 2), len(response))


def _without_gaps(spans: np.ndarray, length: int) -> Spans | None:
    """Return starts and ends [tokens] without gaps, given spans [tokens, 2] and the response's length in characters.

    Characters between two tokens go to the later one, those after the last token to the last: of a response of 6
    characters, the spans [[0, 2], [3, 5]] become the starts [0, 2] and the ends [2, 6]. None if no token carries a
    character of the response.
    """
    starts, ends = spans.T
    [carrying] = np.nonzero(ends > starts)
    if not len(carrying):
        return None if length else (starts * 0, ends * 0)
    # Where each token with characters ends, or an earlier one that reaches further.
    so_far = np.maximum.accumulate(ends[carrying])
    starts[carrying] = np.minimum(starts[carrying], np.concatenate([[0], so_far[:-1]]))
    ends[carrying[-1]] = length
    empty = ends <= starts
    return np.where(empty, 0, starts), np.where(empty, 0, ends)


def _drops_white_space(tokenizer: "Tokenizer", ids: list[int]) -> bool:
    if not _byte_exact(_decoder_kinds(tokenizer)):
        return True
    added = tokenizer.added_tokens_decoder
    if any(added[i].lstrip or added[i].rstrip for i in set(ids) & added.keys()):
        return True
    normaliser = tokenizer.backend_tokenizer.normalizer
    state = normaliser.__getstate__().decode() if normaliser else ""
    return any(f'"type":"{kind}"' in state for kind in _STRIPPING)


def _folded(text: str, ignored: str | None) -> tuple[str, np.ndarray]:
    """Return `text` decomposed (NFKD) and without case, and the place in `text` that each character is from.

    Characters in `ignored` are left out; None leaves out all white space.
    """
    # For each character: how many base characters there were so far, its combining class (0 for a base), its place in
    # `text`, itself.
    marks, base = [], 0
    for place, char in enumerate(text):
        if char.isspace() if ignored is None else char in ignored:
            continue
        for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold()):
            order = unicodedata.combining(part)
            base += order == 0
            marks.append((base, order, place, part))
    marks.sort(key=itemgetter(0, 1))  # the canonical order of combining marks
    return "".join(mark[3] for mark in marks), np.array([mark[2] for mark in marks], np.int64)


def _first_loss(decoded: str, response: str, pieces: Sequence[Piece]) -> str:
    """Return the name and place of the first character of the response that the tokens do not decode to."""
    if decoded.startswith(" ") and not response.startswith(" "):
        decoded = decoded[1:]
    made, made_from = _folded(decoded, "")
    given, given_from = _folded(response, "")
    # Harmless differences do not count, unless there are no others.
    if made == given:
        made, made_from, given, given_from = decoded, np.arange(len(decoded)), response, np.arange(len(response))
    differing = (i for i, pair in enumerate(zip(made, given, strict=False)) if pair[0] != pair[1])
    same = next(differing, min(len(made), len(given)))
    if same == len(given):
        return f"an end: after the text they hold {decoded[made_from[same] :][:20]!r}"
    place = given_from[same]
    name = unicodedata.name(response[place], "a control character")
    return f"U+{ord(response[place]):04X} ({name}) at {_place(pieces, place)}"


def _place(pieces: Sequence[Piece], place: int) -> str:
    for piece in pieces:
        if place < len(piece.text):
            break
        place -= len(piece.text)
    if piece.start is None:
        return f"character {place} of the glue {piece.text!r}"
    return f"character {piece.start + place} of the text"
