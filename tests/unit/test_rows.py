import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import rows
from distrace.errors import DistraceError
from distrace.rejects import Reject
from distrace.rows import BadRow, file_digest, raw_rows, read_rows, text_reader, with_lines


def packed(path: Path, text: str) -> None:
    """Write text compressed as the file's name says, in two frames."""
    content = text.encode()
    with path.open("wb") as file:
        for half in (content[:9], content[9:]):
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, {".gz": "gzip", ".zst": "zstd"}[path.suffix]) as stream:
                stream.write(half)
            file.write(sink.getvalue())


def test_an_arrow_file_that_points_beyond_its_texts_is_refused(tmp_path):
    path = tmp_path / "a.arrow"
    pl.DataFrame({"response": ["x" * 300]}).write_ipc(path)
    whole, damaged = (np.int32(length).tobytes() + b"xxxx" for length in (300, 2**30))  # how a view of a text begins
    assert whole in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(whole, damaged))
    with pytest.raises(DistraceError, match=r"a\.arrow: cannot be read: "):
        list(read_rows(path))


ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "Wo?\u2028Da.", "answer": "007"}]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", lambda path: path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS))),
        ("a.json", lambda path: path.write_text(json.dumps(ROWS))),
        ("a.ndjson", lambda path: path.write_text("\n".join(map(json.dumps, ROWS)))),
        ("a.csv", lambda path: pl.DataFrame(ROWS).write_csv(path)),
        ("a.tsv", lambda path: pl.DataFrame(ROWS).write_csv(path, separator="\t")),
        ("a.parquet", lambda path: pl.DataFrame(ROWS).write_parquet(path)),
        ("a.arrow", lambda path: pl.DataFrame(ROWS).write_ipc(path)),
        ("stream.arrow", lambda path: pl.DataFrame(ROWS).write_ipc_stream(path)),
        ("a.jsonl.gz", lambda path: packed(path, "\n".join(map(json.dumps, ROWS)))),
        ("a.jsonl.zst", lambda path: packed(path, "\n".join(map(json.dumps, ROWS)))),
        ("a.json.gz", lambda path: packed(path, json.dumps(ROWS))),
        ("a.csv.zst", lambda path: packed(path, pl.DataFrame(ROWS).write_csv())),
        ("a.csv.gz", lambda path: packed(path, pl.DataFrame(ROWS).write_csv())),
        ("a.tsv.gz", lambda path: packed(path, pl.DataFrame(ROWS).write_csv(separator="\t"))),
    ],
)
def test_the_same_rows_come_from_every_kind_of_file(tmp_path, name, write):
    write(tmp_path / name)
    assert list(read_rows(tmp_path / name)) == ROWS


@pytest.mark.parametrize("line", ["{", "[1]", "3", '"text"', "null", "\ufeff{,}"])
def test_a_line_that_is_no_json_object_is_a_bad_row(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    first, bad, last = read_rows(path)
    assert (first, last) == ({"a": 1}, {"a": 2})
    assert str(bad).startswith("not ")
    assert isinstance(bad, BadRow)


def test_a_line_that_is_not_utf8_is_a_bad_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xff"}\r\n\r\n{"a": 1}\r\n')
    bad, good = read_rows(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRow)
    assert good == {"a": 1}


def test_members_of_a_json_array_that_are_no_objects_are_bad_rows(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, 2]')
    good, bad = read_rows(tmp_path / "a.json")
    assert good == {"a": 1}
    assert isinstance(bad, BadRow)


ZSTD = pa.compress(b'{"a": 1}\n' * 9, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"cannot read '\.txt'; known: \.jsonl, \.ndjson, \.json, \.csv, \.tsv, \.parquet, "),
        ("a.parquet.gz", b"", r"cannot read '\.parquet\.gz'"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.jsonl.zst", ZSTD[:-5], "cannot be read: Truncated compressed stream"),
        ("a.json", b"{}", r"not a JSON array of objects; name it \.jsonl"),
        ("a.json", b'[{"a": 1}', "not JSON"),
        ("a.csv", b"", "cannot be read"),
        ("a.csv", b"a,b\n\xff\xfe,1\n", "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.arrow", b"ARROW1", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DistraceError, match=message) as found:
        list(read_rows(tmp_path / name))
    assert str(tmp_path / name) in str(found.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DistraceError, match=r"no\.jsonl: no such file"):
        list(read_rows(tmp_path / "no.jsonl"))


def test_a_column_gives_its_text():
    assert text_reader("a")({"a": " x \n"}) == " x \n"
    assert text_reader("a")({"a": 145.0}) == "145.0"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"b": "x"}, r"no column 'a'; the row has \['b'\]"),
        ({"a": None}, "column 'a' is null"),
        ({"a": " \n"}, "'a' is empty"),
        ({"a": ["x"]}, "column 'a' holds a list, not text"),
        ({"a": {"x": 1}}, "column 'a' holds a dict, not text"),
        ({"a": "x\ud800"}, "'a' holds a lone surrogate at character 1"),
    ],
)
def test_a_column_without_text_is_a_bad_row(row, reason):
    with pytest.raises(BadRow, match=reason):
        text_reader("a")(row)


