import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from builders import rejects_of
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import artifacts
from distrace.errors import DistraceError

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
        artifacts.write(path, "rejects", rows, {"of": 1})
        assert artifacts.read(path, "rejects").to_dicts() == rows
        assert artifacts.metadata(path).rows == len(rows)


@settings(deadline=None, max_examples=40)
@given(REJECTS)
def test_the_same_rows_and_identity_give_the_same_bytes(rows):
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "0.arrow", Path(folder) / "elsewhere" / "1.arrow"
        artifacts.write(one, "rejects", rows, {"of": 1, "by": 2})
        artifacts.write(other, "rejects", rows, {"by": 2, "of": 1})
        assert one.read_bytes() == other.read_bytes()


def test_a_frame_gives_the_bytes_that_its_rows_give(tmp_path):
    rows = [REJECT, REJECT | {"row": None}]
    frame = pl.DataFrame(rows * 2, schema={"source": pl.String, "row": pl.Int32, "reason": pl.String}).slice(2)
    artifacts.write(tmp_path / "rows.arrow", "rejects", rows, {})
    artifacts.write(tmp_path / "frame.arrow", "rejects", frame, {})
    assert (tmp_path / "rows.arrow").read_bytes() == (tmp_path / "frame.arrow").read_bytes()


def test_the_columns_of_the_contract_come_first_and_further_ones_follow(path):
    frame = pl.DataFrame({"more": ["x"], "reason": ["y"], "row": [1], "source": ["z"]})
    artifacts.write(path, "rejects", frame, {})
    assert artifacts.read(path, "rejects").columns == ["source", "row", "reason", "more"]
    with pa.memory_map(str(path)) as source:
        assert pa.ipc.open_file(source).schema.field("row").type == pa.int32()


def test_metadata_says_what_the_artifact_depends_on(path):
    fingerprint = artifacts.write(path, "rejects", [REJECT], {"seed": 1})
    about = artifacts.metadata(path, "rejects")
    assert (about.kind, about.version, about.identity) == ("rejects", artifacts.FORMAT_VERSION, {"seed": 1})
    assert about.fingerprint == fingerprint == artifacts.fingerprint_of("rejects", {"seed": 1})


def test_fingerprints_differ_by_kind_and_by_identity():
    made = {
        artifacts.fingerprint_of(kind, identity)
        for kind in ("grades", "rejects")
        for identity in ({"seed": 1}, {"seed": 2})
    }
    assert len(made) == 4


def test_a_row_without_a_column_is_no_null(path):
    with pytest.raises(DistraceError, match=r"\['reason'\] in row 1"):
        artifacts.write(path, "rejects", [REJECT, {"source": "a", "row": 1}], {})


def test_a_row_with_a_column_that_the_kind_lacks_is_refused(path):
    with pytest.raises(DistraceError, match=r"no columns \['weight'\] \(row 0\)"):
        artifacts.write(path, "rejects", [REJECT | {"weight": 1}], {})


def test_a_frame_without_a_column_is_refused(path):
    with pytest.raises(DistraceError, match=r"needs the columns \['row', 'reason'\]; it has \['source'\]"):
        artifacts.write(path, "rejects", pl.DataFrame({"source": ["a"]}), {})


@pytest.mark.parametrize("value", [2**31, "three", [1]])
def test_a_value_that_does_not_fit_its_column_is_refused(path, value):
    with pytest.raises(DistraceError, match="does not fit an artifact of kind 'rejects'"):
        artifacts.write(path, "rejects", [REJECT | {"row": value}], {})
    with pytest.raises(DistraceError, match="does not fit an artifact of kind 'rejects'"):
        artifacts.write(path, "rejects", pl.DataFrame([REJECT | {"row": value}]), {})


def write_half(path: Path) -> None:
    with artifacts.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_write_that_fails_leaves_the_file_that_was_there_and_nothing_else(path):
    artifacts.write(path, "rejects", [REJECT], {})
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_while_it_is_replaced_reads_it_whole(path):
    artifacts.write(path, "rejects", [REJECT], {})
    before = path.read_bytes()
    with path.open("rb") as reader:
        artifacts.write(path, "rejects", [REJECT] * 9, {})
        assert reader.read() == before != path.read_bytes()


