"""The model node: finds out which weights a name of the config stands for, and how to tell them from others.

A model's card (`results/models/NAME/model.json`) says where the weights lie and carries their fingerprint: the
commit of a hub model, the content of a local folder. Trained models write the same card.
Of a model that a server runs, only tokenizer and config are needed here; its name there is in its fingerprint.
Run by the workflow as `python -m distrace.models --name NAME --source JSON --out FILE`.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from distrace import command
from distrace.artifacts import write_text
from distrace.errors import DistraceError
from distrace.identity import digest
from distrace.rows import file_digest

# What changes a model's output; a README or a licence beside it does not.
_TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.py")
_WEIGHT_FILES = ("*.safetensors", *_TOKENIZER_FILES)


@dataclass(frozen=True)
class Card:
    """A model: `location` is a hub id or a folder, `revision` a hub commit or None."""

    name: str
    location: str
    revision: str | None
    fingerprint: str


def write_model(name: str, source: dict, out: Path) -> None:
    """Write the card of a hub model (downloading it where the machine may) or of a local folder.

    With `served`, the name that a server has for the model, no weights are fetched or asked for.
    """
    hub, served = source.get("hub"), source.get("served")
    files = _TOKENIZER_FILES if served else _WEIGHT_FILES
    card = _hub_card(name, hub, source["revision"], files) if hub else folder_card(name, source["folder"], files)
    write_card(out, replace(card, fingerprint=digest([card.fingerprint, served])) if served else card)


def folder_card(name: str, folder: str, files: tuple[str, ...] = _WEIGHT_FILES) -> Card:
    """Give the card of a local folder; its fingerprint is a digest of the names and contents of its files."""
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise DistraceError(f"model {name!r}: {folder} holds no config.json; is it a folder that transformers saved?")
    needed = "*.safetensors" if files is _WEIGHT_FILES else "tokenizer*"
    if not any(path.glob(needed)):
        raise DistraceError(f"model {name!r}: {folder} holds no {needed}")
    found = sorted({file for pattern in files for file in path.glob(pattern)})
    return Card(name, folder, None, digest({file.name: file_digest(file) for file in found}))


def _hub_card(name: str, hub: str, revision: str, files: tuple[str, ...]) -> Card:
    from huggingface_hub import snapshot_download  # only hub models need it

    # The snapshot's folder is named by the commit that the revision stands for.
    try:
        snapshot = Path(snapshot_download(hub, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # what huggingface_hub raises: no such model, no network, a bad name
        raise DistraceError(f"model {name!r}: cannot fetch {hub} at revision {revision}: {error}") from error
    return Card(name, hub, snapshot.name, digest({"hub": hub, "commit": snapshot.name}))


def write_card(path: Path, card: Card) -> None:
    """Write a model's card."""
    write_text(path, json.dumps(asdict(card), indent=2) + "\n")


def read_card(path: Path) -> Card:
    """Read a model's card; raise DistraceError if the weights it speaks of are gone."""
    card = Card(**json.loads(Path(path).read_text("utf-8")))
    if card.revision is None and not Path(card.location).is_dir():
        raise DistraceError(f"{path}: the weights at {card.location} are gone; delete {path} and run again")
    return card


def load_tokenizer(card: Card, trust_remote_code: bool):
    """Load a model's tokenizer without its weights; code that comes with it runs only where it is trusted."""
    from transformers import AutoTokenizer  # seconds that the model node need not spend

    return AutoTokenizer.from_pretrained(card.location, revision=card.revision, trust_remote_code=trust_remote_code)


if __name__ == "__main__":
    command.run(write_model)
