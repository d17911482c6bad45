"""What a word is, and where it stands."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distrace.text.words import words_of

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"])) | st.text("aB1 .\n漢か\u0301\u200d\u2028😀"), max_size=4
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It costs $3.50.", ["It", "costs", "$", "3", ".", "50", "."]),
        ("x_1 <= 2*x", ["x_1", "<", "=", "2", "*", "x"]),
        ("Don't  stop\n\nnow ", ["Don", "'", "t", "stop", "now"]),
        ("naïve nai\u0308ve Ünï", ["naïve", "nai\u0308ve", "Ünï"]),
        ("漢字 かな abc漢", ["漢", "字", "か", "な", "abc", "漢"]),
        ("한국어 текст", ["한국어", "текст"]),
        ("ok😀😀", ["ok", "😀", "😀"]),
        ("a\u00a0b\u3000c\u2028d", ["a", "b", "c", "d"]),
        (" \n\t", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_or_single_symbols(text, words):
    assert words_of(pl.Series([text]))["word"].to_list() == words


@given(TEXTS)
def test_words_stand_where_they_are_said_to_and_only_white_space_lies_between(texts):
    found = words_of(pl.Series(texts, dtype=pl.String))
    left = [list(text) for text in texts]
    for number, word, start in found.iter_rows():
        assert texts[number][start : start + len(word)] == word
        assert not any(character.isspace() for character in word if character not in "\x1c\x1d\x1e\x1f")
        left[number][start : start + len(word)] = [""] * len(word)
    assert not "".join("".join(characters) for characters in left).strip()
    assert found.select("text", "start").rows() == sorted(set(found.select("text", "start").rows()))
