"""Models and their cards: where the weights of a model lie, and their fingerprint.

The card of a model of the config is `results/models/NAME/model.json`. Its fingerprint is a digest of the commit of a
hub model, or of the files of a local folder. Trained models have the same card.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from distrace.artifacts import write_text
from distrace.errors import DistraceError
from distrace.identity import digest
from distrace.imports import importing
from distrace.rows import file_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The files that can change a model's output; a README or a licence cannot.
TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.py")
WEIGHT_FILES = ("*.safetensors", *TOKENIZER_FILES)


@dataclass(frozen=True)
class Card:
    """A model: `location` is a hub id or a folder, `revision` a hub commit or None."""

    name: str
    location: str
    revision: str | None
    fingerprint: str


def folder_card(name: str, folder: str, files: tuple[str, ...] = WEIGHT_FILES) -> Card:
    """Return the card of a local folder; its fingerprint is a digest of the names and contents of its files.

    Raises DistraceError if the folder holds no model.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise DistraceError(f"model {name!r}: {folder} holds no config.json; is it a folder that transformers saved?")
    needed = "*.safetensors" if files is WEIGHT_FILES else "tokenizer*"
    if not any(path.glob(needed)):
        raise DistraceError(f"model {name!r}: {folder} holds no {needed}")
    found = sorted({file for pattern in files for file in path.glob(pattern)})
    return Card(name, folder, None, digest({file.name: file_digest(file) for file in found}))


def write_card(path: Path, card: Card) -> None:
    """Write a model's card."""
    write_text(path, json.dumps(asdict(card), indent=2) + "\n")


def rename_card(path: Path, name: str, location: str) -> None:
    """Write the card at `path` anew: the same model under this name, its weights in this folder."""
    card = Card(**json.loads(path.read_text("utf-8")))
    write_card(path, replace(card, name=name, location=location))


def read_card(path: Path) -> Card:
    """Return the model's card at `path`; raise DistraceError if its weights are gone."""
    card = Card(**json.loads(Path(path).read_text("utf-8")))
    if card.revision is None and not Path(card.location).is_dir():
        raise DistraceError(f"{path}: the weights at {card.location} are gone; delete {path} and run again")
    return card


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, in place of which it is put if the block succeeds, and else removed.

    So no kill leaves half a model under its name.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load_tokenizer(card: Card, trust_remote_code: bool) -> "PreTrainedTokenizerBase":
    """Return a model's tokenizer without loading its weights; code that comes with it runs only if it is trusted."""
    with importing():
        from transformers import AutoTokenizer  # takes seconds, and not every node needs it

        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            card.location, revision=card.revision, trust_remote_code=trust_remote_code
        )
    return tokenizer
