"""What is wrong with the files of a model, each fault made in a copy of a whole one."""

import json
import os
import shutil
import struct

import pytest

from distrace.model_files import faults, parameters_in, weight_fault
from tiny import tiny_model, write_author


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_author(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "weights")


def cut(size):
    return lambda folder: os.truncate(folder / "model.safetensors", size)


def rewritten(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(pattern):
    def change(folder):
        for path in folder.glob(pattern):
            path.unlink()

    return change


def indexed(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FAULTS = {
    "config missing": (without("config.json"), "holds no config.json; is it a folder that transformers saved?"),
    "config cut short": (rewritten("config.json", b'{"model_type": '), "config.json is not JSON: "),
    "config not text": (rewritten("config.json", b"\xff\xfe"), "config.json is not JSON: "),
    "config a list": (rewritten("config.json", b"[]"), "config.json holds no JSON object"),
    "config of nothing": (rewritten("config.json", b"{}"), "config.json names no model_type"),
    "tokenizer missing": (without("tokenizer*"), "holds no tokenizer (tokenizer.json); save it there"),
    "weights missing": (without("*.safetensors"), "holds no *.safetensors; write them: "),
    "weights pickled": (pickled, "only pickled weights (pytorch_model.bin), which may run code when read; write"),
    "weights empty": (cut(0), "model.safetensors is cut short: 0 bytes; copy or fetch it again"),
    "weights cut in the header": (cut(700), "model.safetensors is cut short; copy or fetch it again"),
    "weights cut": (cut(90_000), "model.safetensors has 90000 bytes where its header says "),
    "weights with more after them": (cut(10**6), "model.safetensors has 1000000 bytes where its header says "),
    "weights of another kind": (rewritten("model.safetensors", b"PK" + b"x" * 99), "is no safetensors file"),
    "weights with a broken header": (
        rewritten("model.safetensors", struct.pack("<Q", 4) + b"[1]}"),
        "is no safetensors file",
    ),
    "weights a pointer of Git LFS": (
        rewritten("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
        "is a pointer of Git LFS, not the weights (git lfs pull)",
    ),
    "a shard missing": (indexed, "lacks 1 of the 2 files that model.safetensors.index.json lists: model-2.safetensors"),
    "index cut short": (rewritten("model.safetensors.index.json", b"{"), "model.safetensors.index.json is not JSON: "),
}


def test_a_whole_model_has_no_fault(folder):
    assert faults(folder) == []
    assert weight_fault(folder / "model.safetensors") is None


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_a_model_is_one_line(folder, case):
    change, said = FAULTS[case]
    change(folder)
    [found] = faults(folder)
    assert said in found
    assert str(folder) in found
    assert "\n" not in found


def test_the_weights_of_a_served_model_are_not_looked_at(folder):
    cut(10)(folder)
    assert faults(folder, weights=False) == []


def test_parameters_are_counted_in_the_headers_of_the_weights(folder):
    assert parameters_in(folder / "model.safetensors") == sum(p.numel() for p in tiny_model().parameters())
