"""Which characters of a response each token carries, for any tokenizer and for generated tokens alike.

Offsets follow from the bytes that the tokens stand for, never from the offsets that a tokenizer reports:
these leave out spaces, cut characters apart and do not exist for generated tokens. Bytes are exact, and show
what is lost.

    >>> pieces = response_pieces(load_format(settings, tokenizer), text, answer_start)
    >>> aligned = encode_response(tokenizer, pieces)
    >>> owner = owners(aligned.starts, aligned.ends, split(text, "sentences", answer_start))

Prompt and response are tokenised apart, as they are at sampling: no token reaches over the border.
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

import numpy as np

from distrace.errors import DistraceError

if TYPE_CHECKING:  # prompts imports this module
    from distrace.prompts import Piece

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SENTENCEPIECE = {"Replace", "Metaspace", "ByteFallback", "Fuse", "Strip"}
_STRIPPING = ("Strip", "Precompiled", "Nmt", "BertNormalizer")
_UNFINISHED_TOKENS = 4  # a character has at most four bytes


class AlignmentError(DistraceError):
    """A text that cannot be put to a model as it is, or tokens that are not those of a text."""


@dataclass(frozen=True)
class Aligned:
    """The n tokens of a response, glue included, and the characters of the rollout's text that each carries.

    These run from `starts` up to but not with `ends`; both are -1 for a token that carries none (glue, an
    added space). A character that is cut into several tokens is carried by each of them.
    """

    token_ids: np.ndarray  # int32
    starts: np.ndarray  # int32
    ends: np.ndarray  # int32
    scored: np.ndarray  # bool: carries at least one character


def encode_prompt(tokenizer, prompt: str) -> list[int]:
    """Tokenise a prompt as it is at sampling.

    A prompt that holds special tokens as text (any chat template's) is taken as it is. To one without, BOS is
    prepended where the tokenizer does so by itself.
    """
    _refuse_surrogates(prompt, "the prompt")
    ids = _encode(tokenizer, prompt)
    special = set(tokenizer.all_special_ids)
    if special.isdisjoint(ids) and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]:
        return [tokenizer.bos_token_id, *ids]
    return ids


def encode_response(tokenizer, pieces: Sequence["Piece"]) -> Aligned:
    """Tokenise a response, glue and text as one string, and say which characters each token carries.

    What the tokenizer's own normaliser changes is harmless: the composition of characters (up to NFKD), their
    case, spaces added or dropped. The tokens then carry the characters they were made from, and what was
    dropped goes to the token after it. Raises AlignmentError, naming the first character, for a text that the
    tokenizer cannot represent (it drops, replaces or does not know a character), and for lone surrogates.
    """
    response = _response(pieces)
    ids = _encode(tokenizer, response)
    decoded = _decoded(tokenizer, ids)
    spans = _exact(tokenizer, decoded, response) or _normalised(tokenizer, decoded, response)
    if spans is None:
        raise AlignmentError(f"the tokenizer loses {_first_loss(decoded.text, response, pieces)}")
    return _on_text(ids, *spans, pieces)


def align_generated(tokenizer, token_ids: Sequence[int], pieces: Sequence["Piece"]) -> Aligned:
    """Say which characters the tokens of a sampled response carry, as `encode_response` does for its own.

    The ids must decode to the pieces' joined text, unfinished characters (U+FFFD) included:
    `decode_generated`, cut by `prompts.generated_pieces`. Raises AlignmentError if they do not: the text was
    edited, or the ids are another tokenizer's.
    """
    response = _response(pieces)
    ids = list(token_ids)
    decoded = _decoded(tokenizer, ids)
    spans = _exact(tokenizer, decoded, response)
    if spans is None:
        loss = _first_loss(decoded.text, response, pieces)
        raise AlignmentError(f"the tokens do not decode to the text, they lack {loss}")
    return _on_text(ids, *spans, pieces)


def decode_generated(tokenizer, token_ids: Sequence[int]) -> str:
    """Give the text of sampled tokens, special tokens included: what `prompts.parse_response` reads."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def owners(starts: np.ndarray, ends: np.ndarray, boundaries: Sequence[int]) -> np.ndarray:
    """Give for each token the sentence (int64) that holds most of its characters; of two, the earlier.

    `boundaries` are the starts of the sentences and the text's length (`splitting.split`). A token without
    characters gets -1. Raises AlignmentError if a token ends beyond the last boundary.
    """
    starts, ends, bounds = (np.asarray(values, np.int64) for values in (starts, ends, boundaries))
    result = np.full(len(starts), -1, np.int64)
    [carrying] = np.nonzero(ends > starts)
    if not len(carrying):
        return result
    starts, ends = starts[carrying], ends[carrying]
    if ends.max() > bounds[-1]:
        raise AlignmentError(f"a token ends at character {ends.max()}, the text at {bounds[-1]}: not its tokens")
    first = np.searchsorted(bounds, starts, "right") - 1
    counts = np.searchsorted(bounds, ends - 1, "right") - first
    token = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(token)) - np.repeat(np.cumsum(counts) - counts, counts)
    sentence = first[token] + offset
    held = np.minimum(ends[token], bounds[sentence + 1]) - np.maximum(starts[token], bounds[sentence])
    order = np.lexsort((sentence, -held, token))
    result[carrying] = sentence[order][np.cumsum(counts) - counts]
    return result


