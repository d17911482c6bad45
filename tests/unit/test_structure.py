"""How the package hangs together: which module may import which, and that everything public is documented."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/distrace"
RUN_MODELS_HERE = {"fresh"}  # it is about torch; the others import it where there is something to run
VERBS = (
    "Add|Append|Attend|Build|Call|Check|Close|Compute|Connect|Copy|Count|Cut|Divide|Draw|Fill|Find|Fine-tune|Generate"
    "|Join|Keep|Lay|Load|Log|Open|Pack|Probe|Put|Raise|Read|Remove|Replace|Return|Run|Sample|Score|Send|Skip|Split|Tokenise|Train"
    "|Write|Yield"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


TREES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(statements: Iterator[ast.AST]) -> set[str]:
    """Return the modules of distrace that statements import."""
    found = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in TREES}
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in TREES else node.module for name in names} & TREES.keys()
    return found


def run_on_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import: not what functions do, nor what only type checkers read."""
    for statement in statements:
        if isinstance(statement, Function) or (
            isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)
        ):
            continue
        yield statement
        for name in ("body", "orelse", "handlers", "finalbody"):
            yield from run_on_import(getattr(statement, name, []))


ALL_IMPORTS = {name: imported(ast.walk(tree)) for name, tree in TREES.items()}
RUNTIME_IMPORTS = {name: imported(run_on_import(tree.body)) for name, tree in TREES.items()}


def reached(module: str) -> set[str]:
    """Return all modules that importing one leads to."""
    found, waiting = set(), {module}
    while waiting:
        found |= waiting
        waiting = set(chain.from_iterable(RUNTIME_IMPORTS[name] for name in waiting)) - found
    return found - {module}


def in_package(name: str) -> list[str]:
    return [module for module in TREES if module.startswith(f"distrace.{name}.")]


NODES = {module.rpartition(".")[2] for module in in_package("nodes")}


def test_every_rule_that_runs_a_node_runs_the_node_of_its_name_and_every_node_has_a_rule():
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^(?=rule )", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            found[re.match(r"rule (\w+):", rule)[1]] = re.findall(r"-m distrace\.nodes\.(\w+)", rule)
    assert found == {node: [node] for node in NODES}


@pytest.mark.parametrize("room", ["nodes", "text", "measures", "pages", "training", "export"])
def test_every_module_of_a_room_has_its_tests_in_the_same_room(room):
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/unit" / room).glob("test_*.py")}
    assert {module.rpartition(".")[2] for module in in_package(room)} <= tests


@pytest.mark.parametrize("node", sorted(NODES))
def test_no_node_imports_another(node):
    assert not [name for name in ALL_IMPORTS[f"distrace.nodes.{node}"] if name.startswith("distrace.nodes")]


def test_no_module_imports_itself_by_way_of_others():
    try:
        TopologicalSorter(RUNTIME_IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("layer", ["text", "measures"])
def test_texts_and_measures_know_no_nodes_engines_pages_or_plan(layer):
    above = {"distrace.plan", "distrace.config", "distrace.nodes", "distrace.engines", "distrace.pages"}
    above |= {module for name in ("nodes", "engines", "pages") for module in in_package(name)}
    for module in in_package(layer):
        assert not (ALL_IMPORTS[module] | reached(module)) & above, module


def test_modules_are_imported_by_their_full_names_with_from_as_the_digests_of_sources_need():
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: a relative import"
                assert "*" not in [alias.name for alias in node.names], f"{module}: an import of everything"
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.split(".")[0] == "distrace"]
                assert names == [], f"{module}: import {names} hides what is used"


def test_nodes_that_run_no_model_themselves_import_neither_torch_nor_transformers():
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "for node in sys.argv[1:]:\n"
        "    import_module(f'distrace.nodes.{node}')\n"
        "    if found := {'torch', 'transformers'} & sys.modules.keys():\n"
        "        sys.exit(f'{node} imports {sorted(found)}')\n"
    )
    command = [sys.executable, "-c", code, *sorted(NODES - RUN_MODELS_HERE)]
    found = subprocess.run(command, text=True, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def public(module: str, body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Yield the public classes, functions and methods, by name."""
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield f"{module}.{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(module, node.body, f"{node.name}.")


PUBLIC = dict(chain.from_iterable(public(module, tree.body) for module, tree in TREES.items()))


def is_property(node: ast.AST) -> bool:
    return any(ast.unparse(decorator) in ("property", "cached_property") for decorator in node.decorator_list)


def test_every_module_and_every_public_class_function_and_method_has_a_docstring():
    documented = {**TREES, **PUBLIC}
    missing = [name for name, node in documented.items() if not ast.get_docstring(node)]
    assert missing == []


def test_docstrings_of_functions_begin_with_a_plain_verb():
    strange = {}
    for name, node in PUBLIC.items():
        text = ast.get_docstring(node)
        if text and isinstance(node, Function) and not is_property(node):
            word = text.split()[0].rstrip(",")
            if not re.fullmatch(VERBS, word):
                strange[name] = word
    assert strange == {}
