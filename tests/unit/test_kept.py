"""What a node leaves of its result, for a later job with the same fingerprint."""

import os
from pathlib import Path

import pytest

from distrace import kinds
from distrace.artifacts import open_artifact, write_with_rejects
from distrace.kept import keep, kept_artifacts, put_back
from distrace.rejects import Reject


@pytest.fixture
def out(tmp_path) -> Path:
    path = tmp_path / "grades" / "0.arrow"
    write_with_rejects(path, kinds.GRADES, [], [Reject("r", 0, "why")], {"seed": 1}, 1)
    return path


def removed(*paths: Path) -> dict[Path, bytes]:
    """Remove files as Snakemake does before it runs a job again; return what they held."""
    held = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
    return held


def test_a_result_with_the_same_fingerprint_is_put_back_with_its_rejects(out):
    keep(out, "f1")
    held = removed(out, out.with_name("0.rejects.arrow"))
    assert put_back(out, "f1")
    assert {path: path.read_bytes() for path in held} == held


def test_another_fingerprint_is_not_taken_for_it(out):
    keep(out, "f1")
    held = removed(out)
    assert not put_back(out, "f2")
    assert not any(path.exists() for path in held)


def test_the_newest_result_takes_the_place_of_what_was_kept(out):
    keep(out, "f1")
    keep(out, "f2")
    assert not put_back(out, "f1")
    assert put_back(out, "f2")


def test_what_is_kept_takes_no_room_beside_the_result(out):
    keep(out, "f1")
    assert os.stat(out).st_nlink == 2


def test_files_and_folders_beside_a_result_are_kept_with_it(tmp_path):
    card, weights = tmp_path / "model.json", tmp_path / "weights"
    weights.mkdir()
    for path in (card, weights / "model.safetensors"):
        path.write_text(path.name)
    keep(card, "f", beside=["weights", "README.md"])
    removed(card, weights / "model.safetensors")
    (weights / "stale").write_text("of another training")
    assert put_back(card, "f")
    assert [path.name for path in weights.iterdir()] == ["model.safetensors"]
    assert (weights / "model.safetensors").read_text() == "model.safetensors"


def test_keeping_that_was_cut_short_leaves_nothing_that_is_taken_for_a_result(out, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("distrace.kept._link_file", full)
        with pytest.raises(OSError, match="no space"):
            keep(out, "f1")
    assert not put_back(out, "f1")


def test_a_file_system_without_hard_links_gets_copies(out, monkeypatch):
    def refuse(*_):
        raise OSError("not permitted")

    monkeypatch.setattr(os, "link", refuse)
    keep(out, "f1")
    held = removed(out)
    assert put_back(out, "f1")
    assert out.read_bytes() == held[out]


def test_what_was_kept_can_be_read_under_any_fingerprint_and_broken_files_are_left_out(out):
    assert list(kept_artifacts(out, kinds.GRADES)) == []
    keep(out, "f1")
    [kept] = kept_artifacts(out, kinds.GRADES)
    assert kept.fingerprint == open_artifact(out).fingerprint
    removed(kept.path)
    kept.path.write_bytes(b"half")
    assert list(kept_artifacts(out, kinds.GRADES)) == []
