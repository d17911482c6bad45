import gzip
from base64 import b64decode
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import explored
from distrace.errors import DistraceError
from distrace.pages.explorer.chunks import Chunks, by_chunk, cut_bounds, encoded, flat, listed

ARRAYS = st.one_of(
    st.lists(st.floats(), max_size=9).map(lambda values: np.array(values, np.float64)),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9).map(lambda values: np.array(values, np.int32)),
    st.lists(st.integers(0, 255), max_size=9).map(lambda values: np.array(values, np.uint8)),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXTS), st.dictionaries(TEXTS, ARRAYS, max_size=4))
def test_a_chunk_is_read_as_it_was_written(values, arrays):
    found, read = explored.decoded(encoded(values, arrays))
    assert found == values
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_a_chunk_holds_no_time_and_is_the_same_each_time():
    packed = b64decode(encoded({"a": 1}))
    assert packed[4:8] == bytes(4)
    assert encoded({"a": 1}) == encoded({"a": 1})
    assert gzip.decompress(packed)[4:].startswith(b'{"values":{"a":1},"arrays":[]}')


def test_a_number_that_is_not_finite_cannot_stand_among_the_values():
    with pytest.raises(ValueError, match="Out of range float"):
        encoded([float("nan")])


def test_columns_have_null_for_numbers_that_are_not_finite():
    table = pl.DataFrame({"score": [1.5, None, float("nan"), float("inf")], "text": ["a", None, "c", "d"]})
    assert listed(table) == {"score": [1.5, None, None, None], "text": ["a", None, "c", "d"]}


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 30))
def test_a_chunk_holds_as_many_whole_responses_as_fit_and_at_least_one(characters, most):
    bounds = cut_bounds(characters, most)
    assert (bounds[0], bounds[-1]) == (0, len(characters))
    assert bounds == sorted(set(bounds))
    for first, after in pairwise(bounds):
        assert after == first + 1 or sum(characters[first:after]) <= most
        if after < len(characters):
            assert sum(characters[first : after + 1]) > most


@given(st.lists(st.lists(st.integers(), max_size=5)), st.data())
def test_rows_of_parts_are_cut_at_the_bounds_of_chunks(parts, data):
    rows = [row for part in parts for row in part]
    inner = data.draw(st.sets(st.integers(1, len(rows) - 1), max_size=6)) if len(rows) > 1 else set()
    bounds = sorted({0, *inner, len(rows)})
    frames = (pl.DataFrame({"row": part}, schema={"row": pl.Object}) for part in parts)
    found = [chunk["row"].to_list() for chunk in by_chunk(frames, bounds)]
    assert found == [rows[first:after] for first, after in pairwise(bounds)]


@pytest.mark.parametrize("rows", [1, 3])
def test_too_many_or_too_few_rows_for_the_chunks_are_an_error(rows):
    with pytest.raises(DistraceError, match=f"{rows} rows for chunks of 2"):
        list(by_chunk([pl.DataFrame({"row": list(range(rows))})], [0, 2]))


def test_lists_are_joined_with_their_lengths_and_null_is_empty():
    table = pl.DataFrame({"start": [[1, 2], None, [], [3]], "p": [[0.5, 0.25], None, [], [1.0]]})
    found = flat(table, {"start": "i32", "p": "f64"})
    assert {name: array.tolist() for name, array in found.items()} == {
        "counts": [2, 0, 0, 1],
        "start": [1, 2, 3],
        "p": [0.5, 0.25, 1.0],
    }
    assert [str(array.dtype) for array in found.values()] == ["int32", "int32", "float64"]


def test_responses_without_any_sentence_give_empty_arrays():
    found = flat(pl.DataFrame({"start": [None, []]}, schema={"start": pl.List(pl.Int32)}), {"start": "i32"})
    assert (found["counts"].tolist(), found["start"].tolist()) == ([0, 0], [])


def test_a_chunk_is_kept_as_a_script_that_hands_it_to_the_page(tmp_path):
    chunks = Chunks(tmp_path)
    chunks.write("texts-0-0", {"texts": ["</script>"]})
    chunks.write("other", [1])
    text = encoded({"texts": ["</script>"]})
    assert (tmp_path / "texts-0-0.js").read_text() == f'distraceChunk("texts-0-0","{text}");\n'
    assert chunks.read("texts-0-0") == text
    assert chunks.total == len(text) + len(encoded([1]))


def test_two_chunks_of_one_name_are_an_error(tmp_path):
    chunks = Chunks(tmp_path)
    chunks.write("one")
    with pytest.raises(DistraceError, match="two chunks are named 'one'"):
        chunks.write("one")
