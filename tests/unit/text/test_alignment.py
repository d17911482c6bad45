import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers

from distrace.text.alignment import (
    AlignmentError,
    align_generated,
    decode_generated,
    encode_prompt,
    encode_response,
    owners,
)
from distrace.text.prompts import Piece
from distrace.text.splitting import split
from tokenization import BUILDERS, END_OF_THINKING, byte_level, tokenizer_of, without_bytes, word_pieces

NAMES = sorted(BUILDERS)
EXACT = [name for name in NAMES if "NFC" not in name]
WITH_OFFSETS = ["byte-level", "BPE with byte fallback, BOS"]  # where the tokenizer's own are right


FRAGMENTS = st.sampled_from(
    [
        "The row",
        " is",
        ". ",
        "\n",
        "\r\n",
        "  ",
        "é",
        "é",
        "ậ",
        "가",
        "가",
        "今天",
        "🙂",
        "👩\u200d👩\u200d👧",
        "�",
        "\x00",
        "\x1c",
        "\x85",
        "\u2028",
        "$x$",
        "\\(x. y\\)",
        "3.14",
        "ﬁ",
        "İ",
        "ß",
        "\U0010ffff",
        "<s",
        "</think",
        "\xa0",
    ]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=3), max_size=15).map(lambda parts: "".join(parts).replace("▁", "_"))


def pieces_of(text: str, answer_start: int) -> list[Piece]:
    cut = [
        ("<think>\n", None),
        (text[:answer_start], 0),
        (f"\n{END_OF_THINKING}\n\n", None),
        (text[answer_start:], answer_start),
    ]
    return [Piece(*piece) for piece in cut if piece[0]]


def carried(aligned, length: int) -> np.ndarray:
    """How many tokens carry each character."""
    counts = np.zeros(length, int)
    for start, end in zip(aligned.starts[aligned.scored], aligned.ends[aligned.scored], strict=True):
        counts[start:end] += 1
    return counts


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(text=TEXTS, data=st.data())
def test_each_character_is_carried_and_each_token_that_carries_text_has_one_sentence(name, text, data):
    answer_start = data.draw(st.integers(0, len(text)))
    aligned = encode_response(tokenizer_of(name), pieces_of(text, answer_start))
    ids = tokenizer_of(name)(pieces_text(text, answer_start), add_special_tokens=False).input_ids
    assert aligned.token_ids.tolist() == ids
    assert {array.dtype.name for array in (aligned.token_ids, aligned.starts, aligned.ends)} == {"int32"}
    assert (carried(aligned, len(text)) > 0).all()
    assert (np.diff(aligned.starts[aligned.scored]) >= 0).all()
    assert (aligned.starts[~aligned.scored] == -1).all()
    bounds = split(text, "sentences", answer_start)
    owner = owners(aligned.starts, aligned.ends, bounds)
    assert ((owner >= 0) == aligned.scored).all()
    assert (owner < max(1, len(bounds) - 1)).all()


def pieces_text(text: str, answer_start: int) -> str:
    return "".join(piece.text for piece in pieces_of(text, answer_start))


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None)
@given(text=TEXTS, data=st.data())
def test_tokens_without_offsets_align_as_the_tokenizers_own_do(name, text, data):
    pieces = pieces_of(text, data.draw(st.integers(0, len(text))))
    encoded = encode_response(tokenizer_of(name), pieces)
    generated = align_generated(tokenizer_of(name), encoded.token_ids.tolist(), pieces)
    for field in ("token_ids", "starts", "ends", "scored"):
        assert np.array_equal(getattr(encoded, field), getattr(generated, field))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_any_tokens_align_to_what_they_decode_to_even_where_that_is_not_unicode(name, data):
    tokenizer = tokenizer_of(name)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    text = decode_generated(tokenizer, ids)
    aligned = align_generated(tokenizer, ids, [Piece(text, 0)] if text else [])
    assert len(aligned.token_ids) == len(ids)
    assert (carried(aligned, len(text)) > 0).all()


@pytest.mark.parametrize("name", WITH_OFFSETS)
@settings(deadline=None)
@given(text=TEXTS)
def test_offsets_are_the_tokenizers_own_where_these_are_right(name, text):
    tokenizer = tokenizer_of(name)
    aligned = encode_response(tokenizer, [Piece(text, 0)])
    own = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    assert list(zip(aligned.starts.tolist(), aligned.ends.tolist(), strict=True)) == own


