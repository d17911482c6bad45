"""Where tokens lie in their text, as it is stored and as it is read."""

import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.spans import packed

LARGEST = 2**31 - 1
CHARACTER = st.integers(0, 60) | st.integers(0, LARGEST)
RESPONSES = st.lists(st.lists(st.tuples(CHARACTER, CHARACTER).map(sorted), max_size=6), max_size=6)


def row(number: int, tokens: list) -> dict:
    return {
        "rollout_id": f"r{number}",
        "token_ids": [7] * len(tokens),
        "starts": [start for start, _ in tokens],
        "ends": [end for _, end in tokens],
        "logprobs": [-0.5] * len(tokens),
        "ranks": None,
    }


@pytest.fixture
def path(tmp_path) -> Path:
    """Log-probs of two responses; in the second, two tokens share a character."""
    rows = [row(0, [(0, 3), (3, 4)]), row(1, []), row(2, [(0, 1), (0, 1), (2, 9)])]
    write(tmp_path / "0.arrow", kinds.LOGPROBS, rows, {})
    return tmp_path / "0.arrow"


@settings(deadline=None, max_examples=100)
@given(RESPONSES)
def test_spans_that_are_written_are_read(responses):
    rows = [row(number, tokens) for number, tokens in enumerate(responses)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.arrow"
        write(path, kinds.LOGPROBS, rows, {})
        found = open_artifact(path, kinds.LOGPROBS).read()
    assert found.to_dicts() == rows
    assert found.schema == pl.Schema(pl.from_arrow(kinds.LOGPROBS.schema.empty_table()).schema)


def test_a_file_holds_gaps_and_lengths_in_few_bits(path):
    stored = pl.read_ipc(path)
    assert stored.columns == ["rollout_id", "token_ids", "gaps", "lengths", "logprobs", "ranks"]
    assert stored["gaps"].to_list() == [[0, 0], [], [0, -1, 1]]
    assert stored["lengths"].to_list() == [[3, 1], [], [1, 1, 7]]
    assert stored["gaps"].dtype == stored["lengths"].dtype == pl.List(pl.Int16)


def test_numbers_that_need_more_bits_get_them(path):
    write(path, kinds.LOGPROBS, [row(0, [(0, 2**14)])], {})
    assert pl.read_ipc(path)["lengths"].dtype == pl.List(pl.Int32)


def test_texts_that_are_longer_together_than_any_number_of_32_bits_are_read(path):
    rows = [row(number, [(0, LARGEST)]) for number in range(3)]
    write(path, kinds.LOGPROBS, rows, {})
    assert open_artifact(path).read().to_dicts() == rows


@pytest.mark.parametrize("names", [("starts",), ("ends", "rollout_id"), ("logprobs",), ("starts", "ranks", "ends")])
def test_some_columns_are_those_of_all(path, names):
    found = open_artifact(path)
    assert found.read(*names).equals(found.read().select(names))


def test_a_file_that_holds_starts_and_ends_is_read_as_it_is(path):
    table = open_artifact(path).read()
    with pa.memory_map(str(path)) as source:
        about = pa.ipc.open_file(source).schema.metadata
    whole = table.to_arrow().replace_schema_metadata(about)
    with pa.ipc.new_file(str(path), whole.schema) as sink:
        sink.write_table(whole)
    assert open_artifact(path, kinds.LOGPROBS).read().equals(table)
    assert open_artifact(path, kinds.LOGPROBS).read("ends").equals(table.select("ends"))


def test_the_recipe_of_the_docs_gives_starts_and_ends(path):
    table = pl.read_ipc(path)
    table = table.with_columns(ends=(pl.col("gaps") + pl.col("lengths")).list.eval(pl.element().cum_sum()))
    table = table.with_columns(starts=pl.col("ends") - pl.col("lengths"))
    for name in ("starts", "ends"):
        assert table[name].to_list() == open_artifact(path).read()[name].to_list()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"ends": [3]}, "different lengths"), ({"ends": [3, None]}, "null"), ({"starts": None, "ends": None}, "null")],
)
def test_starts_that_have_no_ends_and_nulls_are_refused(path, wrong, reason):
    with pytest.raises(DistraceError, match=reason):
        write(path, kinds.LOGPROBS, [row(0, [(0, 3), (3, 4)]) | wrong], {})


def test_a_table_in_pieces_is_packed_as_one_in_one_piece():
    table = pa.Table.from_pylist([row(n, [(n, n + 2), (n + 2, n + 5)]) for n in range(5)], kinds.LOGPROBS.schema)
    in_pieces = pa.concat_tables([table.slice(3, 2), table.slice(0, 0), table.slice(1, 2)])
    whole = packed(pa.Table.from_pylist(in_pieces.to_pylist(), kinds.LOGPROBS.schema))
    assert packed(in_pieces).to_pylist() == whole.to_pylist()
