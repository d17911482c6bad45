"""What makes one result differ from another: canonical digests, and the version of the code that computed it.

Nodes that run a model, and nodes above one, carry a number here, raised by hand when their result changes, so that an
edit that changes nothing costs no GPU hours. The nodes below all models carry a digest of their own sources.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

NODE_VERSIONS = {
    "questions": 1,
    "models": 1,
    "fresh": 1,
    "rollouts": 1,
    "sentences": 1,
    "logprobs": 1,
    "ranking": 1,
    "selection": 1,
    "finetune": 1,
}

_PACKAGE = Path(__file__).parent


def canonical_json(value: object) -> str:
    """Give the one JSON text of a value; raise TypeError or ValueError for what JSON cannot hold the same way twice."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Give the SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_id(*parts: object) -> str:
    """Give a 16-digit hexadecimal id that follows from `parts` alone."""
    return digest(parts)[:16]


@cache
def source_digest(module: str) -> str:
    """Give a digest of the code of `distrace.<module>` and of the modules of distrace it imports.

    Comments, docstrings and layout do not count: only what can change a result does.
    """
    trees = {name: _code(name) for name in sorted(_import_closure(module))}
    return digest(trees)[:16]


def _path(module: str) -> Path:
    path = _PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text("utf-8"))


def _code(module: str) -> str:
    tree = ast.parse(_path(module).read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _imported(module: str) -> set[str]:
    names = set()
    for node in ast.walk(_tree(module)):
        if not isinstance(node, ast.ImportFrom) or not node.module or node.module.split(".")[0] != "distrace":
            continue
        inside = node.module.removeprefix("distrace").lstrip(".")
        candidates = [f"{inside}.{alias.name}".lstrip(".") for alias in node.names]
        names.update(name for name in [inside, *candidates] if name and _path(name).is_file())
    return names


def _import_closure(module: str) -> set[str]:
    found, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imported(name) - found
    return found
