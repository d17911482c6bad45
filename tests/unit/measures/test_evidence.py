"""Stretches of words found in responses, against plain search, and the most similar sentence."""

from collections import Counter
from itertools import accumulate, chain, pairwise

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distrace.measures import evidence
from distrace.measures.evidence import COLUMNS, build_index, find_evidence
from distrace.text.words import words_of

Responses = list[list[str]]  # the sentences of each response

WORDS = st.sampled_from(["a", "a ", "b ", "b\n", " c", "B", "ä ", "a\u0301 ", "漢", "字 ", "😀", ". ", "12 ", "  "])
SENTENCES = st.lists(WORDS, min_size=1, max_size=8).map("".join)
RESPONSES = st.lists(st.lists(SENTENCES, max_size=3), min_size=1, max_size=5)


def frame(responses: Responses, first: int = 0) -> pl.DataFrame:
    bounds = [list(accumulate(map(len, sentences), initial=0)) for sentences in responses]
    rows = {
        "rollout_id": [f"r{first + number}" for number in range(len(responses))],
        "question_id": [f"q{first + number}" for number in range(len(responses))],
        "text": list(map("".join, responses)),
        "starts": [found[:-1] for found in bounds],
        "ends": [found[1:] for found in bounds],
    }
    numbers = pl.List(pl.Int32)
    return pl.DataFrame(rows, schema_overrides={"text": pl.String, "starts": numbers, "ends": numbers})


def found_in(responses: Responses, *sentences: str) -> list[dict]:
    return find_evidence(build_index([frame(responses)]), pl.Series(sentences, dtype=pl.String)).to_dicts()


def words(text: str) -> list[tuple[str, int]]:
    return words_of(pl.Series([text])).select("word", "start").rows()


def places(run: list[str], text: str) -> list[tuple[int, int]]:
    """Return where a run of words stands in a text, by plain search: first character, and the one after the last."""
    found = words(text)
    starts = range(len(found) - len(run) + 1)
    hits = [n for n in starts if [word for word, _ in found[n : n + len(run)]] == run]
    return [(found[n][1], found[n + len(run) - 1][1] + len(run[-1])) for n in hits]


def plain_search(responses: Responses, sentence: str) -> dict:
    """Return the longest run of a sentence's words that stands in a response; the longest is tried first."""
    texts, mine = list(map("".join, responses)), words(sentence)
    for length in range(len(mine), 0, -1):
        for first in range(len(mine) - length + 1):
            run = [word for word, _ in mine[first : first + length]]
            held = {number: hits for number, text in enumerate(texts) if (hits := places(run, text))}
            if held:
                response, [(start, end), *_] = next(iter(held.items()))
                begun = accumulate(map(len, responses[response]), initial=0)
                return {
                    "sentence_words": len(mine),
                    "words": length,
                    "stretch_start": mine[first][1],
                    "stretch_end": mine[first + length - 1][1] + len(run[-1]),
                    "whole": length == len(mine),
                    "verbatim": length == len(mine) or length >= 8,
                    "responses": len(held),
                    "source_rollout_id": f"r{response}",
                    "source_question_id": f"q{response}",
                    "source_sentence": sum(at <= start for at in list(begun)[:-1]) - 1,
                    "source_start": start,
                    "source_end": end,
                }
    nothing = {"sentence_words": len(mine), "words": 0, "whole": False, "verbatim": False, "responses": 0}
    return dict.fromkeys(name for name in COLUMNS if not name.startswith("similar")) | nothing


def similarity(one: str, other: str) -> float:
    both = []
    for text in (one, other):
        found = [word for word, _ in words(text)]
        both.append(Counter(chain(found, pairwise(found))))
    return 2 * (both[0] & both[1]).total() / (both[0].total() + both[1].total())


@settings(deadline=None)
@given(RESPONSES, st.lists(SENTENCES | st.just(""), max_size=4))
@example([["a b a b a b a b a b"]], ["a b a b a", "b a b a b a b a b c", "b b"])
@example([["a "], ["b "]], ["a b "])
@example([["a", "b c"]], ["ab", "a", "b c", "c"])
@example([["12 "]], ["1 2 ", "112 "])
def test_the_longest_stretch_is_the_one_that_plain_search_finds(responses, sentences):
    found = found_in(responses, *sentences)
    assert [{n: v for n, v in row.items() if not n.startswith("similar")} for row in found] == [
        plain_search(responses, sentence) for sentence in sentences
    ]


@settings(deadline=None)
@given(RESPONSES, SENTENCES)
def test_a_similar_sentence_is_given_where_nothing_is_verbatim_and_a_word_in_common(responses, sentence):
    [found] = found_in(responses, sentence)
    if found["verbatim"] or not found["words"]:
        assert {found[name] for name in COLUMNS if name.startswith("similar")} == {None}
        return
    text = "".join(responses[int(found["similar_rollout_id"][1:])])
    assert found["similar_question_id"][1:] == found["similar_rollout_id"][1:]
    start, end, number = (found[f"similar_{name}"] for name in ("start", "end", "sentence"))
    bounds = list(accumulate(map(len, responses[int(found["similar_rollout_id"][1:])]), initial=0))
    assert (start, end) == (bounds[number], bounds[number + 1])
    assert found["similar_text"] == text[start:end]


