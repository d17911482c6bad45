import pytest

from distrace.errors import DistraceError
from distrace.models import Card, read_card
from distrace.nodes.model import write_model


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        (folder / name).write_text(name)
    return folder


def card_of(folder, tmp_path) -> Card:
    out = tmp_path / "model.json"
    write_model("student", {"hub": None, "folder": str(folder)}, out)
    return read_card(out)


def test_a_folder_gets_a_card(folder, tmp_path):
    card = card_of(folder, tmp_path)
    assert (card.name, card.location, card.revision) == ("student", str(folder), None)
    assert len(card.fingerprint) == 64


def test_the_fingerprint_follows_the_content_of_a_folder_and_not_its_place(folder, tmp_path):
    first = card_of(folder, tmp_path).fingerprint
    (folder / "README.md").write_text("changed")
    moved = folder.rename(tmp_path / "moved")
    assert card_of(moved, tmp_path).fingerprint == first
    (moved / "model.safetensors").write_text("changed")
    assert card_of(moved, tmp_path).fingerprint != first


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_holds_no_model_is_named(folder, tmp_path, name):
    (folder / name).unlink()
    with pytest.raises(DistraceError, match=rf"model 'student': {folder} holds no .*(config\.json|safetensors)"):
        card_of(folder, tmp_path)


def test_a_served_model_needs_no_weights_and_is_known_by_its_name_on_the_server(folder, tmp_path):
    def card_of_served(name: str) -> Card:
        write_model("teacher", {"folder": str(folder), "served": name}, tmp_path / "model.json")
        return read_card(tmp_path / "model.json")

    whole = card_of_served("big").fingerprint
    (folder / "model.safetensors").unlink()
    assert card_of_served("big").fingerprint == whole
    assert card_of_served("bigger").fingerprint != whole
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DistraceError, match=r"holds no tokenizer\*"):
        card_of_served("big")


def test_a_hub_model_is_fetched_by_its_revision_and_known_by_its_commit(tmp_path, monkeypatch):
    asked, fetched = {}, []

    def fetch(hub, revision, allow_patterns):
        asked[hub] = revision
        fetched[:] = allow_patterns
        return str(tmp_path / "snapshots" / "c0ffee")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    write_model("student", {"hub": "owner/name", "revision": "main"}, tmp_path / "model.json")
    card = read_card(tmp_path / "model.json")
    assert asked == {"owner/name": "main"}
    assert "*.safetensors" in fetched
    write_model("student", {"hub": "owner/name", "revision": "main", "served": "x"}, tmp_path / "served.json")
    assert "*.safetensors" not in fetched
    assert read_card(tmp_path / "served.json").fingerprint != card.fingerprint
    assert (card.location, card.revision) == ("owner/name", "c0ffee")


def test_a_hub_that_cannot_be_reached_is_one_clear_line(tmp_path, monkeypatch):
    def fetch(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(DistraceError, match="model 'student': cannot fetch owner/name at revision main: no route"):
        write_model("student", {"hub": "owner/name", "revision": "main"}, tmp_path / "model.json")
