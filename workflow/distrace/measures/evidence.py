"""Evidence: what of a sentence stands word for word in given responses, and which of their sentences resembles it.

    index = build_index(frames)
    find_evidence(index, sentences)

The words of the responses are numbered and written as bytes, over which libdivsufsort makes a suffix array: all places
at which a stretch of words stands are neighbours in it, found by bisection. No stretch is missed and none is invented.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydivsufsort import divsufsort, sa_search

from distrace.text.words import words_of

VERBATIM_WORDS = 8  # from how many words on a stretch counts as verbatim; a shorter sentence must be there whole
COLUMNS = {
    "words": pl.Int32,
    "stretch_start": pl.Int32,
    "stretch_end": pl.Int32,
    "whole": pl.Boolean,
    "verbatim": pl.Boolean,
    "responses": pl.Int32,
    "source_rollout_id": pl.String,
    "source_question_id": pl.String,
    "source_sentence": pl.Int32,
    "source_start": pl.Int32,
    "source_end": pl.Int32,
    "similarity": pl.Float64,
    "similar_rollout_id": pl.String,
    "similar_question_id": pl.String,
    "similar_sentence": pl.Int32,
    "similar_start": pl.Int32,
    "similar_end": pl.Int32,
    "similar_text": pl.String,
}
_ROWS_AT_ONCE = 256
_NO_RESPONSES = pl.DataFrame(
    schema={"rollout_id": pl.String, "question_id": pl.String, "text": pl.String}
    | dict.fromkeys(("starts", "ends"), pl.List(pl.Int64))
)
_COMPARED = 100  # places whose sentences are compared to find the most similar one

# A word as bytes, by its number, like a character in UTF-8: the first byte tells how many follow, which no first byte
# equals. So no stretch is found that begins or ends inside a word.
_FIRST_BYTES = (0x00, 0xC0, 0xE0, 0xF0, 0xF8)
_NUMBERS_BELOW = (1 << 7, 1 << 11, 1 << 16, 1 << 21, 1 << 26)  # that so many bytes hold
_UNKNOWN = b"\xfe"  # a word that is in none of the responses
_END = b"\xff"  # of a response
_CODED_WORD = re.compile(rb"[^\x80-\xbf\xff][\x80-\xbf]*")


@dataclass(frozen=True, eq=False)
class Index:
    """Responses made ready to be searched for stretches of words.

    `code` holds the words of all responses as bytes, `suffixes` is its suffix array. `response_at` and `sentence_at`
    are the places in `code` at which responses and sentences begin, `sentence_at` with the end of `code` behind;
    `word_starts` has the first character of every word in its response, and `first_word` the number of each response's
    first word.
    """

    code: bytes
    suffixes: NDArray[np.signedinteger]
    vocabulary: dict[str, int]
    responses: pl.DataFrame  # rollout_id, question_id, text
    response_at: NDArray[np.int64]
    first_word: NDArray[np.int64]
    word_starts: NDArray[np.int32]
    sentences: pl.DataFrame  # response (its row), number, start, end
    sentence_at: NDArray[np.int64]

    @property
    def words(self) -> int:
        """The number of words of all responses."""
        return len(self.word_starts)


class _Run(NamedTuple):
    """A run of a sentence's words that stands in the index: at `hits` neighbours in `suffixes`, from `left` on."""

    first: int
    end: int
    hits: int
    left: int


def build_index(frames: Iterable[pl.DataFrame], most_words: int | None = None) -> Index:
    """Return the index of responses: frames with `rollout_id`, `question_id`, `text`, and lists `starts` and `ends`.

    The lists say where the sentences lie, which together are the text. With `most_words`, no more responses are read
    once the index holds so many words.
    """
    vocabulary: dict[str, int] = {}
    pieces: list[_Piece] = []
    words = 0
    for rows in _slices(frames):
        if most_words is not None:
            if words >= most_words:
                break
            rows = _first_rows(rows, most_words - words)
        pieces.append(_piece(rows, vocabulary))
        words += len(pieces[-1].word_starts)
    return _joined(pieces, vocabulary)


