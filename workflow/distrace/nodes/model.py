"""The model node: finds the weights of a model of the config and writes its card.

Hub models are downloaded if they are not in the cache. Of a model that a server runs, only tokenizer and config are
needed; its name on the server is part of its fingerprint.
Run by the workflow as `python -m distrace.nodes.model --name NAME --source JSON --out FILE`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from distrace import command
from distrace.errors import DistraceError
from distrace.identity import digest
from distrace.models import TOKENIZER_FILES, WEIGHT_FILES, Card, folder_card, write_card


def write_model(name: str, source: dict[str, Any], out: Path) -> None:
    """Write the card of a hub model (`hub`, `revision`) or of a local one (`folder`).

    With `served`, the name of the model on a server, no weights are fetched or needed. Raises DistraceError if the
    model cannot be fetched, or if the folder holds no model.
    """
    hub, served = source.get("hub"), source.get("served")
    files = TOKENIZER_FILES if served else WEIGHT_FILES
    card = _hub_card(name, hub, source["revision"], files) if hub else folder_card(name, source["folder"], files)
    write_card(out, replace(card, fingerprint=digest([card.fingerprint, served])) if served else card)


def _hub_card(name: str, hub: str, revision: str, files: tuple[str, ...]) -> Card:
    from huggingface_hub import snapshot_download  # only hub models need it

    # The snapshot's folder is named after the commit that the revision stands for.
    try:
        snapshot = Path(snapshot_download(hub, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # what huggingface_hub raises: no such model, no network, a bad name
        raise DistraceError(f"model {name!r}: cannot fetch {hub} at revision {revision}: {error}") from error
    return Card(name, hub, snapshot.name, digest({"hub": hub, "commit": snapshot.name}))


if __name__ == "__main__":
    command.run(write_model)
