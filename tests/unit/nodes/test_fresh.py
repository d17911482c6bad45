from dataclasses import replace
from pathlib import Path

import pytest

from builders import write_sums
from distrace.models import read_card
from distrace.nodes.fresh import Fresh, train_tokenizer, write_fresh


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_sums(tmp_path_factory.mktemp("questions") / "0.arrow")


def test_a_fresh_model_is_the_same_for_the_same_seed_and_another_for_another(tmp_path, questions):
    settings = Fresh(vocabulary=300, hidden=16, layers=1, heads=2, context_length=128)
    cards = []
    for name, chosen in (("a", settings), ("b", settings), ("c", replace(settings, seed=1))):
        write_fresh("fresh", chosen, questions, tmp_path / name / "model.json")
        cards.append(read_card(tmp_path / name / "model.json").fingerprint)
    assert cards[0] == cards[1] != cards[2]


@pytest.mark.parametrize("words", [True, False])
def test_a_fresh_tokenizer_can_hold_any_text(words):
    tokenizer = train_tokenizer(["The sum is 3."], Fresh(vocabulary=280, words=words))
    text = "The sum ≠ 數 \U0001f600\r\n\x00 is 3."
    assert tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False) == text
