"""The model node: finds the weights of a model of the config and writes its card.

Hub models are downloaded if they are not in the cache. Of a model that a server runs, only tokenizer and config are
needed; its name on the server is part of its fingerprint. With `--settings`, the tokenizer is loaded and a prompt
written with it, so that what fails there fails in the first minute, not after another model has run for hours.
Run by the workflow as `python -m distrace.nodes.model --name NAME --source JSON --settings JSON --out FILE`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from distrace import command
from distrace.errors import DistraceError
from distrace.identity import digest
from distrace.model_files import faults
from distrace.models import TOKENIZER_FILES, WEIGHT_FILES, Card, folder_card, load_tokenizer, write_card
from distrace.settings import ModelSettings
from distrace.text.prompts import load_format


def write_model(name: str, source: dict[str, Any], out: Path, settings: ModelSettings | None = None) -> None:
    """Write the card of a hub model (`hub`, `revision`) or of a local one (`folder`).

    With `served`, the name of the model on a server, no weights are fetched or needed. Raises DistraceError if the
    model cannot be fetched, if its files are not whole, or if no prompt can be written with its tokenizer.
    """
    hub, served = source.get("hub"), source.get("served")
    files = TOKENIZER_FILES if served else WEIGHT_FILES
    folder = _fetched(name, hub, source["revision"], files) if hub else Path(source["folder"])
    if found := faults(folder, weights=not served):
        raise DistraceError(f"model {name!r}: {'; '.join(found)}")
    card = _hub_card(name, hub, folder.name) if hub else folder_card(name, source["folder"], files)
    if settings:
        _require_prompts(card, settings)
    write_card(out, replace(card, fingerprint=digest([card.fingerprint, served])) if served else card)


def _fetched(name: str, hub: str, revision: str, files: tuple[str, ...]) -> Path:
    """Return the folder of a hub model, which is named after the commit that the revision stands for."""
    from huggingface_hub import snapshot_download  # only hub models need it

    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # what huggingface_hub raises: no such model, no network, a bad name
        raise DistraceError(f"model {name!r}: cannot fetch {hub} at revision {revision}: {error}") from error


def _hub_card(name: str, hub: str, commit: str) -> Card:
    return Card(name, hub, commit, digest({"hub": hub, "commit": commit}))


def _require_prompts(card: Card, settings: ModelSettings) -> None:
    """Raise DistraceError if config or tokenizer cannot be loaded, or no prompt of the format written with them."""
    from transformers import AutoConfig  # takes seconds

    trusted = settings.trust_remote_code
    try:
        if settings.engine != "server":
            AutoConfig.from_pretrained(card.location, revision=card.revision, trust_remote_code=trusted)
        tokenizer = load_tokenizer(card, trusted)
    except Exception as error:  # whatever a broken file makes of the libraries that read it
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DistraceError(f"model {card.name!r}: config or tokenizer cannot be loaded: {reason}") from error
    try:
        load_format(settings, tokenizer)
    except DistraceError as error:
        raise DistraceError(f"model {card.name!r}: {error}") from error


if __name__ == "__main__":
    command.run(write_model)
