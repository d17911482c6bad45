"""The data files of an export, as their readers see them."""

import json

import polars as pl
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from distrace.errors import DistraceError
from distrace.export.files import LLAMA_FACTORY, PARQUET, TRL, write_files


def frame(*names: str, as_messages: bool = False) -> pl.DataFrame:
    def of_trl(role: str) -> list:
        return [[{"role": role, "content": name}] if as_messages else name for name in names]

    return pl.DataFrame(
        {
            "source": names,
            "question": [f"What is {name}?" for name in names],
            "text": [f"It is “{name}”.\n" for name in names],
            "answer_start": 0,
            "rollouts_fingerprint": "f",
            "prompt": of_trl("user"),
            "completion": of_trl("assistant"),
            "instruction": names,
            "output": names,
        }
    )


ABOUT = pl.DataFrame(
    {"rollout_id": ["a", "b", "c"], "rank": [1, 2, 1], "grape": [-0.5, -1.0, -2.0], "ifd": [None, 0.5, None]}
)


def test_all_files_hold_the_same_rows_in_order_with_what_is_said_about_them(tmp_path):
    assert write_files(tmp_path, [frame("b"), frame("a", "c")], ABOUT) == 3
    table = pl.read_parquet(tmp_path / PARQUET)
    assert table.columns == ["question", "response", "answer_start", *ABOUT.columns, "rollouts_fingerprint"]
    assert table.row(0) == ("What is b?", "It is “b”.\n", 0, "b", 2, -1.0, 0.5, "f")
    for path, texts in ((TRL, ("prompt", "completion")), (LLAMA_FACTORY, ("instruction", "output"))):
        lines = [json.loads(line) for line in (tmp_path / path).read_text("utf-8").splitlines()]
        assert lines[0] == dict.fromkeys(texts, "b") | {
            "rollout_id": "b",
            "rank": 2,
            "grape": -1.0,
            "rollouts_fingerprint": "f",
        }
        assert [line["rollout_id"] for line in lines] == ["b", "a", "c"]


@pytest.mark.parametrize("lacking", [None, float("nan"), float("inf")])
def test_a_score_that_a_row_lacks_is_in_the_parquet_file_alone(tmp_path, lacking):
    about = ABOUT.with_columns(ifd=pl.Series([lacking, 0.5, 0.5]))
    write_files(tmp_path, [frame("a", "b", "c")], about)
    assert "ifd" in pl.read_parquet(tmp_path / PARQUET).columns
    for path in (TRL, LLAMA_FACTORY):
        assert all("ifd" not in json.loads(line) for line in (tmp_path / path).read_text().splitlines())


def test_messages_are_lists_of_roles_and_contents(tmp_path):
    write_files(tmp_path, [frame("a", as_messages=True)], ABOUT)
    [line] = map(json.loads, (tmp_path / TRL).read_text().splitlines())
    assert line["prompt"] == [{"role": "user", "content": "a"}]
    assert line["completion"] == [{"role": "assistant", "content": "a"}]


def test_parquet_is_written_frame_by_frame_as_types_that_every_reader_knows(tmp_path):
    write_files(tmp_path, [frame("b"), frame("a", "c")], ABOUT)
    about = pq.ParquetFile(tmp_path / PARQUET)
    assert about.num_row_groups == 2
    assert set(map(str, about.schema_arrow.types)) == {"string", "int32", "int64", "double"}


def test_frames_of_which_all_rows_were_rejected_add_no_row(tmp_path):
    assert write_files(tmp_path, [frame("a").clear(), frame("a"), frame("a").clear()], ABOUT) == 1
    assert len(pl.read_parquet(tmp_path / PARQUET)) == 1


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_files(tmp_path / name, [frame("b"), frame("a", "c")], ABOUT)
    for path in (PARQUET, TRL, LLAMA_FACTORY):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes()


def test_datasets_reads_the_json_lines_with_their_types(tmp_path):
    write_files(tmp_path, [frame("b"), frame("a", "c")], ABOUT)
    found = load_dataset("json", data_files=str(tmp_path / TRL), split="train", cache_dir=str(tmp_path / "cache"))
    assert (found["rank"], found["grape"]) == ([2, 1, 1], [-1.0, -0.5, -2.0])


@pytest.mark.parametrize("name", ["text", "prompt", "response", "labels"])
def test_a_score_with_a_name_that_trainers_read_is_refused(tmp_path, name):
    with pytest.raises(DistraceError, match=f"the scores \\['{name}'\\] have names"):
        write_files(tmp_path, [frame("a")], ABOUT.rename({"grape": name}))
