"""A digest of the code that a node's result depends on.

Nodes below all models run in seconds, so they run again whenever their code changes. The digest starts from everything
that a node's module defines, and follows each name to the function, class or constant of distrace that it stands for,
in any module. So a new constant beside those that a node uses does not change the digest. Nor do comments, docstrings,
layout, annotations, the block under `if __name__ == "__main__"`, and imports for type checkers alone.

    >>> source_digest("nodes.provenance") == source_digest("nodes.provenance")
    True
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from distrace.identity import digest

_PACKAGE = Path(__file__).parent
_RUN_ON_IMPORT = ""  # stands for the statements of a module that define nothing but run on import

Definition = tuple[str, str]  # a module of distrace, and the name of a function, class or constant in it


@cache
def source_digest(module: str) -> str:
    """Return a digest, 16 hexadecimal digits, of all definitions of distrace that `distrace.<module>` reaches."""
    found = sorted(_reached((module, name) for name in _module(module).definitions))
    return digest([(*definition, _code(definition)) for definition in found])[:16]


@dataclass(frozen=True)
class _Module:
    """The top level of a module: what it defines, by name, and what its imported names stand for."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, Definition]  # the second name is empty if a module itself is imported


def _reached(start: Iterable[Definition]) -> set[Definition]:
    found: set[Definition] = set()
    waiting = set(start)
    while waiting:
        definition = waiting.pop()
        found.add(definition)
        waiting |= {*_references(definition), (definition[0], _RUN_ON_IMPORT)} - found
    return found


@cache
def _references(definition: Definition) -> frozenset[Definition]:
    """Return the definitions that a definition's code names."""
    module, name = definition
    found: set[Definition] = set()
    for statement in _module(module).definitions.get(name, []):
        attributes = {id(node.value): node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                found.update(_resolved(module, node.id, attributes.get(id(node))))
    return frozenset(found)


def _resolved(module: str, name: str, attribute: str | None) -> Iterator[Definition]:
    """Yield the definition that `name` stands for (for an imported module, `name.attribute`), if it is distrace's."""
    known = _module(module)
    if name in known.definitions:
        yield module, name
    elif name in known.imports:
        source, imported = known.imports[name]
        if imported:
            yield from _resolved(source, imported, attribute)
        elif attribute:
            yield from _resolved(source, attribute, None)
        else:
            yield from ((source, defined) for defined in _module(source).definitions)


@cache
def _module(module: str) -> _Module:
    definitions: dict[str, list[ast.stmt]] = {_RUN_ON_IMPORT: []}
    imports: dict[str, Definition] = {}
    for statement in _without_remarks(ast.parse(_path(module).read_text("utf-8"))).body:
        if isinstance(statement, ast.If) and _is_not_run(statement.test):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom):
                imports.update(_imported(node))
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_docstring(statement):
            continue
        for name in _defined(statement) or [_RUN_ON_IMPORT]:
            definitions.setdefault(name, []).append(statement)
    return _Module(definitions, imports)


def _is_not_run(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "__name__ == '__main__'")


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]


def _imported(node: ast.ImportFrom) -> Iterator[tuple[str, Definition]]:
    """Yield the local names of an import from distrace, each with the module and the name in it."""
    package, _, inside = (node.module or "").partition(".")
    if package != "distrace" or node.level or inside == "sources":  # the code of digests changes no result
        return
    for alias in node.names:
        submodule = f"{inside}.{alias.name}".lstrip(".")
        is_module = _path(submodule).is_file()
        yield alias.asname or alias.name, (submodule, "") if is_module else (inside, alias.name)


def _path(module: str) -> Path:
    path = _PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _code(definition: Definition) -> str:
    module, name = definition
    return "\n".join(map(ast.dump, _module(module).definitions.get(name, [])))


def _without_remarks(tree: ast.Module) -> ast.Module:
    """Return the tree, changed in place: without docstrings and annotations, but a field of a class stays one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _is_docstring(node.body[0]):
            node.body = node.body[1:]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return tree


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
