import errno
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import write_parts, write_questions, write_rollouts
from distrace import command, kinds
from distrace.errors import DistraceError
from distrace.nodes.grades import write_grades
from distrace.nodes.sentences import write_sentences
from distrace.parts import open_parts


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


@pytest.fixture
def rollouts(tmp_path):
    """The list of three parts of rollouts, with one response each."""
    asked = write_questions(tmp_path / "asked.arrow", {"1+1?": "2"})
    parts = [
        write_rollouts(tmp_path / f"of{part}.arrow", asked, {f"r{part}": ("1+1?", "Hm. " * part + "2.")})
        for part in range(3)
    ]
    return write_parts(tmp_path / "rollouts", *parts)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_node_about_one_part_writes_all_parts_and_their_list(rollouts, tmp_path, threads):
    out = tmp_path / "sentences" / "parts.arrow"
    out.parent.mkdir()
    node = [sys.executable, "-m", "distrace.nodes.sentences", "--splitter", "sentences"]
    subprocess.run([*node, "--rollouts", str(rollouts), "--threads", threads, "--out", str(out)], check=True)
    assert [part.rows for part in open_parts(out, kinds.SENTENCES)] == [1, 2, 3]


SLOW = """
import time
from pathlib import Path
from distrace import command

def write(rollouts: Path, out: Path) -> None:
    out.with_suffix(".begun").touch()
    time.sleep(600)

if __name__ == "__main__":
    command.run_each_part(write)
"""


def test_the_processes_of_a_killed_job_end_with_it(rollouts, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    out = tmp_path / "out/parts.arrow"
    out.parent.mkdir()
    options = ["--rollouts", str(rollouts), "--threads", "2", "--out", str(out)]
    job = subprocess.Popen([sys.executable, str(tmp_path / "slow.py"), *options], stdout=subprocess.PIPE)
    while len(list(out.parent.glob("*.begun"))) < 2:
        assert job.poll() is None
        time.sleep(0.1)
    job.kill()
    job.communicate(timeout=60)  # whoever reads the output of the job waits for all that could write to it


def test_parts_that_are_as_they_would_be_are_left_alone(run_parts, rollouts, tmp_path):
    out = tmp_path / "sentences" / "parts.arrow"
    options = ["--rollouts", str(rollouts), "--splitter", "sentences", "--out", str(out)]
    run_parts(write_sentences, *options)
    before = {path.name: path.stat().st_ino for path in out.parent.iterdir()}
    out.with_name("1.arrow").unlink()
    run_parts(write_sentences, *options)
    after = {path.name: path.stat().st_ino for path in out.parent.iterdir()}
    assert {name for name in before if before[name] != after[name]} <= {"1.arrow", "parts.arrow"}
    assert [part.rows for part in open_parts(out, kinds.SENTENCES)] == [1, 2, 3]


def test_sets_of_unlike_numbers_of_parts_are_refused(run_parts, rollouts, tmp_path):
    asked = write_questions(tmp_path / "questions" / "0.arrow", {"1+1?": "2"})
    options = ["--grader", '{"method": "exact"}', "--out", str(tmp_path / "grades" / "parts.arrow")]
    with pytest.raises(SystemExit, match=r"have \[3, 1\] parts"):
        run_parts(write_grades, "--rollouts", str(rollouts), "--questions", str(asked), *options)


@pytest.fixture
def run_parts(monkeypatch):
    """Return a function that runs a node about one part with options of a command line."""

    def run(function, *options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["node.py", *options])
        command.run_each_part(function)

    return run


def raising(error: Exception):
    def full(out: Path) -> None:
        raise error

    return full


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "results/a.arrow"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # safetensors, polars
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # torch.save
    ],
)
def test_a_full_disk_is_one_line(run, error):
    with pytest.raises(SystemExit) as ended:
        run(raising(error), "--out", "x")
    assert str(ended.value).startswith("error: no room is left on the disk of ")
    assert "make room and run the same command" in str(ended.value)
    assert "\n" not in str(ended.value)


def test_other_faults_keep_their_traceback(run):
    with pytest.raises(OSError, match="denied"):
        run(raising(OSError(errno.EACCES, "denied")), "--out", "x")


def test_an_artifact_is_not_begun_on_a_full_disk(tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.ipc.RecordBatchFileWriter.write_table", full)
    with pytest.raises(OSError, match="No space"):
        write_questions(tmp_path / "0.arrow", {"1+1?": "2"})
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "0.rejects.arrow"])


def test_what_a_question_holds_cannot_steer_the_terminal(run):
    with pytest.raises(SystemExit) as ended:
        run(failing, "--out", "a\x1b[2J\u202eb\tc")
    assert str(ended.value) == "error: a\\x1b[2J\\u202eb\tc: broken; delete it and run again"
    record = logging.LogRecord("x", logging.INFO, "", 0, "first\nsecond\r\x1b]0;title\x07", (), None)
    assert command._PlainFormatter("[node] %(message)s").format(record) == "[node] first\nsecond\\r\\x1b]0;title\\x07"


@pytest.mark.parametrize("with_triton", [False, True])
def test_what_was_imported_is_not_collected_at_the_end_unless_triton_would_call_it_leaks(monkeypatch, with_triton):
    frozen, unfrozen = [], []
    monkeypatch.setattr(command.gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(command.gc, "unfreeze", lambda: unfrozen.append(True))
    if with_triton:
        monkeypatch.setitem(sys.modules, "triton", command)
    else:
        monkeypatch.delitem(sys.modules, "triton", raising=False)
    command.leave_uncollected()
    assert frozen == [True] * (not with_triton)
    assert unfrozen == [True] * with_triton
