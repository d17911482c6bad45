import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.errors import DistraceError
from distrace.text.splitting import SPLITTERS, split

FRAGMENTS = st.sampled_from(
    [
        ". ",
        "! ",
        "...",
        "…",
        "\n",
        "\r\n",
        "\n\n",
        " ",
        "\t",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "```",
        "`",
        "1. ",
        "e.g. ",
        "\\begin{align}",
        "\\end{align}",
        "A",
        "b",
        "3.14",
        "5!",
        '"',
        ")",
        "**",
        "。",
        "？",
        "\u200d",
        "\u2028",
        "\x1c",
        "é",
    ]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=3), max_size=40).map("".join)


def sentences(text: str, splitter: str = "sentences", answer_start: int = 0) -> list[str]:
    bounds = split(text, splitter, answer_start)
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


@settings(deadline=None)
@given(TEXTS, st.sampled_from(sorted(SPLITTERS)), st.data())
def test_sentences_join_to_the_text_and_none_is_empty(text, splitter, data):
    answer_start = data.draw(st.integers(0, len(text)))
    parts = sentences(text, splitter, answer_start)
    assert "".join(parts) == text
    assert all(parts)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(sorted(SPLITTERS)))
def test_white_space_alone_is_no_sentence(text, splitter):
    parts = sentences(text, splitter)
    assert len(parts) <= 1 or not any(part.isspace() for part in parts)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(sorted(SPLITTERS)), st.data())
def test_reasoning_and_answer_share_no_sentence(text, splitter, data):
    answer_start = data.draw(st.integers(0, len(text)))
    assert answer_start in split(text, splitter, answer_start)


@pytest.mark.parametrize("splitter", sorted(SPLITTERS))
def test_a_text_of_nothing_has_no_sentence_and_one_of_white_space_has_one(splitter):
    assert split("", splitter) == [0]
    assert split(" \n\n ", splitter) == [0, 4]


@pytest.mark.parametrize(
    "parts",
    [
        ["One.", " Two!", " Three?", " Four… ", "Five"][:3],
        ["The row is cup hat.", " We want place 3.", " The answer is cup."],
        ["One.\n", "Two.\n\n  \n", "  Three"],
        ["One. \r\n", "Two\r", "Three"],
        ['He said "stop."', " Then (so it was.)", " **Bold.**", " \u201cQuoted.\u201d", " End"],
        ["今天。", "明天！", "“后天？”", "好"],
        ["\n  One.", " Two"],
        ["It is 3.14 and 2,000.5.", " Then v1.2.3 came.", " See a.b.c"],
        ["Use e.g. this, i.e. that, cf. Fig. 3 and Eq. (2), vs. others.", " End"],
        ["Mr. Smith met Dr. Jones.", " End"],
        ["It is No. 5.", " No.", " That is wrong"],
        ["Cups, hats, etc. are things, etc.", " Next"],
        ["J. Smith wrote it.", " George W. Bush read it.", " J. R. R. Tolkien, too"],
        ["The answer is A.", " Then the other is B.", " So do I.", " End"],
        ["Hmm... wait.", " Hmm...", " No… so.", " Wait…", " Yes"],
        ['"Stop!" he said.', ' "Go!"', " She went"],
        ["There are 5! ways.", " And 5! = 120.", " Wow!", " so it is"],
        ["1. Foo is bar.", " Baz.\n", "2. Qux\n", "**3.** Bold\n", "- 4. Four\n", "IV. Five\n", "Step 6. Six"],
        ["Let $a.$", " Then $x. y$ and \\(p. q\\).", " Then $$r. s$$ so"],
        ["We get\n", "\\[\nx = 1. \\\\\ny\n\\]\n", "so \\begin{align*}\nx. y\n\\end{align*} holds.", " End"],
        ["It costs $5.", " Then $10 each.", " With $x. y$ it is", "\n"][:3],
        ["Open \\[ x.", " More.\n\n", "Next.", " One \\( more.", " End"],
        ["Text.\n", "```python\n", "x = 1. + y. z\n\n", "print(x)\n", "```\n", "Then.", " End"],
        ["```\n", "Never closed.", " So it is text"],
        ["He paid \\$5.", " Then \\$6"],
    ],
)
def test_sentences_are_those_a_reader_sees(parts):
    assert sentences("".join(parts)) == parts


def test_white_space_before_the_answer_belongs_to_the_reasoning():
    assert sentences("Think. \n\nAnswer. End", answer_start=9) == ["Think. \n\n", "Answer.", " End"]


def test_an_answer_of_white_space_is_a_sentence_of_its_own():
    assert sentences("Think.\n", answer_start=6) == ["Think.", "\n"]


def test_lines_and_paragraphs_end_where_they_end():
    text = "One. Two\nThree\n\n \nFour\r\n\r\nFive"
    assert sentences(text, "lines") == ["One. Two\n", "Three\n\n \n", "Four\r\n\r\n", "Five"]
    assert sentences(text, "paragraphs") == ["One. Two\nThree\n\n \n", "Four\r\n\r\n", "Five"]


def test_an_unknown_splitter_is_named_with_those_there_are():
    with pytest.raises(DistraceError, match=r"'words'.*sentences, lines, paragraphs"):
        split("text", "words")


@pytest.mark.parametrize(
    "unit",
    [
        ".",
        ". ",
        '."',
        "a. ",
        "A. B",
        "1. ",
        "- ",
        "\\( ",
        "\\[",
        "\\begin{a} ",
        "$x ",
        "$",
        ".\\",
        "\n ",
        " ",
        "```\n",
        "*",
        "J.",
    ],
)
def test_long_texts_without_an_end_are_split_all_the_same(unit):
    text = unit * (100_000 // len(unit))
    assert "".join(sentences(text)) == text