def test_byte_tokens_of_one_character_all_carry_it():
    aligned = encode_response(tokenizer_of("byte-level"), [Piece("a\U00020000b", 0)])
    assert list(zip(aligned.starts.tolist(), aligned.ends.tolist(), strict=True)) == [(0, 1), *[(1, 2)] * 4, (2, 3)]


def test_a_space_belongs_to_the_token_that_holds_it():
    tokenizer = tokenizer_of("byte-level")
    aligned = encode_response(tokenizer, [Piece("The row is", 0)])
    assert tokenizer.convert_ids_to_tokens(aligned.token_ids.tolist()) == ["The", "Ġrow", "Ġis"]
    assert aligned.starts.tolist() == [0, 3, 7]
    assert aligned.ends.tolist() == [3, 7, 10]


@pytest.mark.parametrize("name", [name for name in NAMES if "prefix" in name])
def test_a_prefix_space_is_no_character_of_the_text(name):
    aligned = encode_response(tokenizer_of(name), [Piece("The row", 0)])
    assert aligned.starts[aligned.scored][0] == 0
    assert aligned.ends[-1] == 7


def test_a_token_of_text_and_glue_carries_the_text_and_one_of_glue_alone_nothing():
    tokenizer = byte_level()
    pieces = [Piece("The r", None), Piece("ow", 0), Piece(" is", None)]
    aligned = encode_response(tokenizer, pieces)
    assert tokenizer.convert_ids_to_tokens(aligned.token_ids.tolist()) == ["The", "Ġrow", "Ġis"]
    assert aligned.starts.tolist() == [-1, 0, -1]
    assert aligned.ends.tolist() == [-1, 2, -1]
    assert aligned.scored.tolist() == [False, True, False]


def test_composed_characters_are_carried_by_the_tokens_of_their_composition():
    aligned = encode_response(tokenizer_of("byte-level, NFC"), [Piece("e\u0301 x", 0)])
    assert carried(aligned, 4).min() == 1
    assert aligned.ends[0] == 2


def test_case_and_white_space_that_a_normaliser_takes_are_harmless():
    tokenizer = word_pieces()
    text = " The  Row\nis cup. "
    aligned = encode_response(tokenizer, [Piece(text, 0)])
    assert carried(aligned, len(text)).tolist() == [1] * len(text)
    first_of_row = tokenizer.convert_ids_to_tokens(aligned.token_ids.tolist()).index("row")
    assert (aligned.starts[first_of_row], aligned.ends[first_of_row]) == (4, 9)


def test_tokens_of_a_decoder_of_its_own_align_by_decoding_a_little_at_a_time():
    tokenizer = word_pieces()
    text = "the row is cup hat"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    aligned = align_generated(tokenizer, ids, [Piece(text, 0)])
    assert [text[start:end] for start, end in zip(aligned.starts, aligned.ends, strict=True)] == [
        "the", " row", " is", " cup", " hat"
    ]  # fmt: skip


def test_an_id_beyond_the_vocabulary_carries_nothing():
    tokenizer = tokenizer_of("byte-level")
    [inside] = tokenizer("The").input_ids
    aligned = align_generated(tokenizer, [inside, len(tokenizer) + 5], [Piece("The", 0)])
    assert aligned.scored.tolist() == [True, False]


@pytest.mark.parametrize("lost", ["\x07", "Ѐ", "한"])
def test_a_character_that_the_tokenizer_drops_is_named_with_its_place(lost):
    text = f"The row{lost} is"
    pieces = [Piece("row ", None), Piece(text[:5], 0), Piece(" is ", None), Piece(text[5:], 5)]
    with pytest.raises(AlignmentError, match=rf"loses U\+{ord(lost):04X} .*at character 7 of the text"):
        encode_response(without_bytes(), pieces)


def test_a_character_that_the_tokenizer_does_not_know_is_named():
    with pytest.raises(AlignmentError, match=r"U\+4ECA .*at character 4"):
        encode_response(word_pieces(), [Piece("the 今 row", 0)])


def test_a_character_that_stands_for_a_space_in_the_vocabulary_is_named():
    with pytest.raises(AlignmentError, match=r"U\+2581 .*at character 3"):
        encode_response(tokenizer_of("BPE with byte fallback, BOS"), [Piece("The▁row", 0)])


