"""The node that lists parts, by the rejects beside them."""

import pytest

from builders import write_parts as write_list_of
from distrace import kinds
from distrace.artifacts import open_artifact, write_with_rejects
from distrace.errors import DistraceError
from distrace.nodes.parts import write_parts
from distrace.rejects import Reject

ROW = {"rollout_id": "a", "question_id": "q", "extracted": "2", "correct": True, "reason": None}


@pytest.fixture
def folder(tmp_path):
    """A folder with two parts of grades and their rejects."""
    for part in range(2):
        rejects = [Reject("x", 0, "long")] * part
        write_with_rejects(tmp_path / f"{part}.arrow", kinds.GRADES, [ROW], rejects, {"part": part}, 1 + part)
    return tmp_path


def rejects_beside(folder) -> list:
    return [folder / "0.rejects.arrow", folder / "1.rejects.arrow"]


def test_the_rejects_of_parts_lead_to_the_list_of_the_parts(folder):
    write_parts(rejects_beside(folder), folder / "found.arrow")
    assert (folder / "found.arrow").read_bytes() == write_list_of(folder).read_bytes()


def test_the_rejects_change_with_the_part_even_if_none_was_rejected(folder):
    before = (folder / "0.rejects.arrow").read_bytes()
    write_with_rejects(folder / "0.arrow", kinds.GRADES, [ROW], [], {"part": "other"}, 1)
    assert (folder / "0.rejects.arrow").read_bytes() != before


def test_lists_of_some_parts_make_the_same_list(folder):
    lists = [folder / "parts-0.arrow", folder / "parts-1.arrow"]
    for path, rejects in zip(lists, rejects_beside(folder), strict=True):
        write_parts([rejects], path)
    write_parts(lists, folder / "found.arrow")
    assert open_artifact(folder / "found.arrow").rows == 2
    assert (folder / "found.arrow").read_bytes() == write_list_of(folder).read_bytes()


def test_a_part_that_was_deleted_is_told_with_what_to_delete(folder):
    (folder / "1.arrow").unlink()
    with pytest.raises(DistraceError, match=r"1\.arrow: no such file, .*delete .*1\.rejects\.arrow and run again"):
        write_parts(rejects_beside(folder), folder / "parts.arrow")
    assert not (folder / "parts.arrow").exists()
