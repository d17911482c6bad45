"""What an explorer holds, read again as its page reads it, but from the description of the format."""

import base64
import gzip
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

TYPES = {"f64": np.float64, "i32": np.int32, "u8": np.uint8}


def decoded(text: str) -> tuple[object, dict[str, np.ndarray]]:
    """Return the values and the arrays of a chunk."""
    data = gzip.decompress(base64.b64decode(text, validate=True))
    [length] = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    arrays, place = {}, 4 + length
    for about in header["arrays"]:
        place = -(-place // 8) * 8
        kind = np.dtype(TYPES[about["type"]]).newbyteorder("<")
        arrays[about["name"]] = np.frombuffer(data, kind, about["length"], place)
        place += arrays[about["name"]].nbytes
    return header["values"], arrays


class Scripts(HTMLParser):
    """The script elements of a page: their attributes and their text; and all tags of the page."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.tags, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.found.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.found[-1][1] += data


def read(page: Path) -> tuple[dict, dict[str, str]]:
    """Return the index of an explorer, and its chunks by name, from the page or from the folder beside it."""
    scripts = Scripts(page.read_text("utf-8")).found
    [index] = [json.loads(text) for about, text in scripts if about.get("id") == "index"]
    chunks = {about["data-name"]: text for about, text in scripts if about.get("class") == "chunk"}
    assert bool(chunks) == index["inline"]
    if not chunks:
        for path in page.with_suffix("").iterdir():
            script = path.read_text("ascii")
            [(name, text)] = re.findall(r'\AdistraceChunk\("([a-z0-9-]+)","([A-Za-z0-9+/=]+)"\);\n\Z', script)
            assert path.name == f"{name}.js"
            chunks[name] = text
    return index, chunks


def values(chunks: dict[str, str], name: str) -> object:
    """Return the values of a chunk that has no arrays."""
    found, arrays = decoded(chunks[name])
    assert arrays == {}
    return found


def arrays(chunks: dict[str, str], name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a chunk that has no values."""
    found, arrays = decoded(chunks[name])
    assert found is None
    return arrays
