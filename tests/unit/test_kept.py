"""What a node leaves of its result, for a later job with the same fingerprint."""

import os
from pathlib import Path

import pytest

from distrace import kinds
from distrace.artifacts import open_artifact, write_with_rejects
from distrace.errors import DistraceError
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


# Between projects: the environment variable DISTRACE_STORE names a folder


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DISTRACE_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def elsewhere(out: Path, name: str = "00.arrow") -> Path:
    """Return the path of the same artifact in another project, where its part has another name."""
    path = out.parents[1] / "other" / name
    path.parent.mkdir(exist_ok=True)
    return path


def test_another_project_gets_a_result_with_its_rejects_under_its_own_names(out, store):
    keep(out, "f1")
    other = elsewhere(out)
    assert put_back(other, "f1")
    for mine, theirs in ((out, other), (out.with_name("0.rejects.arrow"), other.with_name("00.rejects.arrow"))):
        assert mine.samefile(theirs)
    assert sorted(path.name for path in other.parent.iterdir()) == [".00.arrow.kept", "00.arrow", "00.rejects.arrow"]
    assert [kept.path.name for kept in kept_artifacts(other, kinds.GRADES)] == ["00.arrow"]


def test_without_a_store_nothing_is_shared(out, store, monkeypatch):
    keep(out, "f1")
    monkeypatch.setenv("DISTRACE_STORE", "")
    assert not put_back(elsewhere(out), "f1")


def test_a_store_has_an_absolute_path(out, monkeypatch):
    monkeypatch.setenv("DISTRACE_STORE", "store")
    with pytest.raises(DistraceError, match="DISTRACE_STORE=store: give an absolute path"):
        keep(out, "f1")


def test_what_was_kept_before_there_was_a_store_is_shared_once_it_is_used(out, tmp_path, monkeypatch):
    keep(out, "f1")
    monkeypatch.setenv("DISTRACE_STORE", str(tmp_path / "store"))
    assert not put_back(elsewhere(out), "f1")
    assert put_back(out, "f1")
    assert put_back(elsewhere(out), "f1")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def changed(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize("damage", [cut, changed, Path.unlink])
@pytest.mark.parametrize("name", ["result.arrow", "result.rejects.arrow", "digests.json"])
def test_an_entry_that_does_not_hold_what_was_put_there_is_not_used_and_makes_room(out, store, name, damage, caplog):
    shared = store / "f1" / name
    keep(out, "f1")
    damage(shared)
    assert not put_back(elsewhere(out), "f1")
    assert "does not hold what was put there" in caplog.text
    assert list(store.iterdir()) == []


def test_of_two_jobs_that_finish_the_same_result_the_second_leaves_that_of_the_first(out, store, monkeypatch):
    write_with_rejects(elsewhere(out), kinds.GRADES, [], [Reject("r", 0, "why")], {"seed": 1}, 1)
    is_dir = Path.is_dir
    keep(out, "f1")
    first = os.stat(store / "f1" / "result.arrow").st_ino
    with monkeypatch.context() as patch:  # the second does not yet see the first when it begins
        seen = iter([False])
        patch.setattr(Path, "is_dir", lambda path: next(seen, True) if path == store / "f1" else is_dir(path))
        keep(elsewhere(out), "f1")
    assert os.stat(store / "f1" / "result.arrow").st_ino == first
    assert [path.name for path in store.iterdir()] == ["f1"]


def test_a_job_that_is_cut_short_leaves_no_half_entry(out, store, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("distrace.kept._digests", killed)
        with pytest.raises(KeyboardInterrupt):
            keep(out, "f1")
    assert not put_back(elsewhere(out), "f1")
    assert list(store.iterdir()) == []


def test_a_store_that_cannot_be_written_to_fails_no_job(out, store, caplog):
    store.write_text("not a folder")
    keep(out, "f1")
    assert f"{out} is not shared" in caplog.text
    assert put_back(out, "f1")


def test_a_store_on_another_file_system_holds_copies(out, store, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    keep(out, "f1")
    other = elsewhere(out)
    assert put_back(other, "f1")
    assert other.read_bytes() == out.read_bytes()
    assert not out.samefile(other)


def test_what_no_project_uses_any_more_has_one_link(out, store):
    keep(out, "f1")
    shared = store / "f1" / "result.arrow"
    assert os.stat(shared).st_nlink == 3
    removed(out)
    for path in out.parent.glob(".*.kept/*/*"):
        path.unlink()
    assert os.stat(shared).st_nlink == 1
