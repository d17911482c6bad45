"""The list of all parts of an artifact, as nodes read it."""

import json
import re
from pathlib import Path

import pytest

from builders import write_parts
from distrace import kinds
from distrace.artifacts import open_artifact, write, write_with_rejects
from distrace.errors import DistraceError
from distrace.parts import open_parts, part_names, reasons_in_parts, write_list
from distrace.rejects import Reject

ROW = {"rollout_id": "a", "question_id": "q", "extracted": "2", "correct": True, "reason": None}


def grades(path: Path, rows: int = 1, reasons: tuple[str, ...] = (), seed: int = 0) -> str:
    """Write a part of grades with so many rows, and rejects for these reasons; give its fingerprint."""
    rejects = [Reject("x", row, reason) for row, reason in enumerate(reasons)]
    write_with_rejects(path, kinds.GRADES, [ROW] * rows, rejects, {"seed": seed}, rows + len(rejects))
    return open_artifact(path).fingerprint


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "grades"


def test_each_part_is_a_row_with_its_fingerprint_its_rows_and_its_rejects_by_reason(folder):
    first = grades(folder / "0.arrow", 2, ("long", "odd", "long"))
    second = grades(folder / "1.arrow", 0, seed=1)
    found = open_artifact(write_parts(folder), kinds.PARTS).read().to_dicts()
    assert [row | {"rejects": json.loads(row["rejects"])} for row in found] == [
        {"part": "0", "fingerprint": first, "rows": 2, "rejects": {"long": 2, "odd": 1}},
        {"part": "1", "fingerprint": second, "rows": 0, "rejects": {}},
    ]


def test_rejects_of_all_parts_are_counted_by_reason_whether_there_is_a_list_or_one_part(folder):
    grades(folder / "0.arrow", 2, ("long", "odd", "long"))
    grades(folder / "1.arrow", 0, ("odd",), seed=1)
    assert reasons_in_parts(write_parts(folder)) == {"long": 2, "odd": 2}
    assert reasons_in_parts(folder / "0.arrow") == {"long": 2, "odd": 1}


def test_artifacts_without_rejects_have_none_to_count(folder):
    write(folder / "0.arrow", kinds.TRUTH, [], {"seed": 0})
    assert open_artifact(write_parts(folder)).read("rejects").item() == "{}"


def test_names_of_parts_stay_the_same_when_there_are_more():
    assert part_names(11)[:3] == part_names(3) == ["0", "1", "2"]


def test_parts_are_listed_in_the_order_of_their_numbers(folder):
    prints = [grades(folder / f"{name}.arrow", seed=seed) for seed, name in enumerate(part_names(11))]
    table = open_artifact(write_parts(folder), kinds.PARTS).read()
    assert table["part"].to_list() == [str(part) for part in range(11)]
    assert table["fingerprint"].to_list() == prints


def test_a_part_that_was_replaced_since_is_refused_with_what_to_delete(folder):
    grades(folder / "0.arrow")
    before = grades(folder / "1.arrow", seed=1)
    listed = write_parts(folder)
    after = grades(folder / "1.arrow", seed=2)
    opened = open_parts(listed, kinds.GRADES)
    message = f"1.arrow is {after}, but {listed} lists {before}; delete {folder}/parts*.arrow and run again"
    with pytest.raises(DistraceError, match=re.escape(message)):
        opened.read()
    assert next(iter(opened)).path == folder / "0.arrow"


def test_a_part_that_is_gone_is_refused_with_what_to_delete(folder):
    # Snakemake makes a missing part again only for a job that needs it itself: for the list, where that must be made.
    grades(folder / "0.arrow")
    listed = write_parts(folder)
    (folder / "0.arrow").unlink()
    with pytest.raises(DistraceError, match=r"0\.arrow: no such file.*delete .*/parts\*\.arrow and 0\.rejects\.arrow"):
        open_parts(listed, kinds.GRADES).read()


