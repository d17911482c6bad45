"""The table of faults (docs/faults.md) and the tests that it names are held together."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs/faults.md").read_text("utf-8")
ROW = re.compile(r"^\| (.+) \| (.+) \| (.+) \| `([\w/]+\.py)::(\w+)`(?: ``(.+)``)? \|$", re.MULTILINE)
ROWS = [match.groups() for match in ROW.finditer(TABLE)]
# Tests whose cases have names: each of them is a row.
NAMED = {
    "unit/test_model_files.py": "FAULTS",
    "unit/test_graders.py": "HOSTILE",
    "unit/pages/test_extremes.py": "CASES",
}


@cache
def functions_of(file: str) -> dict[str, str]:
    """Return the source of each function of a file of tests, with its decorators."""
    text = (TESTS / file).read_text("utf-8")
    lines = text.splitlines()
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return {
        node.name: "\n".join(lines[min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1 : node.end_lineno])
        for node in found
    }


def names_in(file: str, name: str) -> set[str]:
    """Return the keys of a dict at the top of a file of tests."""
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return {str(ast.literal_eval(key)) for key in node.value.keys}
    raise AssertionError(f"{file} has no {name}")


def test_the_table_has_a_hundred_rows_and_says_how_many():
    assert len(ROWS) >= 100
    assert f"\n{len(ROWS)} things that go wrong" in TABLE
    tables = TABLE.partition("\n## Random kills")[0]
    assert len(ROWS) == sum(line.startswith("| ") for line in tables.splitlines()) - tables.count("| given |")


def test_no_two_rows_are_the_same_test():
    places = [(file, test, case) for *_, file, test, case in ROWS]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}" for row in ROWS])
def test_each_row_names_a_test_that_is_there_and_holds_its_case(row):
    *_, file, test, case = row
    found = functions_of(file)
    assert test in found
    whole = found[test]
    if file in NAMED:
        assert case in names_in(file, NAMED[file]) or case is None
    elif case:
        assert case in whole, f"{file}::{test} has no {case!r}"


@pytest.mark.parametrize("file", NAMED)
def test_each_case_that_has_a_name_is_a_row(file):
    assert names_in(file, NAMED[file]) <= {case for *_, of, _, case in ROWS if of == file}
