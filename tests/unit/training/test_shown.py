"""Examples as text, token by token."""

import re

import polars as pl
import pyarrow as pa

from distrace.settings import ModelSettings
from distrace.training.examples import SCHEMA, pack_examples, write_examples
from distrace.training.shown import write_shown
from tiny import tiny_tokenizer

PLAIN = ModelSettings(format="plain")


def frame(*texts: str, question: str = "Add?") -> pl.DataFrame:
    return pl.DataFrame({"source": "r", "question": question, "text": texts, "answer_start": 0})


def shown(folder, *texts, pack: int | None = None, **options) -> str:
    """Write texts as examples, show them and return what is shown."""
    tokenizer, file = tiny_tokenizer(), folder / "examples.arrow"
    write_examples(file, [frame(*texts)], tokenizer, PLAIN, 200, 1)
    if pack:
        pack_examples(file, pack)
    write_shown(folder / "examples.txt", file, tokenizer, **options)
    return (folder / "examples.txt").read_text("utf-8")


def tokens(text: str) -> list[tuple[int, str, str]]:
    """Return number, mark and text of each token that is shown."""
    found = re.findall(r"^ *(\d+) +\d+ ([+.]) (.+)$", text, re.MULTILINE)
    return [(int(number), mark, token) for number, mark, token in found]


def test_every_token_is_shown_with_whether_it_is_learnt(tmp_path):
    found = tokens(shown(tmp_path, "Four apples."))
    assert [number for number, _, _ in found] == list(range(len(found)))
    read, learnt = ("".join(token for _, mark, token in found if mark == wanted) for wanted in ".+")
    assert read == "Add?⏎"
    end = tiny_tokenizer().eos_token
    assert learnt == f"Four␣apples.{end} [special]"


def test_white_space_and_parts_of_characters_can_be_seen_and_nothing_moves_a_terminal(tmp_path):
    text = shown(tmp_path, "a\tb\n\x1b[2J é 😀")
    assert "⇥" in text
    assert "\\x1b" in text
    assert not set(map(chr, range(32))) & set(text) - {"\n"}
    assert "\ufffd" not in text
    learnt = "".join(token for _, mark, token in tokens(text) if mark == "+")
    assert learnt.startswith("a⇥b⏎\\x1b[2J␣")


def test_the_examples_of_a_pack_are_shown_apart_and_counted(tmp_path):
    text = shown(tmp_path, "One.", "Two.", "Three.", pack=200)
    lengths = [
        int(length) for length in re.findall(r"^--- example \d of the pack: (\d+) tokens ---$", text, re.MULTILINE)
    ]
    assert len(lengths) == 3
    learnt = sum(mark == "+" for _, mark, _ in tokens(text))
    assert f"=== pack 1: 3 examples, {sum(lengths)} tokens, {learnt} learnt ===" in text
    assert [number for number, _, _ in tokens(text)] == [n for length in lengths for n in range(length)]
    assert "first 1 of 1 packs of examples" in text


def test_the_first_token_of_an_example_is_never_learnt(tmp_path):
    tokenizer, file = tiny_tokenizer(), tmp_path / "examples.arrow"
    row = {"input_ids": [5, 6], "labels": [5, 6]}
    with pa.ipc.new_stream(str(file), SCHEMA) as sink:
        sink.write_batch(pa.RecordBatch.from_pylist([row], schema=SCHEMA))
    write_shown(tmp_path / "examples.txt", file, tokenizer)
    marks = [mark for _, mark, _ in tokens((tmp_path / "examples.txt").read_text("utf-8"))]
    assert marks == [".", "+"]


def test_so_many_examples_are_shown_and_no_more(tmp_path):
    text = shown(tmp_path, *map(str, range(12)), shown=3)
    assert text.count("=== example ") == 3
    assert "first 3 of 12 examples" in text
