"""Digests of the code that nodes reach: on a made-up package, and on a copy of distrace with one place edited."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distrace import sources
from distrace.versions import NODE_VERSIONS

LABELS = {
    "evidence",
    "provenance",
    "positions",
    "sensitivity",
    "float32_check",
    "attribution",
    "truth",
    "separation",
    "validation",
    "grades",
}

MADE_UP = {
    "node.py": '"""Doc."""\nfrom distrace import helper\n\n\ndef run():\n    """Doc."""\n    return helper.one()\n',
    "helper.py": "from distrace.engines.fast import two\n\n\n"
    "def one():\n    return two()\n\n\n"
    "def unused():\n    return 0\n",
    "engines/__init__.py": "",
    "engines/fast.py": "import os\n\n"
    "WIDTH: int = 2\nHEIGHT = 3\n\n\ndef two(width: int = WIDTH) -> int:\n    return width\n",
    "other.py": "x = 1\n",
}

Edit = Callable[[str, str], str]


def forget() -> None:
    for function in (sources.source_digest, sources._module, sources._references, sources._code):
        function.cache_clear()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of the package's."""
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path / "package")
    forget()
    yield tmp_path / "package"
    forget()


@pytest.fixture
def made_up(elsewhere) -> Edit:
    """A package in which `node` calls `helper`, which calls `engines.fast`; `other` is apart.

    The function puts code into a module and returns the digest of `node` after that.
    """
    (elsewhere / "engines").mkdir(parents=True)
    for name, code in MADE_UP.items():
        (elsewhere / name).write_text(code)

    def digest_with(name: str, code: str) -> str:
        (elsewhere / name).write_text(code)
        forget()
        return sources.source_digest("node")

    return digest_with


def test_a_digest_has_sixteen_hexadecimal_digits(made_up):
    assert re.fullmatch("[0-9a-f]{16}", sources.source_digest("node"))


def test_the_code_of_all_that_a_node_reaches_counts_in_whatever_module_it_lies(made_up):
    before = sources.source_digest("node")
    fast = MADE_UP["engines/fast.py"]
    assert made_up("engines/fast.py", fast.replace("return width", "return width + 1")) != before
    assert made_up("engines/fast.py", fast.replace("int = 2", "int = 4")) != before
    assert made_up("engines/fast.py", fast) == before
    assert made_up("helper.py", MADE_UP["helper.py"].replace("return two()", "return -two()")) != before


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("other.py", lambda code: "x = 2\n"),
        ("engines/fast.py", lambda code: code + "\n\nDEPTH = 4\n\n\ndef three():\n    return DEPTH\n"),
        ("engines/fast.py", lambda code: code.replace("HEIGHT = 3", "HEIGHT = 5")),
        ("helper.py", lambda code: code.replace("return 0", "return 1")),
    ],
    ids=["another module", "a new definition", "a constant that is not used", "a function that is not called"],
)
def test_what_a_node_does_not_reach_does_not_count(made_up, name, edit):
    before = sources.source_digest("node")
    assert edit(MADE_UP[name]) != MADE_UP[name]
    assert made_up(name, edit(MADE_UP[name])) == before


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (
            "node.py",
            '"""Another."""\nfrom distrace import helper\n\ndef run():\n    "Another."\n    return helper.one()\n',
        ),
        ("node.py", MADE_UP["node.py"] + '\n\nif __name__ == "__main__":\n    print(run())\n'),
        (
            "engines/fast.py",
            "import os\n# why\nWIDTH: int = 2\ndef two(width=WIDTH):\n\n    # how\n    return (width)\n",
        ),
        ("engines/fast.py", MADE_UP["engines/fast.py"].replace("-> int", '-> "Width"')),
        ("engines/fast.py", MADE_UP["engines/fast.py"].replace("WIDTH: int", "WIDTH: float")),
    ],
    ids=["docstrings", "what runs as a program", "comments and layout", "what is returned", "the type of a constant"],
)
def test_what_changes_no_result_does_not_count(made_up, name, code):
    before = sources.source_digest("node")
    assert made_up(name, code) == before


def test_names_in_annotations_are_not_followed(made_up):
    helper = "from distrace.other import Kind\n" + MADE_UP["helper.py"].replace("def one()", "def one() -> Kind")
    (sources._PACKAGE / "other.py").write_text("class Kind:\n    size = 1\n")
    before = made_up("helper.py", helper)
    assert made_up("other.py", "class Kind:\n    size = 2\n") == before


def test_what_only_type_checkers_import_is_not_followed(made_up):
    helper = (
        "from typing import TYPE_CHECKING\n\nfrom distrace.engines.fast import two\n\n"
        "if TYPE_CHECKING:\n    from distrace.other import x\n\n\n"
        "def one():\n    known: list[x] = []\n    return two()\n"
    )
    before = made_up("helper.py", helper)
    assert made_up("other.py", "x = 2\n") == before


@pytest.mark.parametrize("name", ["node.py", "helper.py", "engines/fast.py"])
def test_statements_that_run_on_import_count_in_every_module_that_is_reached(made_up, name):
    before = sources.source_digest("node")
    assert made_up(name, MADE_UP[name] + "\n\nprint('imported')\n") != before
    assert made_up(name, MADE_UP[name]) == before
    assert made_up("other.py", MADE_UP["other.py"] + "print('imported')\n") == before