def test_a_template_joins_columns():
    row = {"Body": "Ann has 2.", "Question": "How many?", "note": "work\n#### 1,072"}
    assert text_reader("{{ Body }} {{ Question }}")(row) == "Ann has 2. How many?"
    assert text_reader("{{ note.split('####')[-1].strip() }}")(row) == "1,072"


def test_templates_know_columns_whose_names_have_spaces_and_a_column_that_is_called_row():
    assert text_reader("{{ row['a b'] }}{{ c }}")({"a b": 1, "c": 2}) == "12"
    assert text_reader("{{ row }}")({"row": "mine"}) == "mine"
    with pytest.raises(BadRow):
        text_reader("{{ row['a b'] }}")({"a b": None})


def test_templates_shuffle_a_list_by_a_text_in_the_same_way_each_time():
    read = text_reader("{{ ['a', 'b', 'c', 'd'] | shuffled(q) | join }}")
    orders = [read({"q": f"question {number}"}) for number in range(100)]
    assert orders == [read({"q": f"question {number}"}) for number in range(100)]
    assert {"".join(sorted(order)) for order in orders} == {"abcd"}
    assert len(set(orders)) > 20
    assert orders[0] == "cbad"


@pytest.mark.parametrize(
    "template",
    [
        "{{ b }}",
        "{{ a }} {{ n }}",
        "{{ a[7] }}",
        "{{ n + 1 }}",
        "{{ 1 / 0 }}",
        "{{ a.append(1) }}",
        "{{ a.__class__.__mro__ }}",
        "{% if b %}x{% endif %}",
        "{{ '' }}",
        "{{ s }}",
    ],
)
def test_a_template_that_fails_on_a_row_is_a_bad_row(template):
    with pytest.raises(BadRow):
        text_reader(template)({"a": "x", "n": None, "s": "\udfff"})


def test_a_broken_template_is_shown():
    with pytest.raises(DistraceError, match=r"the template '{{ a' cannot be read"):
        text_reader("{{ a")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip))
def test_text_that_looks_like_a_template_is_never_run(text):
    for value in (text, "{{ 7 * 7 }}" + text):
        assert text_reader("a")({"a": value}) == text_reader("{{ a }}")({"a": value}) == value


def test_a_file_counts_by_its_bytes(tmp_path):
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
def test_lines_are_whole_and_numbered_wherever_a_piece_ends(tmp_path, monkeypatch, size):
    monkeypatch.setattr(rows, "BYTES_AT_ONCE", size)
    lines = [b'{"a": 1}', b"", b'{"a": "\xe2\x80\xa8"}\r', b"  ", b"{", b'{"a": 3}']
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    first, second, bad, last = read_rows(path)
    assert (first, second, last) == ({"a": 1}, {"a": "\u2028"}, {"a": 3})
    assert isinstance(bad, BadRow)
    assert list(raw_rows(path)) == [lines[0], lines[2].strip(), lines[4], lines[5]]
    named = with_lines([Reject("a", row, "bad") for row in (3, 0, 2)], path)
    assert [reject.reason for reject in named] == ["line 6: bad", "line 1: bad", "line 5: bad"]


def test_a_column_may_be_a_path():
    row = {"messages": [{"role": "user", "content": "q"}]}
    assert text_reader("messages[role=user].content")(row) == "q"
    with pytest.raises(BadRow, match="leads to 0 values, not to one"):
        text_reader("messages[role=human].content")(row)
    with pytest.raises(BadRow, match="has no 'text'"):
        text_reader("messages[0].text")(row)