def test_a_part_that_is_not_there_is_not_listed(folder):
    grades(folder / "0.arrow")
    with pytest.raises(DistraceError, match=r"1\.arrow: no such file"):
        write_list([folder / "0.arrow", folder / "1.arrow"], folder / "parts.arrow")
    assert not (folder / "parts.arrow").exists()


def test_parts_of_unlike_kinds_are_refused(folder):
    grades(folder / "0.arrow")
    write(folder / "1.arrow", kinds.TRUTH, [], {"seed": 0})
    with pytest.raises(DistraceError, match=r"its parts are of kinds \['grades', 'truth'\]; expected one"):
        write_parts(folder)
    assert not (folder / "parts.arrow").exists()


def test_the_same_parts_give_the_same_bytes_wherever_they_lie(folder, tmp_path):
    for seed in (0, 1):
        grades(folder / f"{seed}.arrow", 1, ("long", "odd")[:seed], seed)
    once = write_parts(folder).read_bytes()
    elsewhere = write_parts(tmp_path / "elsewhere", folder / "0.arrow", folder / "1.arrow")
    assert write_parts(folder).read_bytes() == once == elsewhere.read_bytes()


def test_other_parts_and_another_order_give_other_fingerprints(folder, tmp_path):
    for seed in range(3):
        grades(folder / f"{seed}.arrow", seed=seed)
    paths = [folder / f"{part}.arrow" for part in range(3)]
    chosen = [paths, paths[:2], paths[1:], paths[::-1]]
    lists = [write_parts(tmp_path / str(number), *some) for number, some in enumerate(chosen)]
    assert len({open_artifact(path).fingerprint for path in lists}) == len(chosen)


def test_the_list_of_another_kind_is_refused(folder):
    grades(folder / "0.arrow")
    listed = write_parts(folder)
    with pytest.raises(DistraceError, match="holds parts of kind 'grades'; expected 'truth'"):
        open_parts(listed, kinds.TRUTH)


def test_lists_of_some_parts_make_the_list_of_all(folder, tmp_path):
    for seed in range(3):
        grades(folder / f"{seed}.arrow", 1, ("long",), seed)
    paths = [folder / f"{part}.arrow" for part in range(3)]
    write_list(paths, tmp_path / "at_once" / "parts.arrow")
    write_list(paths[:2], tmp_path / "parts-0.arrow")
    write_list(paths[2:], tmp_path / "parts-1.arrow")
    write_list([tmp_path / "parts-0.arrow", tmp_path / "parts-1.arrow"], tmp_path / "parts.arrow")
    assert (tmp_path / "parts.arrow").read_bytes() == (tmp_path / "at_once" / "parts.arrow").read_bytes()


def test_parts_are_read_in_order(tmp_path):
    for part, name in enumerate(part_names(11)):
        write(
            tmp_path / f"{name}.arrow",
            kinds.REJECTS,
            [{"source": "a", "row": part, "reason": "empty"}] * (part % 3),
            {"part": part},
        )
    parts = open_parts(write_parts(tmp_path), kinds.REJECTS)
    rows = [part for part in range(11) for _ in range(part % 3)]
    assert parts.rows == len(rows)
    assert parts.read("row").to_dicts() == [{"row": row} for row in rows]
    assert [part.path.stem for part in parts] == part_names(11)


def test_the_only_part_is_read_by_its_own_path(tmp_path):
    path = tmp_path / "0.arrow"
    write(path, kinds.REJECTS, [{"source": "a", "row": 3, "reason": "empty"}], {})
    only, parts = open_artifact(path), open_parts(path, kinds.REJECTS)
    assert (parts.fingerprint, parts.rows) == (only.fingerprint, 1)
    assert list(parts) == [only]
    assert parts.read().equals(only.read())
    with pytest.raises(DistraceError, match="holds parts of kind 'rejects'; expected 'grades'"):
        open_parts(path, kinds.GRADES)
