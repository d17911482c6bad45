import gc
import subprocess
import sys

import pytest

from distrace.imports import importing


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_rests_while_packages_are_imported_and_is_then_as_it_was(collects, monkeypatch):
    state = [collects]
    monkeypatch.setattr(gc, "isenabled", lambda: state[-1])
    monkeypatch.setattr(gc, "disable", lambda: state.append(False))
    monkeypatch.setattr(gc, "enable", lambda: state.append(True))
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled() == collects


@pytest.mark.parametrize(("frozen", "freezes"), [(0, 0), (9, 1)])
def test_what_is_imported_is_frozen_where_the_process_froze_what_it_began_with(frozen, freezes, monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: frozen)
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(1))
    with importing():
        assert not calls
    assert len(calls) == freezes


ARRAYS = """
import sys
import numpy as np, pyarrow as pa
from distrace.imports import leave_pandas_out
if sys.argv[1] == "without":
    leave_pandas_out()
assert pa.Table.from_pylist([{"a": [1, None], "b": "x"}]).to_pylist() == [{"a": [1, None], "b": "x"}]
assert pa.array(np.arange(3)).to_numpy().tolist() == [0, 1, 2]
print("pandas" in sys.modules)
import pandas
"""


@pytest.mark.parametrize("pandas", ["with", "without"])
def test_arrays_are_made_without_pandas_which_can_be_imported_all_the_same(pandas):
    pytest.importorskip("pandas")
    command = [sys.executable, "-c", ARRAYS, pandas]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == str(pandas == "with")
