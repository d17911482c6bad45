import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distrace import command
from distrace.errors import DistraceError


@dataclass(frozen=True)
class Settings:
    name: str = "a"
    size: int = 1


CALLS = []


def node(
    inputs: list[Path],
    settings: Settings,
    source: dict[str, Any],
    names: list[str],
    beta: float,
    part: int,
    out: Path,
    extra: Path | None = None,
) -> None:
    """Do nothing. At all."""
    CALLS.append((inputs, settings, source, names, beta, part, out, extra))


def failing(out: Path) -> None:
    raise DistraceError(f"{out}: broken; delete it and run again")


INPUTS = ["--inputs", "a", "b"]
JSON = ["--settings", '{"size": 2}', "--source", '{"world": 1}', "--names", '["x", "y"]']
OPTIONS = [*INPUTS, *JSON, "--beta", "0.1", "--part", "3"]


@pytest.fixture
def run(monkeypatch):
    CALLS.clear()

    def run(function, *options: str):
        monkeypatch.setattr(sys, "argv", ["node.py", *options])
        command.run(function)

    return run


def test_options_become_the_arguments_of_the_node(run):
    run(node, *OPTIONS, "--out", "x/y.arrow")
    expected = ([Path("a"), Path("b")], Settings(size=2), {"world": 1}, ["x", "y"], 0.1, 3, Path("x/y.arrow"), None)
    assert [expected] == CALLS


def test_an_optional_path_is_read_as_a_path(run):
    run(node, *OPTIONS, "--out", "x", "--extra", "z")
    assert CALLS[0][-1] == Path("z")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--settings", '{"sise": 2}', "unexpected keyword argument 'sise'"),
        ("--settings", "{", "Expecting property name"),
        ("--settings", "3", "argument after ** must be a mapping"),
        ("--source", "[", "Expecting value"),
        ("--names", "x", "Expecting value"),
        ("--part", "three", "invalid int value: 'three'"),
    ],
)
def test_a_value_that_cannot_be_read_is_explained(run, capsys, option, value, reason):
    with pytest.raises(SystemExit) as found:
        run(node, *OPTIONS, "--out", "x", option, value)
    assert found.value.code == 2
    assert reason in capsys.readouterr().err
    assert CALLS == []


def test_a_missing_option_is_named(run, capsys):
    with pytest.raises(SystemExit):
        run(node, *OPTIONS)
    assert "required: --out" in capsys.readouterr().err


def test_an_error_that_is_meant_for_the_user_is_one_line(run):
    with pytest.raises(SystemExit) as found:
        run(failing, "--out", "a.arrow")
    assert found.value.code == "error: a.arrow: broken; delete it and run again"


def test_other_errors_keep_their_traceback(run):
    def broken(out: Path) -> None:
        raise KeyError(out)

    with pytest.raises(KeyError):
        run(broken, "--out", "x")


def test_help_shows_what_the_node_does(run, capsys):
    with pytest.raises(SystemExit):
        run(node, "--help")
    assert "Do nothing. At all." in capsys.readouterr().out


def test_a_node_that_runs_alone_has_its_sign_beside_the_output_meanwhile(monkeypatch, tmp_path):
    seen = []

    def looking(out: Path) -> None:
        seen.extend(path.name for path in out.parent.iterdir())

    monkeypatch.setattr(sys, "argv", ["node.py", "--out", str(tmp_path / "out.arrow")])
    command.run(looking, alone=True)  # without --gpus, as on a CPU
    assert seen == [".out.arrow.writer"]
    command.run(looking)
    assert seen == [".out.arrow.writer"]
