"""What is wrong with the files of a model, found before anything loads them: seconds, not hours, into a run.

Of weights, the header of each safetensors file is read and held against the length of the file; of the rest, whether it
is there. The planning of a run looks so at the folders that the config names, the node `model` also at what it fetched.
"""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZER = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
_LFS = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself


def faults(folder: Path, weights: bool = True) -> list[str]:
    """Return a line for each fault of the model in a folder; its weights are looked at only if it runs here."""
    return [*_config_faults(folder), *_tokenizer_faults(folder), *(_weight_faults(folder) if weights else [])]


def _config_faults(folder: Path) -> Iterator[str]:
    path = folder / "config.json"
    if not path.is_file():
        yield f"{folder} holds no config.json; is it a folder that transformers saved?"
        return
    config = _json_object(path)
    if isinstance(config, str):
        yield config
    elif not {"model_type", "auto_map"} & config.keys():
        yield f"{path} names no model_type; is it the config of a model of transformers?"


def _tokenizer_faults(folder: Path) -> Iterator[str]:
    if not any(next(folder.glob(pattern), None) for pattern in TOKENIZER):
        yield (
            f"{folder} holds no tokenizer (tokenizer.json); save it there, too: "
            "AutoTokenizer.from_pretrained(ORIGINAL).save_pretrained(FOLDER)"
        )


def _weight_faults(folder: Path) -> Iterator[str]:
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        what = f", only pickled weights ({', '.join(pickled[:3])}), which may run code when read" if pickled else ""
        yield (
            f"{folder} holds no *.safetensors{what}; write them: "
            "AutoModelForCausalLM.from_pretrained(ORIGINAL).save_pretrained(FOLDER)"
        )
    yield from _missing_shards(folder)
    for path in found:
        if fault := weight_fault(path):
            yield f"{path} {fault}; copy or fetch it again"


def _missing_shards(folder: Path) -> Iterator[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    listed = _json_object(index)
    if isinstance(listed, str):
        yield listed
        return
    shards = listed.get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) else set()
    if missing := sorted(str(name) for name in names if not (folder / str(name)).is_file()):
        yield f"{folder} lacks {len(missing)} of the {len(names)} files that {index.name} lists: {missing[0]}"


def weight_fault(path: Path) -> str | None:
    """Return why a safetensors file is not whole; None if its header fits the length of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS))
        if start == _LFS:
            return "is a pointer of Git LFS, not the weights (git lfs pull)"
        if len(start) < 8:
            return f"is cut short: {size} bytes"
        (length,) = struct.unpack("<Q", start[:8])
        if length > _LONGEST_HEADER:
            return "is no safetensors file"
        file.seek(8)
        header = file.read(length)
    try:
        tensors = {name: told for name, told in json.loads(header).items() if name != "__metadata__"}
        expected = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
        return "is cut short" if len(header) < length else "is no safetensors file"
    return None if size == expected else f"has {size} bytes where its header says {expected}"


def parameters_in(path: Path) -> int:
    """Return the number of values in a whole safetensors file: its header names the shape of each tensor."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _json_object(path: Path) -> dict[str, Any] | str:
    """Return the object that a JSON file holds, or what is wrong with it."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} is not JSON: {error}"
    return found if isinstance(found, dict) else f"{path} holds no JSON object"
