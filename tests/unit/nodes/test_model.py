import json
import shutil

import pytest

from distrace.errors import DistraceError
from distrace.models import Card, read_card
from distrace.nodes.model import write_model
from distrace.settings import ModelSettings
from tiny import write_author


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    folder = tmp_path_factory.mktemp("author")
    write_author(folder).unlink()
    return folder


@pytest.fixture
def folder(author, tmp_path):
    folder = shutil.copytree(author, tmp_path / "weights")
    (folder / "README.md").write_text("About it.")
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
    (moved / "generation_config.json").write_text("{}")
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
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(DistraceError, match=r"holds no tokenizer"):
        card_of_served("big")


def test_a_hub_model_is_fetched_by_its_revision_and_known_by_its_commit(folder, tmp_path, monkeypatch):
    snapshot = shutil.copytree(folder, tmp_path / "snapshots" / "c0ffee")
    asked, fetched = {}, []

    def fetch(hub, revision, allow_patterns):
        asked[hub] = revision
        fetched[:] = allow_patterns
        return str(snapshot)

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


def test_a_hub_model_that_was_fetched_in_part_is_refused(folder, tmp_path, monkeypatch):
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_args, **_options: str(folder))
    with pytest.raises(DistraceError, match=r"^model 'student': .* holds no \*\.safetensors; write them"):
        write_model("student", {"hub": "owner/name", "revision": "main"}, tmp_path / "model.json")


def emptied(folder):
    (folder / "tokenizer.json").write_text("{}")


def without_tokens(folder):
    (folder / "tokenizer.json").unlink()


def of_unknown_type(folder):
    (folder / "config.json").write_text('{"model_type": "nonesuch"}')


def with_chat_template(text):
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


@pytest.mark.parametrize(
    ("change", "form", "said"),
    [
        (emptied, "plain", "config or tokenizer cannot be loaded: "),
        (without_tokens, "plain", "config or tokenizer cannot be loaded: "),
        (with_chat_template("Hi."), "think", "format 'think': the prompt does not hold the question"),
        (with_chat_template(""), "chat", "the model's tokenizer has no chat template; use the format plain"),
        (with_chat_template("{{ messages[0].contents }}"), "chat", "the prompt does not hold the question"),
        (with_chat_template("{{ mess"), "chat", "the chat template: the template fails: unexpected end of template"),
        (with_chat_template("{{ raise_exception('no system') }}"), "chat", "the chat template: .*no system"),
        (with_chat_template("Hi."), "{{ message }}{{ pad_tokken }}", "format: the template fails: 'pad_tokken' is"),
    ],
)
def test_a_model_that_could_not_be_prompted_fails_with_its_card(folder, tmp_path, change, form, said):
    change(folder)
    with pytest.raises(DistraceError, match=f"^model 'student': .*{said}") as error:
        write_model("student", {"folder": str(folder)}, tmp_path / "model.json", ModelSettings(format=form))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.json").exists()


def test_a_model_that_can_be_prompted_has_the_same_card_whatever_its_format(folder, tmp_path):
    write_model("student", {"folder": str(folder)}, tmp_path / "one.json")
    write_model("student", {"folder": str(folder)}, tmp_path / "other.json", ModelSettings(format="plain"))
    assert json.loads((tmp_path / "one.json").read_text()) == json.loads((tmp_path / "other.json").read_text())
