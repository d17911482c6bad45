import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import rejects_of, write_questions
from distrace import artifacts, kinds
from distrace.artifacts import (
    fingerprint_of,
    open_artifact,
    reasons_of,
    rejects_path,
    write,
    write_with_rejects,
)
from distrace.errors import DistraceError
from distrace.rejects import Reject

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
REJECTS = st.lists(
    st.fixed_dictionaries({"source": TEXT, "row": st.none() | st.integers(-(2**31), 2**31 - 1), "reason": TEXT}),
    max_size=5,
)
REJECT = {"source": "a.jsonl", "row": 3, "reason": "empty"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "0.arrow"


@settings(deadline=None, max_examples=40)
@given(REJECTS)
def test_what_is_written_is_read(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.arrow"
        write(path, kinds.REJECTS, rows, {"of": 1})
        assert open_artifact(path, kinds.REJECTS).read().to_dicts() == rows
        assert open_artifact(path).rows == len(rows)


@settings(deadline=None, max_examples=40)
@given(REJECTS)
def test_the_same_rows_and_identity_give_the_same_bytes(rows):
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "0.arrow", Path(folder) / "elsewhere" / "1.arrow"
        write(one, kinds.REJECTS, rows, {"of": 1, "by": 2})
        write(other, kinds.REJECTS, rows, {"by": 2, "of": 1})
        assert one.read_bytes() == other.read_bytes()


def test_a_frame_gives_the_bytes_that_its_rows_give(tmp_path):
    rows = [REJECT, REJECT | {"row": None}]
    frame = pl.DataFrame(rows * 2, schema={"source": pl.String, "row": pl.Int32, "reason": pl.String}).slice(2)
    write(tmp_path / "rows.arrow", kinds.REJECTS, rows, {})
    write(tmp_path / "frame.arrow", kinds.REJECTS, frame, {})
    assert (tmp_path / "rows.arrow").read_bytes() == (tmp_path / "frame.arrow").read_bytes()


def test_the_columns_of_the_contract_come_first_and_further_ones_follow(path):
    frame = pl.DataFrame({"more": ["x"], "reason": ["y"], "row": [1], "source": ["z"]})
    write(path, kinds.REJECTS, frame, {})
    assert open_artifact(path, kinds.REJECTS).read().columns == ["source", "row", "reason", "more"]
    with pa.memory_map(str(path)) as source:
        assert pa.ipc.open_file(source).schema.field("row").type == pa.int32()


def test_metadata_says_what_the_artifact_depends_on(path):
    fingerprint = write(path, kinds.REJECTS, [REJECT], {"seed": 1})
    about = open_artifact(path, kinds.REJECTS)
    assert (about.path, about.kind, about.identity, about.rows) == (path, "rejects", {"seed": 1}, 1)
    with pa.memory_map(str(path)) as source:
        assert json.loads(pa.ipc.open_file(source).schema.metadata[b"distrace"])["version"] == artifacts.FORMAT_VERSION
    assert about.fingerprint == fingerprint == fingerprint_of(kinds.REJECTS, {"seed": 1})


def test_fingerprints_differ_by_kind_and_by_identity():
    made = {
        fingerprint_of(kind, identity)
        for kind in (kinds.GRADES, kinds.REJECTS)
        for identity in ({"seed": 1}, {"seed": 2})
    }
    assert len(made) == 4


def test_a_row_without_a_column_is_no_null(path):
    with pytest.raises(DistraceError, match=r"\['reason'\] in row 1"):
        write(path, kinds.REJECTS, [REJECT, {"source": "a", "row": 1}], {})


def test_a_row_with_a_column_that_the_kind_lacks_is_refused(path):
    with pytest.raises(DistraceError, match=r"no columns \['weight'\] \(row 0\)"):
        write(path, kinds.REJECTS, [REJECT | {"weight": 1}], {})


def test_a_frame_without_a_column_is_refused(path):
    with pytest.raises(DistraceError, match=r"needs the columns \['row', 'reason'\]; it has \['source'\]"):
        write(path, kinds.REJECTS, pl.DataFrame({"source": ["a"]}), {})


@pytest.mark.parametrize("value", [2**31, "three", [1]])
def test_a_value_that_does_not_fit_its_column_is_refused(path, value):
    with pytest.raises(DistraceError, match="does not fit an artifact of kind 'rejects'"):
        write(path, kinds.REJECTS, [REJECT | {"row": value}], {})
    with pytest.raises(DistraceError, match="does not fit an artifact of kind 'rejects'"):
        write(path, kinds.REJECTS, pl.DataFrame([REJECT | {"row": value}]), {})


def write_half(path: Path) -> None:
    with artifacts.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_write_that_fails_leaves_the_file_that_was_there_and_nothing_else(path):
    write(path, kinds.REJECTS, [REJECT], {})
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_while_it_is_replaced_reads_it_whole(path):
    write(path, kinds.REJECTS, [REJECT], {})
    before = path.read_bytes()
    with path.open("rb") as reader:
        write(path, kinds.REJECTS, [REJECT] * 9, {})
        assert reader.read() == before != path.read_bytes()


def test_a_missing_file_is_named(path):
    with pytest.raises(DistraceError, match=f"{path}: no such file"):
        open_artifact(path, kinds.REJECTS).read()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_truncated_file_is_not_read(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.arrow"
        write(path, kinds.REJECTS, [REJECT] * 9, {})
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(DistraceError, match=r"0\.arrow: not a whole Arrow file .* delete it and run again"):
            open_artifact(path, kinds.REJECTS).read()


def test_damage_inside_a_file_is_reported(path):
    write(path, kinds.REJECTS, [REJECT], {})
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"\x28\xb5\x2f\xfd")  # how a zstd frame begins
    damaged[place : place + 4] = b"\0\0\0\0"
    path.write_bytes(damaged)
    with pytest.raises(DistraceError, match="broken inside"):
        open_artifact(path, kinds.REJECTS).read()


@pytest.mark.parametrize(
    ("whole", "damaged"), [(b'"fingerprint":', b'" ingerprint":'), (b'"identity":{}', b'"identity":[]')]
)
def test_damage_in_the_metadata_is_reported(path, whole, damaged):
    write(path, kinds.REJECTS, [REJECT], {})
    path.write_bytes(path.read_bytes().replace(whole, damaged))
    with pytest.raises(DistraceError, match=r"0\.arrow: broken in its metadata; delete it and run again"):
        open_artifact(path)


def test_another_programs_arrow_file_is_refused(tmp_path):
    pl.DataFrame({"source": ["a"]}).write_ipc(tmp_path / "a.arrow")
    with pytest.raises(DistraceError, match="not one of distrace's"):
        open_artifact(tmp_path / "a.arrow")


def test_an_artifact_of_another_kind_is_refused(path):
    write(path, kinds.REJECTS, [REJECT], {})
    with pytest.raises(DistraceError, match="holds 'rejects' in format 1; expected 'grades'"):
        open_artifact(path, kinds.GRADES).read()


def test_an_artifact_of_another_format_is_refused(path, monkeypatch):
    write(path, kinds.REJECTS, [REJECT], {})
    monkeypatch.setattr(artifacts, "FORMAT_VERSION", 2)
    with pytest.raises(DistraceError, match=r"in format 1; expected 'rejects' in format 2"):
        open_artifact(path, kinds.REJECTS).read()


def test_an_artifact_made_from_another_input_is_refused(tmp_path):
    first, second = tmp_path / "first.arrow", tmp_path / "second.arrow"
    wanted = write(first, kinds.ROLLOUTS, [], {"seed": 1})
    found = write(second, kinds.ROLLOUTS, [], {"seed": 2})
    write(tmp_path / "made.arrow", kinds.REJECTS, [], {"rollouts": found})
    made = open_artifact(tmp_path / "made.arrow", kinds.REJECTS, made_from=open_artifact(second))
    made.require_made_from(open_artifact(second))
    message = f"from rollouts {found}, but .*first.arrow is {wanted}"
    with pytest.raises(DistraceError, match=message):
        made.require_made_from(open_artifact(first))
    with pytest.raises(DistraceError, match=message):
        open_artifact(tmp_path / "made.arrow", kinds.REJECTS, made_from=open_artifact(first))


def test_artifacts_made_from_different_inputs_do_not_go_together(tmp_path):
    paths = [tmp_path / f"{name}.arrow" for name in "abcd"]
    for path, identity in zip(paths, ({"rollouts": 1, "of": 1}, {"rollouts": 1}, {"rollouts": 2}, {}), strict=True):
        write(path, kinds.REJECTS, [], identity)
    found = [open_artifact(path) for path in paths]
    found[0].require_same(kinds.ROLLOUTS, found[1])
    for one, other in ((found[0], found[2]), (found[0], found[3]), (found[3], found[3])):
        with pytest.raises(DistraceError, match="delete the older one"):
            one.require_same(kinds.ROLLOUTS, other)


def test_rejects_lie_beside_their_artifact(path):
    write_with_rejects(path, kinds.GRADES, [], [Reject(**REJECT)], {"seed": 1}, rows_in=1)
    assert rejects_path(path) == path.parent / "0.rejects.arrow"
    assert open_artifact(path, kinds.GRADES).rows == 0
    assert rejects_of(path) == [REJECT]
    assert open_artifact(rejects_path(path)).identity == {"of": open_artifact(path).fingerprint}


def test_a_row_that_went_missing_is_an_error(path):
    with pytest.raises(DistraceError, match="3 rows came in, 0 go out and 1 are rejected"):
        write_with_rejects(path, kinds.GRADES, [], [Reject(**REJECT)], {}, rows_in=3)
    assert not path.exists()


LOSES_A_ROW = """
import sys
from pathlib import Path

from distrace import kinds
from distrace.artifacts import write_with_rejects
from distrace.errors import DistraceError

assert False, "assertions are off"
try:
    write_with_rejects(Path(sys.argv[1]), kinds.GRADES, [], [], {}, rows_in=1)
except DistraceError as error:
    print(error)
"""


def test_a_row_that_went_missing_is_an_error_also_where_python_checks_no_assertions(path):
    command = [sys.executable, "-O", "-c", LOSES_A_ROW, str(path)]
    found = subprocess.run(command, text=True, capture_output=True, check=True)
    assert "1 rows came in, 0 go out and 0 are rejected" in found.stdout
    assert not path.exists()


@pytest.mark.parametrize("with_rejects", [False, True])
def test_an_artifact_is_written_if_it_and_its_rejects_are_there_as_they_would_be(path, with_rejects):
    def is_written(identity: dict) -> bool:
        return artifacts.is_written(path, kinds.QUESTIONS, identity, with_rejects)

    assert not is_written({"part": 1})
    write_with_rejects(path, kinds.QUESTIONS, [], [], {"part": 1}, 0)
    assert is_written({"part": 1})
    assert not is_written({"part": 2})
    rejects_path(path).unlink()
    assert is_written({"part": 1}) is not with_rejects


def test_reasons_are_counted_and_an_artifact_of_a_kind_without_rejects_has_none(path):
    write(path, kinds.GRADES, [], {})
    assert reasons_of(path) == {}
    rejects = [Reject("x", row, reason) for row, reason in enumerate(["long", "short", "long"])]
    write_with_rejects(path, kinds.QUESTIONS, [], rejects, {}, rows_in=3)
    assert reasons_of(path) == {"long": 2, "short": 1}


def test_rejects_that_are_gone_are_an_error_and_not_counted_as_none(path):
    write_with_rejects(path, kinds.QUESTIONS, [], [Reject("x", 0, "long")], {}, rows_in=1)
    rejects_path(path).unlink()
    with pytest.raises(DistraceError, match=r"rejects\.arrow: gone, .*delete .*\.arrow and run again"):
        reasons_of(path)


@pytest.mark.parametrize("error", [pl.exceptions.PanicException("unwrap on None"), pl.exceptions.ComputeError("no")])
def test_what_polars_cannot_read_is_one_error_even_where_it_panics(tmp_path, monkeypatch, error):
    path = write_questions(tmp_path / "0.arrow", {"1+1?": "2"})
    found = open_artifact(path)

    def broken(*_):
        raise error

    monkeypatch.setattr("distrace.spans.read_frame", broken)
    with pytest.raises(DistraceError, match=r"0\.arrow: broken inside \(.*\); delete it and run again"):
        found.read()
