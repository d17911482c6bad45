"""Run a node from the command line: its function's parameters are the options.

An option of type `Path` takes one path, `list[Path]` any number; dataclasses, other lists and dicts are read from JSON.
So a rule's shell command and a notebook call the same function with the same names.
"""

import argparse
import dataclasses
import inspect
import json
import logging
import sys
import types
import typing
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from distrace.errors import DistraceError
from distrace.gpus import take_gpus
from distrace.one_writer import one_writer


def run(node: Callable[..., None], alone: bool = False) -> None:
    """Call `node` with the options of the command line; print a DistraceError as one line and exit with status 1.

    With `alone`, no other job that writes the same `out` runs meanwhile, nor any other on the GPUs that it computes on;
    the option `--gpus` says how many it takes.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"[{_name(node)}] %(message)s")
    for noisy in ("httpx", "httpx2", "datasets", "transformers"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    parser = _parser(node)
    if alone:
        parser.add_argument("--gpus", type=int, default=0, help="GPUs to compute on")
    arguments = vars(parser.parse_args())
    try:
        take_gpus(arguments.pop("gpus", 0))
        with one_writer(arguments["out"]) if alone else nullcontext():
            node(**arguments)
    except DistraceError as error:
        sys.exit(f"error: {error}")


def _name(node: Callable[..., None]) -> str:
    return Path(sys.argv[0]).stem or node.__name__


def _parser(node: Callable[..., None]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(node.__doc__ or "").partition("\n")[0])
    hints = typing.get_type_hints(node)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(node).parameters.items()
        if parameter.default is not parameter.empty
    }
    for name, hint in hints.items():
        if name == "return":
            continue
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            required=name not in defaults,
            default=defaults.get(name),
            **_reader(hint),
        )
    return parser


def _reader(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if hint == list[Path]:
        return {"type": Path, "nargs": "*"}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return {"type": _explained(lambda text: hint(**json.loads(text))), "metavar": "JSON"}
    if typing.get_origin(hint) in (dict, list):
        return {"type": _explained(json.loads), "metavar": "JSON"}
    return {"type": hint}


def _explained(read: Callable[[str], object]) -> Callable[[str], object]:
    # argparse itself says only that the value is invalid.
    def explained(text: str) -> object:
        try:
            return read(text)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"{error} in {text}") from error

    return explained