def _encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False).input_ids


def _response(pieces: Sequence["Piece"]) -> str:
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


def _on_text(ids: list[int], starts: np.ndarray, ends: np.ndarray, pieces: Sequence["Piece"]) -> Aligned:
    """Turn characters of the whole response into characters of its text: those that lie before them."""
    of_text = [np.full(len(piece.text), piece.start is not None) for piece in pieces]
    before = np.concatenate([[0], *of_text]).cumsum()
    starts, ends = before[starts], before[ends]
    scored = ends > starts
    starts, ends = (np.where(scored, values, -1).astype(np.int32) for values in (starts, ends))
    return Aligned(np.asarray(ids, np.int32), starts, ends, scored)


# From tokens to characters of what they decode to


@dataclass(frozen=True)
class _Decoded:
    """Tokens, the text they stand for, and the characters of it that each carries."""

    ids: list[int]
    text: str
    starts: np.ndarray  # int64
    ends: np.ndarray


def _decoded(tokenizer, ids: list[int]) -> _Decoded:
    surfaces = _surfaces(tokenizer, ids)
    if surfaces is None:
        return _decoded_in_groups(tokenizer, ids)
    text, char_of_byte = _characters(b"".join(surfaces))
    sizes = np.array([len(surface) for surface in surfaces], np.int64)
    stops = np.cumsum(sizes)
    # One more entry: a token without bytes at the end begins (and ends) behind the last character.
    char_of_byte = np.append(char_of_byte, len(text))
    starts = char_of_byte[stops - sizes]
    ends = np.where(sizes > 0, char_of_byte[stops - 1] + 1, starts)
    return _Decoded(ids, text, starts, ends)


def _surfaces(tokenizer, ids: list[int]) -> list[bytes] | None:
    """Give the bytes of each token, or None if they do not follow from the token alone."""
    kinds = _decoder_kinds(tokenizer)
    if not _byte_exact(kinds):
        return None
    literal = tokenizer.added_tokens_decoder
    # An id beyond the vocabulary (a padded output layer has some) stands for nothing.
    names = {i: name or "" for i, name in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)}
    if kinds == {"ByteLevel"}:
        table = {i: name.encode() if i in literal else _byte_level(name) for i, name in names.items()}
        return [table[i] for i in ids]
    table = {i: (name if i in literal else name.replace("▁", " ")).encode() for i, name in names.items()}
    if "ByteFallback" not in kinds:
        return [table[i] for i in ids]
    matches = {i: _BYTE_TOKEN.fullmatch(name) for i, name in names.items()}
    return _with_byte_tokens(ids, table, {i: bytes.fromhex(match[1]) for i, match in matches.items() if match})


def _decoder_kinds(tokenizer) -> set[str]:
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
    """Say whether tokens stand for bytes each by itself, as these kinds of decoder have it."""
    return bool(kinds) and (kinds == {"ByteLevel"} or kinds <= _SENTENCEPIECE)


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's alphabet of bytes: printable ones stand for themselves, the others follow from U+0100 on."""
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
    """Put in the byte tokens; in a run that is not UTF-8, U+FFFD for each, as tokenizers decodes it."""
    surfaces = []
    for is_byte, run in groupby(ids, single.__contains__):
        if not is_byte:
            surfaces.extend(table[i] for i in run)
            continue
        run = [single[i] for i in run]
        try:
            b"".join(run).decode()
        except UnicodeDecodeError:
            run = ["\ufffd".encode()] * len(run)
        surfaces.extend(run)
    return surfaces


def _mark_replaced(error: UnicodeDecodeError) -> tuple[str, int]:
    return _REPLACED + _REPLACED_MORE * (error.end - error.start - 1), error.end


# Surrogates, which UTF-8 never holds: the error handler has no other way to say how many bytes it replaced.
_REPLACED, _REPLACED_MORE = "\udc00", "\udc01"
codecs.register_error("distrace_mark", _mark_replaced)