def test_a_missing_file_is_named(path):
    with pytest.raises(DistraceError, match=f"{path}: no such file"):
        artifacts.read(path, "rejects")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_truncated_file_is_not_read(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.arrow"
        artifacts.write(path, "rejects", [REJECT] * 9, {})
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(DistraceError, match=r"0\.arrow: not a whole Arrow file .* delete it and run again"):
            artifacts.read(path, "rejects")


def test_damage_inside_a_file_is_reported(path):
    artifacts.write(path, "rejects", [REJECT], {})
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"\x28\xb5\x2f\xfd")  # how a zstd frame begins
    damaged[place : place + 4] = b"\0\0\0\0"
    path.write_bytes(damaged)
    with pytest.raises(DistraceError, match="broken inside"):
        artifacts.read(path, "rejects")


def test_another_programs_arrow_file_is_refused(tmp_path):
    pl.DataFrame({"source": ["a"]}).write_ipc(tmp_path / "a.arrow")
    with pytest.raises(DistraceError, match="not one of distrace's"):
        artifacts.metadata(tmp_path / "a.arrow")


def test_an_artifact_of_another_kind_is_refused(path):
    artifacts.write(path, "rejects", [REJECT], {})
    with pytest.raises(DistraceError, match="holds 'rejects' in format 1; expected 'grades'"):
        artifacts.read(path, "grades")


def test_an_artifact_of_another_format_is_refused(path, monkeypatch):
    artifacts.write(path, "rejects", [REJECT], {})
    monkeypatch.setattr(artifacts, "FORMAT_VERSION", 2)
    with pytest.raises(DistraceError, match=r"in format 1; expected 'rejects' in format 2"):
        artifacts.read(path, "rejects")


def test_an_artifact_made_from_another_input_is_refused(tmp_path):
    first, second = tmp_path / "first.arrow", tmp_path / "second.arrow"
    wanted = artifacts.write(first, "rejects", [], {"seed": 1})
    found = artifacts.write(second, "rejects", [], {"seed": 2})
    made = tmp_path / "made.arrow"
    artifacts.write(made, "rejects", [], {"rollouts": found})
    artifacts.require_made_from(made, "rollouts", second)
    with pytest.raises(DistraceError, match=f"from rollouts {found}, but .*first.arrow is {wanted}"):
        artifacts.require_made_from(made, "rollouts", first)


def test_artifacts_made_from_different_inputs_do_not_go_together(tmp_path):
    paths = [tmp_path / f"{name}.arrow" for name in "abcd"]
    for path, identity in zip(paths, ({"rollouts": 1, "of": 1}, {"rollouts": 1}, {"rollouts": 2}, {}), strict=True):
        artifacts.write(path, "rejects", [], identity)
    artifacts.require_same("rollouts", paths[0], paths[1])
    for path, other in ((paths[0], paths[2]), (paths[0], paths[3]), (paths[3], paths[3])):
        with pytest.raises(DistraceError, match="delete the older one"):
            artifacts.require_same("rollouts", path, other)


def test_rejects_lie_beside_their_artifact(path):
    artifacts.write_with_rejects(path, "grades", [], [REJECT], {"seed": 1}, rows_in=1)
    assert artifacts.rejects_path(path) == path.parent / "0.rejects.arrow"
    assert artifacts.metadata(path, "grades").rows == 0
    assert rejects_of(path) == [REJECT]
    about = artifacts.metadata(artifacts.rejects_path(path))
    assert about.identity == {"of": artifacts.metadata(path).fingerprint}


def test_a_row_that_went_missing_is_an_error(path):
    with pytest.raises(AssertionError, match="3 rows came in, 0 go out and 1 are rejected"):
        artifacts.write_with_rejects(path, "grades", [], [REJECT], {}, rows_in=3)
    assert not path.exists()


def test_parts_are_read_in_order(tmp_path):
    paths = [tmp_path / f"{part}.arrow" for part in range(3)]
    for part, path in enumerate(paths):
        artifacts.write(path, "rejects", [REJECT | {"row": part}] * part, {"part": part})
    assert artifacts.concatenated(reversed(paths), "rejects")["row"].to_list() == [2, 2, 1]