def test_glue_that_the_tokenizer_loses_is_named_as_glue():
    with pytest.raises(AlignmentError, match="character 1 of the glue"):
        encode_response(without_bytes(), [Piece("a\x07", None), Piece("row", 0)])


def test_lone_surrogates_are_refused_by_name():
    with pytest.raises(AlignmentError, match=r"lone surrogate U\+D83D at character 7 of the text"):
        encode_response(tokenizer_of("byte-level"), [Piece("The ", 0), Piece("no \ud83d", 4)])
    with pytest.raises(AlignmentError, match="of the prompt"):
        encode_prompt(tokenizer_of("byte-level"), "\udc00")


@pytest.mark.parametrize("text", ["The row Is", "The row", "The row is cup", "the row is", ""])
def test_tokens_of_another_text_are_refused(text):
    tokenizer = tokenizer_of("byte-level, NFC")
    ids = tokenizer("The row is").input_ids
    with pytest.raises(AlignmentError, match="do not decode to the text"):
        align_generated(tokenizer, ids, [Piece(text, 0)])


def test_an_empty_response_has_no_tokens():
    for tokenizer in (tokenizer_of("byte-level"), tokenizer_of("BPE with byte fallback, BOS"), word_pieces()):
        aligned = encode_response(tokenizer, [])
        assert len(aligned.token_ids) == len(aligned.starts) == 0
        assert len(owners(aligned.starts, aligned.ends, [0])) == 0


def test_bos_is_prepended_where_the_tokenizer_does_so_and_the_prompt_holds_no_special_token():
    with_bos, without = tokenizer_of("BPE with byte fallback, BOS"), tokenizer_of("byte-level")
    bos = with_bos.bos_token_id
    assert encode_prompt(with_bos, "The row\n") == with_bos("The row\n").input_ids
    assert encode_prompt(with_bos, "<s>The row\n").count(bos) == 1
    assert encode_prompt(without, "The row\n") == without("The row\n").input_ids
    assert bos not in encode_response(with_bos, [Piece("The row", 0)]).token_ids


@settings(deadline=None)
@given(st.data())
def test_a_token_is_owned_by_the_sentence_that_holds_most_of_it(data):
    bounds = [0, *np.cumsum(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=12))).tolist()]
    spans = data.draw(st.lists(st.tuples(st.integers(0, bounds[-1] - 1), st.integers(1, 12)), max_size=10))
    starts = np.array([start for start, _ in spans] + [-1])
    ends = np.array([min(start + size, bounds[-1]) for start, size in spans] + [-1])
    expected = []
    for start, end in zip(starts, ends, strict=True):
        held = [min(end, b) - max(start, a) for a, b in itertools.pairwise(bounds)]
        expected.append(held.index(max(held)) if end > start else -1)
    assert owners(starts, ends, bounds).tolist() == expected


def test_a_token_beyond_the_last_sentence_is_refused():
    with pytest.raises(AlignmentError, match="ends at character 9, the text at 5"):
        owners(np.array([0]), np.array([9]), [0, 5])


@pytest.mark.parametrize("name", NAMES)
def test_a_long_garbled_response_aligns(name):
    tokenizer = tokenizer_of(name)
    ids = np.random.default_rng(0).integers(0, len(tokenizer), 30_000).tolist()
    text = decode_generated(tokenizer, ids)
    assert carried(align_generated(tokenizer, ids, [Piece(text, 0)]), len(text)).min() > 0


def test_white_space_that_a_normaliser_strips_goes_to_the_tokens_beside_it():
    aligned = encode_response(byte_level(normalizer=normalizers.Strip()), [Piece("\n\nThe row\n", 0)])
    assert aligned.starts.tolist() == [0, 5]
    assert aligned.ends.tolist() == [5, 10]


def test_white_space_that_an_added_token_takes_goes_to_the_token_after_it():
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<end>", lstrip=True, rstrip=True)])
    aligned = encode_response(tokenizer, [Piece("The\n", 0), Piece("<end>", None), Piece("\nrow", 4)])
    assert carried(aligned, 8).min() == 1


def test_white_space_that_vanishes_for_no_such_reason_is_lost():
    with pytest.raises(AlignmentError, match=r"loses U\+001C"):
        encode_response(without_bytes(), [Piece("The\x1crow", 0)])
