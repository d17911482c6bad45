import gc

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
