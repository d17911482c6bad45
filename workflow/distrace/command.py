"""Run a node from the command line: its function's parameters are the options.

An option of type `Path` takes one path, `list[Path]` any number; dataclasses, other lists and dicts are read from JSON.
So a rule's shell command and a notebook call the same function with the same names. A node whose function is about one
part of a set is run on all of them (`run_each_part`): its artifacts are then the lists of parts.
"""

import argparse
import atexit
import contextlib
import dataclasses
import errno
import functools
import gc
import inspect
import json
import logging
import multiprocessing
import os
import re
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from distrace.errors import DistraceError
from distrace.gpus import take_gpus
from distrace.imports import leave_pandas_out
from distrace.one_writer import one_writer
from distrace.parts import open_parts, write_list

log = logging.getLogger(__name__)

_STEERING = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


def run(node: Callable[..., None], alone: bool = False) -> None:
    """Call `node` with the options of the command line; print a DistraceError as one line and exit with status 1.

    With `alone`, no other job that writes the same `out` runs meanwhile, nor any other on the GPUs that it computes on;
    the option `--gpus` says how many it takes.
    """
    _log_as(_name(node))
    parser = _parser(node)
    if alone:
        parser.add_argument("--gpus", type=int, default=0, help="GPUs to compute on")
    arguments = vars(parser.parse_args())
    take_gpus(arguments.pop("gpus", 0))
    with one_writer(arguments["out"]) if alone else contextlib.nullcontext():
        _call(node, **arguments)


def run_each_part(node: Callable[..., None]) -> None:
    """Call `node` on each part of the sets whose lists the command line gives, and list at `--out` what it wrote.

    Every option of type `Path` is the list of the parts of an artifact, or its only part. A part that is there as it
    would be written is left alone, so a set that grew costs what is new. `--threads` parts are worked on at once.
    """
    _log_as(_name(node))
    parser = _parser(node)
    parser.add_argument("--threads", type=int, default=1)
    arguments = vars(parser.parse_args())
    _call(_each_part, node, arguments.pop("threads"), arguments.pop("out"), arguments)


def _each_part(node: Callable[..., None], threads: int, out: Path, arguments: dict[str, Any]) -> None:
    lists = {name: open_parts(value) for name, value in arguments.items() if isinstance(value, Path)}
    numbered = [len(parts.listed) for parts in lists.values()]
    if len(set(numbered)) != 1:
        raise DistraceError(f"the inputs {[str(parts.path) for parts in lists.values()]} have {numbered} parts")
    jobs = []
    for parts in zip(*lists.values(), strict=True):
        paths = dict(zip(lists, [part.path for part in parts], strict=True))
        jobs.append(functools.partial(node, **arguments | paths, out=out.with_name(parts[0].path.name)))
    _run_all(jobs, threads, _name(node))
    write_list([job.keywords["out"] for job in jobs], out)


def _run_all(jobs: list[functools.partial[None]], threads: int, name: str) -> None:
    """Call all functions, in so many processes, with a line about each tenth of them."""
    said = max(1, len(jobs) // 10)
    with contextlib.ExitStack() as stack:
        done: Iterable[None] = (job() for job in jobs)
        if min(threads, len(jobs)) > 1:
            # Spawned, since polars has threads, which a fork would leave locked.
            context = multiprocessing.get_context("spawn")
            executor = ProcessPoolExecutor(min(threads, len(jobs)), context, _begin_worker, (name,))
            done = stack.enter_context(executor).map(functools.partial.__call__, jobs)
        for number, _ in enumerate(done, start=1):
            if number % said == 0 and len(jobs) > 1:
                log.info("%d of %d parts", number, len(jobs))


def _call(function: Callable[..., None], *positional: Any, **named: Any) -> None:
    _begin()
    try:
        function(*positional, **named)
    except DistraceError as error:
        sys.exit(_plain(" ".join([f"error: {error}", *getattr(error, "__notes__", [])])))
    except Exception as error:
        if not is_disk_full(error):
            raise
        where = getattr(error, "filename", None) or Path.cwd()
        sys.exit(f"error: no room is left on the disk of {where}; make room and run the same command (docs/disk.md)")


def _begin() -> None:
    """Spare the process of a job what takes time and serves no job."""
    gc.freeze()
    atexit.register(leave_uncollected)
    leave_pandas_out()


def leave_uncollected() -> None:
    """Keep Python from looking through all that was imported once more as the process ends, which takes a second.

    Not if Triton is there, which lists as leaks what is not collected, so also what was frozen before.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


def is_disk_full(error: BaseException) -> bool:
    """Return whether a file could not be written for want of room, whichever library says so and however."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    known = isinstance(error, OSError) and error.errno in codes
    # torch says of a checkpoint that it could not write only at which byte it stopped.
    return known or any(words in str(error) for words in (*map(os.strerror, codes), "unexpected pos "))


def _begin_worker(name: str) -> None:
    """Let a process of `_run_all` log as its job does, and end when the job is killed.

    It would wait for work for ever, and the shell of the job for what holds its output open.
    """
    _log_as(name)
    _begin()
    threading.Thread(target=_end_with_job, daemon=True).start()


def _end_with_job() -> None:
    job = multiprocessing.parent_process()
    assert job is not None
    job.join()
    os._exit(1)


def _log_as(name: str) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_PlainFormatter(f"[{name}] %(message)s"))
    for noisy in ("httpx", "httpx2", "datasets", "transformers"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _plain(super().format(record))


def _plain(text: str) -> str:
    """Return a text whose signs cannot steer the terminal nor turn its lines round: what models say is hostile."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


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
