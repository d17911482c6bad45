"""Real responses, made harder, under unlike tokenizers: nothing of a text is lost, or its loss is named.

Each is a chain of thought of a real model, with one thing in it that tokenizers and splitters stumble over.
"""

import json
import os
import random
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distrace.settings import ModelSettings
from distrace.text.alignment import AlignmentError, align_generated, encode_response, owners
from distrace.text.prompts import load_format, response_pieces
from distrace.text.splitting import split
from tokenization import sentencepiece, tokenizer_of

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
SMOLLM2 = ROOT / "examples/smollm2-gsm8k/model"
IN_CI = os.environ.get("CI") == "true"

needs_data = pytest.mark.skipif(not DATA.is_dir() and not IN_CI, reason="needs real responses in ../shared/data")
needs_smollm2 = pytest.mark.skipif(
    not SMOLLM2.is_dir() and not IN_CI, reason="needs SmolLM2: python examples/smollm2-gsm8k/fetch.py"
)

PUT_IN = {
    "as it is": "",
    "CJK": "今天我们来计算。所以答案是七！ほんとう？はい。",
    "emoji with joiners": "👩‍👩‍👧‍👦 🏳️‍🌈👍🏽 1️⃣.",
    "combining marks": "e\u0301 ậ 한국 ﬁ İ \u0bb8\u0bcd 𝒳",
    "control characters": "\x00\x07\x1b[31m\x7f\x85\x1c",
    "unusual spaces": "\u00a0\u2028\u200b\ufeff \t  \x0b\x0c",
    "rare bytes": "\x04 and \U00040000",
    "unfinished math and tags": "$x. \\(y. </thin <s <|im \\begin{align",
}
LINE_ENDS = {"as it is": "\n", "CRLF": "\r\n", "CR": "\r"}


@cache
def responses() -> list[tuple[str, int, str]]:
    """Return 200 texts with the start of their answer, and what was put in; the same every time."""
    chains = [json.loads(line)["code"] for line in (DATA / "math_cot_100.jsonl").read_text("utf-8").splitlines()]
    solved = (DATA / "gsm8k_model_solutions.jsonl").read_text("utf-8").splitlines()
    texts = [text for answers in chains for text in answers][::5] + [
        json.loads(line)["175b_verification"]["solution"] for line in solved[:40]
    ]
    draw = random.Random(0)
    found = []
    for number, text in enumerate(texts):
        kind = list(PUT_IN)[number % len(PUT_IN)]
        text = text.replace("\n", draw.choice([*LINE_ENDS.values(), "\n"]))
        for _ in range(3):
            place = draw.randrange(len(text) + 1)
            text = text[:place] + PUT_IN[kind] + text[place:]
        paragraph = text.rfind("\n\n") + 2
        found.append((text, draw.choice([0, paragraph, draw.randrange(len(text) + 1), len(text)]), kind))
    return found


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    if name == "SmolLM2":
        return AutoTokenizer.from_pretrained(SMOLLM2)
    found = sentencepiece("bpe", "always", bos=True) if name == "SentencePiece" else tokenizer_of("byte-level")
    found.chat_template = "{{ messages[0]['content'] }}"
    return found


@cache
def vocabulary(name: str) -> set[str]:
    return set(tokenizer(name).get_vocab())


def places_lost(name: str, text: str) -> list[int]:
    """Return the characters whose bytes are not all in a byte-level vocabulary, as it says itself."""
    if name == "SentencePiece":
        return []
    known = vocabulary(name)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lost = {char for char in set(text) if not all(s in known for s in level.pre_tokenize_str(char)[0][0])}
    return [place for place, char in enumerate(text) if char in lost]


NAMES = ["byte-level", "SentencePiece", pytest.param("SmolLM2", marks=needs_smollm2)]


@needs_data
@pytest.mark.parametrize("form", ["plain", "think"])
@pytest.mark.parametrize("name", NAMES)
def test_of_200_real_responses_each_token_and_character_has_its_sentence_or_the_loss_is_named(name, form):
    spoken = load_format(ModelSettings(format=form), tokenizer(name))
    rejected = 0
    for text, answer_start, _ in responses():
        pieces = response_pieces(spoken, text, answer_start)
        if lost := places_lost(name, text):
            rejected += 1
            with pytest.raises(AlignmentError, match=rf"loses U\+{ord(text[lost[0]]):04X} .*at character {lost[0]} of"):
                encode_response(tokenizer(name), pieces)
            continue
        aligned = encode_response(tokenizer(name), pieces)
        written = "".join(piece.text for piece in pieces)
        assert aligned.token_ids.tolist() == tokenizer(name)(written, add_special_tokens=False).input_ids
        bounds = split(text, "sentences", answer_start)
        sentences = [text[start:end] for start, end in pairwise(bounds)]
        assert "".join(sentences) == text
        assert all(sentences)
        owner = owners(aligned.starts, aligned.ends, bounds)
        assert ((owner >= 0) == aligned.scored).all()
        assert (np.diff(owner[aligned.scored]) >= 0).all()
        carried = np.zeros(len(text) + 1, int)
        np.add.at(carried, aligned.starts[aligned.scored], 1)
        np.add.at(carried, aligned.ends[aligned.scored], -1)
        assert (carried.cumsum()[:-1] > 0).all()
        generated = align_generated(tokenizer(name), aligned.token_ids.tolist(), pieces)
        for field in ("starts", "ends", "scored"):
            assert np.array_equal(getattr(generated, field), getattr(aligned, field))
    assert len(responses()) == 200
    assert rejected == (25 if name == "SmolLM2" else 0)


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_a_lone_surrogate_in_a_real_response_is_refused_by_its_place(name):
    text, _, _ = responses()[0]
    spoken = load_format(ModelSettings(format="plain"), tokenizer(name))
    with pytest.raises(AlignmentError, match=r"lone surrogate U\+D83D at character 50 of the text"):
        encode_response(tokenizer(name), response_pieces(spoken, f"{text[:50]}\ud83d{text[50:]}", 0))


@needs_smollm2
def test_smollm2_lacks_21_bytes_and_each_character_that_needs_one_is_named():
    characters = [*map(chr, range(0x80)), *(chr(plane << 16) for plane in range(1, 17))]
    spoken = load_format(ModelSettings(format="plain"), tokenizer("SmolLM2"))
    lost = [char for char in characters if places_lost("SmolLM2", char)]
    assert {"\x04", "\x06", "\x13", "\U00040000"} < set(lost)
    for char in characters:
        pieces = response_pieces(spoken, f"So{char}7", 0)
        if char in lost:
            with pytest.raises(AlignmentError, match=rf"loses U\+{ord(char):04X} .*at character 2 of the text"):
                encode_response(tokenizer("SmolLM2"), pieces)
        else:
            assert encode_response(tokenizer("SmolLM2"), pieces).ends[-1] == 4
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    assert len(alphabet - vocabulary("SmolLM2")) == 21