@pytest.mark.parametrize("rows_at_once", [1, 2, 256])
def test_planted_sentences_are_found_at_the_right_place_whatever_is_read_at_once(rows_at_once, monkeypatch):
    monkeypatch.setattr(evidence, "_ROWS_AT_ONCE", rows_at_once)
    planted = [f"The {n}th sentence of all says {n * n} times that it is number {n}." for n in range(40)]
    responses = [[f"Begin {n}. ", f"  {sentence}\n", "And end."] for n, sentence in enumerate(planted)]
    frames = [frame(responses[:7]), frame([]), frame(responses[7:9], 7), frame(responses[9:], 9)]
    found = find_evidence(build_index(frames), pl.Series(planted))
    assert found["whole"].all()
    assert found["responses"].to_list() == [1] * 40
    assert found["source_rollout_id"].to_list() == [f"r{n}" for n in range(40)]
    assert found["source_sentence"].to_list() == [1] * 40
    spans = found.select("source_start", "source_end").rows()
    assert ["".join(r)[s:e] for r, (s, e) in zip(responses, spans, strict=True)] == planted


def test_a_stretch_is_counted_once_for_each_response_that_holds_it():
    responses = [["Go on. Go on. "], ["Stop. "], ["Go on. "]]
    [found] = found_in(responses, "Go on and on.")
    assert (found["words"], found["responses"], found["source_rollout_id"]) == (2, 2, "r0")


def test_a_short_sentence_counts_as_verbatim_only_if_it_is_there_whole():
    whole, part, long = found_in(
        [["So it is four. ", "1 2 3 4 5 6 7 8 9"]], "it is four", "it is five", "0 1 2 3 4 5 6 7 8"
    )
    assert (whole["words"], whole["whole"], whole["verbatim"]) == (3, True, True)
    assert (part["words"], part["whole"], part["verbatim"]) == (2, False, False)
    assert (long["words"], long["whole"], long["verbatim"]) == (8, False, True)


def test_white_space_and_sentence_ends_do_not_part_a_stretch_but_case_and_responses_do():
    responses = [["It is\n", "   so. "], ["Then stop"]]
    across, case, apart = found_in(responses, "It is so.", "it is so.", "so. Then stop")
    assert (across["whole"], across["source_sentence"], across["source_end"]) == (True, 0, 12)
    assert (case["words"], case["stretch_start"], case["source_start"]) == (3, 3, 3)
    assert apart["words"] == 2


def test_the_most_similar_sentence_shares_most_words_and_neighbours():
    responses = [["Tom has 3 red cars. ", "Ann has 3 cars. "], ["Tom sold 4 red cars today. "]]
    [found] = found_in(responses, "Tom has 4 red cars.")
    assert (found["similar_text"], found["similar_rollout_id"]) == ("Tom has 3 red cars. ", "r0")
    assert found["similarity"] == pytest.approx(similarity("Tom has 4 red cars.", "Tom has 3 red cars. "))
    assert found["similarity"] == pytest.approx(2 * (5 + 3) / (6 + 5 + 6 + 5))


def test_the_same_words_in_another_order_are_not_the_same_sentence():
    [found] = found_in([["cup pin hat"]], "hat pin cup")
    assert 0 < found["similarity"] < 1


def test_more_distinct_words_than_a_byte_or_two_can_number_are_told_apart():
    many = [str(number) for number in range(70_000)]
    runs = [many[at : at + 3] for at in (0, 127, 2047, 65_535, 69_990)]
    found = found_in([[" ".join(many)]], *map(" ".join, runs))
    assert [row["source_start"] for row in found] == [len(" ".join([*many[: int(run[0])], ""])) for run in runs]
    assert all(row["whole"] and row["responses"] == 1 for row in found)


def test_no_more_responses_are_read_than_have_so_many_words_however_they_lie_in_parts():
    responses = [["a b c"], [""], ["d e f"], ["g h"]]
    for cut in range(5):
        frames = [frame(responses[:cut]), frame(responses[cut:], cut)]
        kept = [len(build_index(frames, most_words=most).responses) for most in (1, 3, 4, 6, 7, 99)]
        assert kept == [1, 1, 3, 3, 4, 4]


def test_nothing_is_found_where_there_are_no_responses():
    index = build_index([])
    assert (index.words, len(index.responses)) == (0, 0)
    found = find_evidence(index, pl.Series(["One two three", ""]))
    assert found["sentence_words"].to_list() == [3, 0]
    assert found["verbatim"].to_list() == found["whole"].to_list() == [False, False]
    assert found["similar_text"].to_list() == [None, None]
