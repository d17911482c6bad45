import pytest

from distrace.errors import BadRow
from distrace.settings import ModelSettings
from distrace.text.alignment import AlignmentError, align_generated, decode_generated
from distrace.text.beginnings import Beginning, beginning, begun_characters, cut_place
from distrace.text.prompts import generated_pieces, load_format
from distrace.text.splitting import split
from tiny import tiny_tokenizer
from tokenization import word_pieces

TEXT = "First, add 4 and 3. That is 7.\nThen take 2 away. So 5 are left. The answer is 5."
THINK = "{{ messages[0].content }}\n"


def form_of(name: str, tokenizer):
    return load_format(ModelSettings(format=name), tokenizer)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.7])
def test_a_beginning_ends_where_any_of_the_sentences_beyond_the_share_begins(share):
    found = {cut_place(TEXT, 0, share, draw) for draw in range(100)}
    assert found == {place for place in split(TEXT, "sentences") if share * len(TEXT) < place < len(TEXT)}
    assert found


def test_the_answer_begins_a_sentence():
    assert cut_place("Seven it is7", 11, 0.9, 0) == 11


def test_within_the_last_sentence_a_beginning_ends_behind_a_word():
    text = "Short. But this sentence goes on and on"
    assert {text[: cut_place(text, 0, 0.5, draw)] for draw in range(100)} == {
        "Short. But this sentence",
        "Short. But this sentence goes",
        "Short. But this sentence goes on",
        "Short. But this sentence goes on and",
    }


@pytest.mark.parametrize("text", ["", "word", "Nothing. Beyond-the-half-is-a-single-word"])
def test_what_has_no_place_to_cut_begins_nothing(text):
    with pytest.raises(BadRow, match=r"no sentence or word .* ends beyond 0\.5 of it"):
        cut_place(text, 0, 0.5, 3)


def test_the_tokens_of_a_beginning_are_the_authors_own_with_its_glue():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINK
    form = form_of("think", tokenizer)
    begun = beginning(form, tokenizer, TEXT, 31, 19)
    assert begun.text == TEXT[:19]
    assert decode_generated(tokenizer, begun.token_ids) == "<think>\n" + TEXT[:19]
    answered = beginning(form, tokenizer, TEXT, 31, 48)
    assert decode_generated(tokenizer, answered.token_ids) == f"<think>\n{TEXT[:31]}\n</think>\n\n{TEXT[31:48]}"


def test_what_a_format_writes_after_an_answer_is_not_part_of_a_beginning():
    tokenizer = tiny_tokenizer()
    form = form_of('{%- set after = "<end>" -%}{{ message }}', tokenizer)
    begun = beginning(form, tokenizer, TEXT, 0, 19)
    assert decode_generated(tokenizer, begun.token_ids) == TEXT[:19]


def test_a_beginning_with_a_marker_of_the_format_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINK
    with pytest.raises(AlignmentError, match="</think>"):
        beginning(form_of("think", tokenizer), tokenizer, "So </think> it is. Yes.", 0, 18)


def test_a_beginning_that_a_tokenizer_would_change_is_refused():
    tokenizer = word_pieces()
    with pytest.raises(AlignmentError, match="the tokens of the beginning do not decode to it"):
        beginning(form_of("plain", tokenizer), tokenizer, "The row is key. And bag.", 0, 15)


def test_beginning_and_continuation_align_as_the_tokens_of_one_response():
    tokenizer = tiny_tokenizer()
    form = form_of("plain", tokenizer)
    begun = beginning(form, tokenizer, TEXT, 0, 19)
    tokens = begun.token_ids + tokenizer(" It is 7").input_ids
    aligned = align_generated(tokenizer, tokens, generated_pieces(form, decode_generated(tokenizer, tokens)))
    assert aligned.ends[len(begun.token_ids) - 1] == aligned.starts[len(begun.token_ids)] == 19


def test_white_space_before_a_marker_belongs_to_the_glue_not_to_the_beginning():
    assert begun_characters(Beginning("One.\n", []), "One. Two.") == 4
    assert begun_characters(Beginning("One.\n", []), "One.\nTwo.") == 5
