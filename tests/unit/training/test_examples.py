"""Responses that become examples on disk, with a tokenizer that holds any text."""

import json
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from distrace.errors import DistraceError
from distrace.rejects import Reject
from distrace.settings import ModelSettings
from distrace.training import examples
from distrace.training.examples import choose_held_out, held_out_file, pack_examples, write_examples
from tiny import tiny_tokenizer
from trainings import UNLIKE, example, write_rows

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
SMOLLM2 = ROOT / "examples/smollm2-gsm8k/model"
IN_CI = os.environ.get("CI") == "true"
PLAIN = ModelSettings(format="plain")

needs_real = pytest.mark.skipif(
    not (DATA.is_dir() and SMOLLM2.is_dir()) and not IN_CI, reason="needs ../shared/data and SmolLM2"
)


def frame(*texts: str, question: str = "Add?") -> pl.DataFrame:
    sources = [f"r{number}" for number in range(len(texts))]
    return pl.DataFrame({"source": sources, "question": question, "text": texts, "answer_start": 0})


def rows_of(file: Path) -> list[dict]:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


def written(file: Path, frames: list[pl.DataFrame], tokenizer, settings=PLAIN, max_length: int = 99, threads: int = 2):
    """Write the frames, and give the examples back with the rejects."""
    found = write_examples(file, frames, tokenizer, settings, max_length, threads)
    rows = rows_of(file)
    assert (found.trained, found.held_out) == (len(rows), 0)
    return rows, found.rejects


def test_only_the_response_and_its_end_carry_loss(tmp_path):
    tokenizer = tiny_tokenizer()
    [example], rejects = written(tmp_path / "e", [frame("Three.", question="Add 1 and 2.")], tokenizer)
    learnt = [token for token, label in zip(example["input_ids"], example["labels"], strict=True) if label == token]
    assert tokenizer.decode(learnt[:-1]) == "Three."
    assert learnt[-1] == tokenizer.eos_token_id
    assert set(example["labels"][: -len(learnt)]) == {-100}
    assert tokenizer.decode(example["input_ids"]).startswith("Add 1 and 2.\n")
    assert rejects == []


def test_examples_that_are_too_long_are_rejected_with_their_length(tmp_path):
    tokenizer = tiny_tokenizer()
    long = "No. " * 50
    rows, rejects = written(tmp_path / "e", [frame("No.", long)], tokenizer, max_length=32)
    length = len(tokenizer("Add?\n").input_ids) + len(tokenizer(long).input_ids) + 1
    assert len(rows) == 1
    assert rejects == [Reject("r1", 1, f"{length} tokens, more than max_length 32")]


def test_rows_are_numbered_through_all_frames_and_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "ROWS_AT_ONCE", 2)
    tokenizer = tiny_tokenizer()
    outside = pl.Series("answer_start", [0, 9, 0])
    frames = [frame("1", "2", "3 " * 50), frame(), frame("4", "short", "5").with_columns(outside)]
    rows, rejects = written(tmp_path / "e", frames, tokenizer, max_length=32)
    texts = [tokenizer.decode([t for t in row["labels"] if t >= 0][:-1]) for row in rows]
    assert texts == ["1", "2", "4", "5"]
    assert [(reject.source, reject.row) for reject in rejects] == [("r2", 2), ("r1", 4)]
    assert "outside of the text" in rejects[1].reason


def test_an_error_that_is_no_bad_row_names_the_row(tmp_path):
    frames = [frame("1"), frame("2", "3").with_columns(text=pl.Series(["2", None]))]
    with pytest.raises(TypeError) as raised:
        written(tmp_path / "e", frames, tiny_tokenizer())
    assert raised.value.__notes__ == ["in row 2, r1"]


def test_examples_of_held_out_questions_are_in_a_file_of_their_own_and_rejected_like_the_others(tmp_path):
    tokenizer, file = tiny_tokenizer(), tmp_path / "e"
    frames = [frame("1", "2", question="Add?"), frame("3", "4 " * 50, question="Sum?"), frame("5", question="Add?")]
    found = write_examples(file, frames, tokenizer, PLAIN, 32, 2, held_out={"Sum?"})

    def texts(path: Path) -> list[str]:
        return [tokenizer.decode([t for t in row["labels"] if t >= 0][:-1]) for row in rows_of(path)]

    assert texts(file) == ["1", "2", "5"]
    assert texts(held_out_file(file)) == ["3"]
    assert (found.trained, found.held_out, [reject.row for reject in found.rejects]) == (3, 1, [3])


@pytest.mark.parametrize(("held_out", "count"), [(3, 3), (0.25, 5), (0.01, 1), (19, 19)])
def test_a_number_or_a_share_of_the_questions_is_held_out(held_out, count):
    asked = [f"Question {number}?" for number in range(20)]
    chosen = choose_held_out(asked * 2, held_out, seed=0)
    assert len(chosen) == count
    assert chosen < set(asked)
    assert chosen == choose_held_out(asked[::-1], held_out, seed=0)


def test_another_seed_holds_out_other_questions_and_another_selection_the_same():
    asked = [f"Question {number}?" for number in range(100)]
    chosen = choose_held_out(asked, 10, seed=0)
    assert chosen != choose_held_out(asked, 10, seed=1)
    assert chosen <= choose_held_out([*chosen, *asked[:50]], 20, seed=0)


@pytest.mark.parametrize("held_out", [4, 5, 0.99])
def test_a_training_is_not_left_without_questions(held_out):
    with pytest.raises(DistraceError, match=f"held_out {held_out} leaves no question to train on, of 4"):
        choose_held_out("abcd", held_out, seed=0)


def test_packs_hold_each_example_whole_and_once_and_are_no_longer_than_allowed(tmp_path):
    file = write_rows(tmp_path / "examples.arrow")
    count = pack_examples(file, max_length=45)
    packs = rows_of(file)
    assert len(packs) == count < len(UNLIKE)
    found = []
    for pack in packs:
        assert len(pack["input_ids"]) == len(pack["labels"]) == sum(pack["seq_lengths"]) <= 45
        end = 0
        for length in pack["seq_lengths"]:
            start, end = end, end + length
            found.append({key: pack[key][start:end] for key in ("input_ids", "labels")})
    expected = [example(*pair) for pair in UNLIKE]
    assert sorted(found, key=str) == sorted(expected, key=str)


@needs_real
@pytest.mark.parametrize("threads", [1, 3])
def test_real_responses_have_the_tokens_of_prompt_and_text_and_an_end(tmp_path, threads):
    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    lines = (DATA / "math_cot_100.jsonl").read_text("utf-8").splitlines()[:20]
    pairs = [(row["question"], text) for row in map(json.loads, lines) for text in row["code"]]
    frames = [frame(text, question=question) for question, text in pairs]
    rows, rejects = written(tmp_path / "e", frames, tokenizer, ModelSettings(), 10_000, threads)
    assert (len(rows), rejects) == (len(pairs), [])
    for row, (question, text) in zip(rows, pairs, strict=True):
        message = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        response = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        assert row["input_ids"] == prompt + response
        assert row["labels"] == [-100] * len(prompt) + response