def _characters(data: bytes) -> tuple[str, np.ndarray]:
    """Decode UTF-8, what is unfinished as U+FFFD, and give for each byte the character it belongs to."""
    marked = data.decode("utf-8", "distrace_mark")
    codes = np.frombuffer(marked.encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes == ord(_REPLACED)) | (codes == ord(_REPLACED_MORE))] = 1
    characters = np.cumsum(codes != ord(_REPLACED_MORE)) - 1
    return marked.replace(_REPLACED, "\ufffd").replace(_REPLACED_MORE, ""), np.repeat(characters, sizes)


def _decoded_in_groups(tokenizer, ids: list[int]) -> _Decoded:
    """Decode little by little, where tokens stand for no bytes by themselves (word pieces, Python code).

    What a token adds is seen by decoding it after the group before it, so the time is linear. The tokens of
    one character are a group, and each carries all of it.
    """
    starts, ends = np.zeros((2, len(ids)), np.int64)
    parts: list[str] = []
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


def _exact(tokenizer, decoded: _Decoded, response: str) -> Spans | None:
    """Match the response itself, but for spaces that the tokenizer puts first and behind its added tokens."""
    if decoded.text == response:
        return decoded.starts, decoded.ends
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
    return tuple(places - np.searchsorted(dropped, places) for places in (decoded.starts, decoded.ends))


def _normalised(tokenizer, decoded: _Decoded, response: str) -> Spans | None:
    """Match what the tokenizer's normaliser made of the response; None if what differs is not harmless."""
    for ignored in ["", " ", None] if _drops_white_space(tokenizer, decoded.ids) else ["", " "]:
        made, made_from = _folded(decoded.text, ignored)
        given, given_from = _folded(response, ignored)
        if made == given:
            break
    else:
        return None
    first = np.full(len(decoded.text), len(response), np.int64)
    last = np.zeros(len(decoded.text), np.int64)
    np.minimum.at(first, made_from, given_from)
    np.maximum.at(last, made_from, given_from + 1)
    carried = zip(decoded.starts.tolist(), decoded.ends.tolist(), strict=True)
    spans = [(first[s:e].min(), last[s:e].max()) if e > s else (0, 0) for s, e in carried]
    return _without_gaps(np.array(spans, np.int64).reshape(-1, 2), len(response))


def _without_gaps(spans: np.ndarray, length: int) -> Spans | None:
    """Give what lies between two tokens to the later one, and what lies behind the last to the last."""
    starts, ends = spans.T
    [carrying] = np.nonzero(ends > starts)
    if not len(carrying):
        return None if length else (starts * 0, ends * 0)
    so_far = np.maximum.accumulate(ends[carrying])
    starts[carrying] = np.minimum(starts[carrying], np.concatenate([[0], so_far[:-1]]))
    ends[carrying[-1]] = length
    empty = ends <= starts
    return np.where(empty, 0, starts), np.where(empty, 0, ends)


def _drops_white_space(tokenizer, ids: list[int]) -> bool:
    if not _byte_exact(_decoder_kinds(tokenizer)):
        return True
    added = tokenizer.added_tokens_decoder
    if any(added[i].lstrip or added[i].rstrip for i in set(ids) & added.keys()):
        return True
    normaliser = tokenizer.backend_tokenizer.normalizer
    state = normaliser.__getstate__().decode() if normaliser else ""
    return any(f'"type":"{kind}"' in state for kind in _STRIPPING)


def _folded(text: str, ignored: str | None) -> tuple[str, np.ndarray]:
    """Give `text` decomposed (NFKD) and without case, and where in `text` each of its characters is from.

    Characters in `ignored` are left out; None leaves out all white space.
    """
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


def _first_loss(decoded: str, response: str, pieces: Sequence["Piece"]) -> str:
    """Name the first character of the response that the tokens do not give back."""
    if decoded.startswith(" ") and not response.startswith(" "):
        decoded = decoded[1:]
    made, made_from = _folded(decoded, "")
    given, given_from = _folded(response, "")
    # Harmless differences do not count, unless there are no others.
    if made == given:
        made, made_from, given, given_from = decoded, range(len(decoded)), response, range(len(response))
    differing = (i for i, pair in enumerate(zip(made, given, strict=False)) if pair[0] != pair[1])
    same = next(differing, min(len(made), len(given)))
    if same == len(given):
        return f"an end: after the text they hold {decoded[made_from[same] :][:20]!r}"
    place = given_from[same]
    name = unicodedata.name(response[place], "a control character")
    return f"U+{ord(response[place]):04X} ({name}) at {_place(pieces, place)}"


def _place(pieces: Sequence["Piece"], place: int) -> str:
    for piece in pieces:
        if place < len(piece.text):
            break
        place -= len(piece.text)
    if piece.start is None:
        return f"character {place} of the glue {piece.text!r}"
    return f"character {piece.start + place} of the text"