@dataclass(frozen=True)
class _Piece:
    """A piece of an index, of a few responses: see there; places and numbers count from its own beginning."""

    code: bytes
    responses: pl.DataFrame
    response_at: NDArray[np.int64]
    first_word: NDArray[np.int64]
    word_starts: NDArray[np.int32]
    sentences: pl.DataFrame
    sentence_at: NDArray[np.int64]


def _first_rows(rows: pl.DataFrame, words: int) -> pl.DataFrame:
    """Return the first responses that have so many words; the last of them may have more."""
    text = words_of(rows["text"])["text"].to_numpy()
    return rows.filter(np.searchsorted(text, np.arange(len(rows))) < words)


def _slices(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for frame in frames:
        yield from (rows for rows in frame.iter_slices(_ROWS_AT_ONCE) if len(rows))


def _piece(rows: pl.DataFrame, vocabulary: dict[str, int]) -> _Piece:
    """Return the piece of some responses; their new words are added to the vocabulary."""
    words = words_of(rows["text"])
    for word in words["word"].unique(maintain_order=True):
        vocabulary.setdefault(word, len(vocabulary))
    code, at = _coded(words["word"], vocabulary)
    text = words["text"].to_numpy()
    bounds = np.searchsorted(text, np.arange(len(rows) + 1))
    # A byte ends each response, so what lies behind is so many places further on.
    code = np.insert(code, at[bounds[1:]], _END[0])
    at += np.append(text, len(rows))
    sentences = rows.select(
        pl.int_range(pl.len()).alias("response"),
        pl.col("starts").list.eval(pl.int_range(pl.len())).alias("number"),
        pl.col("starts").alias("start"),
        pl.col("ends").alias("end"),
    ).filter(pl.col("start").list.len() > 0)
    sentences = sentences.explode("number", "start", "end")
    # A sentence begins, like a response, with its first word, or the next one if it has none.
    begun = np.searchsorted(_ordered(text, words["start"]), _ordered(sentences["response"], sentences["start"]))
    return _Piece(
        code=code.tobytes(),
        responses=rows.select("rollout_id", "question_id", "text"),
        response_at=np.append(0, np.flatnonzero(code == _END[0]) + 1)[:-1],
        first_word=bounds[:-1],
        word_starts=words["start"].to_numpy(),
        sentences=sentences,
        sentence_at=at[begun],
    )


def _ordered(texts: pl.Series | NDArray[np.int64], starts: pl.Series) -> NDArray[np.int64]:
    """Return numbers in the order of characters: first by the number of their text, then by their place in it."""
    ordered: NDArray[np.int64] = (np.asarray(texts, np.int64) << 32) + starts.to_numpy()
    return ordered


def _coded(words: pl.Series, vocabulary: dict[str, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return words as bytes, one after the other, and where each begins, with the end behind."""
    distinct = words.unique()
    known = [vocabulary.get(word, -1) for word in distinct]
    numbers = words.replace_strict(distinct, known, return_dtype=pl.Int64).to_numpy()
    widths = np.searchsorted(_NUMBERS_BELOW, numbers, side="right") + 1
    at = np.append(0, np.cumsum(widths))
    code = np.empty(at[-1], np.uint8)
    for width, first_byte in enumerate(_FIRST_BYTES, start=1):
        mine = widths == width
        rest, places = numbers[mine], at[:-1][mine]
        for following in range(width - 1, 0, -1):
            code[places + following] = 0x80 | (rest & 0x3F)
            rest = rest >> 6
        code[places] = first_byte | rest
    code[at[:-1][numbers < 0]] = _UNKNOWN[0]
    return code, at


def _joined(pieces: list[_Piece], vocabulary: dict[str, int]) -> Index:
    """Return the index of pieces; their places and numbers are counted on."""
    pieces = pieces or [_piece(_NO_RESPONSES, vocabulary)]
    sizes = [(len(piece.code), len(piece.word_starts), len(piece.responses)) for piece in pieces]
    code_before, words_before, responses_before = np.cumsum([(0, 0, 0), *sizes], axis=0).T.tolist()
    code = b"".join(piece.code for piece in pieces)
    numbered = [
        p.sentences.with_columns(pl.col("response") + n) for p, n in zip(pieces, responses_before, strict=False)
    ]
    return Index(
        code=code,
        suffixes=divsufsort(code) if code else np.empty(0, np.int32),
        vocabulary=vocabulary,
        responses=pl.concat([piece.responses for piece in pieces]),
        response_at=_counted_on([piece.response_at for piece in pieces], code_before),
        first_word=_counted_on([piece.first_word for piece in pieces], words_before),
        word_starts=np.concatenate([piece.word_starts for piece in pieces]),
        sentences=pl.concat(numbered),
        sentence_at=np.append(_counted_on([piece.sentence_at for piece in pieces], code_before), len(code)),
    )


def _counted_on(places: list[NDArray[np.int64]], before: list[int]) -> NDArray[np.int64]:
    """Return the places of all pieces, each after so many others that lie before its piece."""
    return np.concatenate([found + n for found, n in zip(places, before, strict=False)])


@dataclass(frozen=True)
class _Sentence:
    """The words of a sentence: `code`, in which they begin at `at` (with the end behind), and their first characters.

    `ends` are the characters behind them.
    """

    code: bytes
    at: list[int]
    starts: list[int]
    ends: list[int]


def find_evidence(index: Index, sentences: pl.Series) -> pl.DataFrame:
    """Return, for each sentence (its text), `sentence_words` and its evidence in an index (`COLUMNS`).

    The stretch is the longest run of the sentence's words that stands in a response, the first of several; its place
    counts from the beginning of the sentence. Its source is the first place at which it stands, in the order of the
    index. Where it is not verbatim, the most similar sentence follows.
    """
    distinct = sentences.unique(maintain_order=True)
    rows = [_evidence(index, sentence) for sentence in _coded_sentences(distinct, index.vocabulary)]
    table = pl.DataFrame(rows, schema={"sentence_words": pl.Int32, **COLUMNS}).with_columns(text=distinct)
    return sentences.to_frame("text").join(table, on="text", how="left", maintain_order="left").drop("text")


def _coded_sentences(texts: pl.Series, vocabulary: dict[str, int]) -> Iterator[_Sentence]:
    words = words_of(texts)
    code, at = _coded(words["word"], vocabulary)
    coded, starts = code.tobytes(), words["start"].to_numpy()
    ends = starts + words["word"].str.len_chars().to_numpy()
    bounds = np.searchsorted(words["text"].to_numpy(), np.arange(len(texts) + 1))
    for first, end in pairwise(bounds):
        places = at[first : end + 1]
        mine = coded[places[0] : places[-1]]
        yield _Sentence(mine, (places - places[0]).tolist(), starts[first:end].tolist(), ends[first:end].tolist())


def _evidence(index: Index, sentence: _Sentence) -> dict[str, Any]:
    count, runs = len(sentence.starts), _runs(index, sentence)
    found: dict[str, Any] = dict.fromkeys(COLUMNS) | {"sentence_words": count, "words": 0, "responses": 0}
    if runs:
        longest = max(runs, key=lambda run: run.end - run.first)
        found |= _stretch(index, sentence, longest)
    found["whole"] = 0 < count == found["words"]
    found["verbatim"] = found["whole"] or found["words"] >= VERBATIM_WORDS
    if runs and not found["verbatim"]:
        found |= _most_similar(index, sentence, runs)
    return found


def _runs(index: Index, sentence: _Sentence) -> list[_Run]:
    """Return the runs of a sentence's words that stand in the index, and are part of no longer one."""
    code, at, last = sentence.code, sentence.at, len(sentence.starts)
    if last and (whole := _find(index, code))[0]:
        return [_Run(0, last, *whole)]
    runs, end = [], 0
    for first in range(last):
        run, end = None, max(first, end)
        while end < last and (found := _find(index, code[at[first] : at[end + 1]]))[0]:
            end += 1
            run = _Run(first, end, *found)
        if run:
            runs.append(run)
    return runs


def _find(index: Index, code: bytes) -> tuple[int, int]:
    """Return at how many places some words stand, and where in `suffixes` these begin."""
    if not index.code:
        return 0, 0
    count, left = sa_search(index.code, index.suffixes, code)
    return count, left or 0


def _stretch(index: Index, sentence: _Sentence, run: _Run) -> dict[str, Any]:
    """Return where a run lies in its sentence, how many responses hold it, and the first place at which it stands."""
    places = index.suffixes[run.left : run.left + run.hits]
    place = int(places.min())
    response = int(_last_begun(index.response_at, place))
    # Its number among the words of the response: so many words begin before it.
    before = np.frombuffer(index.code[index.response_at[response] : place], np.uint8)
    word = int(index.first_word[response] + ((before & 0xC0) != 0x80).sum())
    start, last = (int(index.word_starts[number]) for number in (word, word + run.end - run.first - 1))
    return {
        "words": run.end - run.first,
        "stretch_start": sentence.starts[run.first],
        "stretch_end": sentence.ends[run.end - 1],
        "responses": len(np.unique(_last_begun(index.response_at, places))),
        "source_rollout_id": index.responses["rollout_id"][response],
        "source_question_id": index.responses["question_id"][response],
        "source_sentence": index.sentences["number"][int(_last_begun(index.sentence_at, place))],
        "source_start": start,
        "source_end": last + sentence.ends[run.end - 1] - sentence.starts[run.end - 1],
    }


def _most_similar(index: Index, sentence: _Sentence, runs: list[_Run]) -> dict[str, Any]:
    """Return the most similar sentence, the first of several, among those at `_COMPARED` places of the rarest runs.

    Similarity is the share of words, and of pairs of neighbouring words, that two sentences have in common:
    2 |A and B| / (|A| + |B|) of the multisets of both (Dice 1945).
    """
    places = [index.suffixes[:0]]
    for run in sorted(runs, key=lambda run: (run.hits, run.first - run.end)):
        room = _COMPARED - sum(map(len, places))
        places.append(index.suffixes[run.left : run.left + min(run.hits, room)])
    mine = _words_and_pairs(sentence.code)
    best = (-1.0, 0)
    for number in np.unique(_last_begun(index.sentence_at, np.concatenate(places))).tolist():
        begin, end = index.sentence_at[number : number + 2].tolist()
        found = _words_and_pairs(index.code[begin:end])
        similarity = 2 * (mine & found).total() / (mine.total() + found.total())
        best = max(best, (similarity, -number))
    similarity, number = best[0], -best[1]
    response, of_response, start, end = index.sentences.row(number)
    return {
        "similarity": similarity,
        "similar_rollout_id": index.responses["rollout_id"][response],
        "similar_question_id": index.responses["question_id"][response],
        "similar_sentence": of_response,
        "similar_start": start,
        "similar_end": end,
        "similar_text": index.responses["text"][response][start:end],
    }


def _words_and_pairs(code: bytes) -> Counter[bytes | tuple[bytes, bytes]]:
    words = _CODED_WORD.findall(code)
    return Counter(chain(words, pairwise(words)))


def _last_begun(beginnings: NDArray[np.int64], places: Any) -> NDArray[np.int64]:
    """Return the number of the last of the beginnings that is at or before each place."""
    numbers: NDArray[np.int64] = np.searchsorted(beginnings, places, side="right") - 1
    return numbers