def test_of_a_module_that_is_imported_whole_only_the_named_definitions_are_followed(made_up):
    node = "from distrace import helper, other\n\n\ndef run():\n    return helper.one() + other.x\n"
    before = made_up("node.py", node)
    assert made_up("other.py", "x = 1\ny = 1\n") == before
    assert made_up("other.py", "x = 2\n") != before


def test_a_module_that_is_handed_on_whole_counts_whole(made_up):
    before = made_up("node.py", "from distrace import other\n\n\ndef run():\n    return vars(other)\n")
    assert made_up("other.py", "x = 1\ny = 1\n") != before


def test_names_are_followed_through_modules_that_hand_them_on(made_up):
    (sources._PACKAGE / "helper.py").write_text("from distrace.engines.fast import two as one\n")
    before = made_up("other.py", "x = 1\n")
    assert made_up("engines/fast.py", MADE_UP["engines/fast.py"].replace("return width", "return -width")) != before


def test_names_imported_inside_a_function_are_followed(made_up):
    node = "def run():\n    from distrace.other import x\n\n    return x\n"
    before = made_up("node.py", node)
    assert made_up("other.py", "x = 2\n") != before


def test_definitions_that_name_each_other_are_counted_once(made_up):
    helper = "def one():\n    return two()\n\n\ndef two():\n    return one()\n"
    assert made_up("helper.py", helper) == made_up("helper.py", helper)
    assert made_up("helper.py", helper.replace("return one()", "return -one()")) != made_up("helper.py", helper)


def test_every_rule_has_its_nodes_version_or_its_nodes_digest():
    rules = "".join(path.read_text("utf-8") for path in (sources._PACKAGE.parent / "rules").glob("*.smk"))
    with_version = set(re.findall(r'version=NODE_VERSIONS\["(\w+)"\]', rules))
    with_digest = set(re.findall(r'version=source_digest\("nodes\.(\w+)"\)', rules))
    assert with_version == set(NODE_VERSIONS)
    assert with_digest >= LABELS
    nodes = {path.stem for path in (sources._PACKAGE / "nodes").glob("[!_]*.py")}
    assert nodes == with_version | with_digest
    assert all(re.fullmatch("[0-9a-f]{16}", sources.source_digest(f"nodes.{node}")) for node in with_digest)


@pytest.fixture
def changed(elsewhere) -> Callable[[str, str, str], set[str]]:
    """A copy of distrace. The function edits a file in it and returns the nodes whose digests are others then."""
    shutil.copytree(Path(sources.__file__).parent, elsewhere, ignore=shutil.ignore_patterns("__pycache__"))
    nodes = sorted(path.stem for path in (elsewhere / "nodes").glob("[!_]*.py"))

    def digests() -> dict[str, str]:
        forget()
        return {node: sources.source_digest(f"nodes.{node}") for node in nodes}

    def after(name: str, old: str, new: str) -> set[str]:
        before, code = digests(), (elsewhere / name).read_text("utf-8")
        assert code.count(old) == 1, f"{name} holds {code.count(old)} times {old!r}"
        (elsewhere / name).write_text(code.replace(old, new), "utf-8")
        return {node for node, digest in digests().items() if digest != before[node]}

    return after


def test_raising_a_nodes_version_changes_no_digest_of_the_nodes_that_carry_one(changed):
    version = NODE_VERSIONS["finetune"]
    found = changed("versions.py", f'"finetune": {version}', f'"finetune": {version + 1}')
    assert not found & (LABELS | {"report"})


def test_a_default_of_the_settings_of_servers_changes_no_digest_of_a_label(changed):
    found = changed("settings.py", "retries: int = 6", "retries: int = 7")
    assert not found & LABELS


def test_a_new_kind_of_artifact_changes_no_digest(changed):
    new = 'REJECTS = _kind("rejects", source=_TEXT, row=_INT, reason=_TEXT)\nNOTES = _kind("notes", note=_TEXT)\n'
    assert changed("kinds.py", 'REJECTS = _kind("rejects", source=_TEXT, row=_INT, reason=_TEXT)\n', new) == set()


def test_a_new_column_of_a_kind_changes_the_digests_of_the_nodes_that_name_the_kind(changed):
    found = changed("kinds.py", "    tokens_distilled=_INT,\n", "    tokens_distilled=_INT,\n    note=_TEXT,\n")
    assert found & LABELS == {"provenance", "positions", "sensitivity", "validation"}


def test_how_tokens_are_given_to_sentences_changes_the_digests_of_the_nodes_that_do_so(changed):
    found = changed("text/alignment.py", "np.full(len(starts), -1, np.int64)", "np.full(len(starts), -2, np.int64)")
    assert found & LABELS == {"provenance", "sensitivity", "float32_check", "separation", "attribution"}


def test_how_a_response_is_tokenised_changes_no_digest_of_a_label(changed):
    found = changed("text/alignment.py", "_UNFINISHED_TOKENS = 4", "_UNFINISHED_TOKENS = 5")
    assert not found & LABELS


def test_remarks_and_types_in_the_package_change_no_digest(changed):
    new = 'def digest(value) -> "Digest":  # of anything\n    """Now: '
    assert changed("identity.py", 'def digest(value: object) -> str:\n    """', new) == set()


def test_how_answers_are_compared_changes_the_digest_of_grades_whose_process_compares_them(changed):
    assert changed("measures/grading.py", "_LONGEST_JOINT = 40", "_LONGEST_JOINT = 50") == {"grades"}


def test_how_long_a_comparison_may_take_changes_the_digest_of_grades(changed):
    assert changed("graders.py", "SECONDS = 4.0", "SECONDS = 3.0") == {"grades"}
