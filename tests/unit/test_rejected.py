"""The list of the rows that were set aside."""

import subprocess
import sys

import pytest

from builders import write_questions
from distrace.artifacts import write_rejects
from distrace.errors import DistraceError
from distrace.rejected import rejected_lines
from distrace.rejects import Reject

NOT_JSON = "line {}: not JSON: Expecting value at char {}"
REASONS = [NOT_JSON.format(3, 7), NOT_JSON.format(9, 12), "'answer' is empty"]


def rejected(folder, *reasons, name="0"):
    part = write_questions(folder / f"results/questions/test/{name}.arrow", {"1+1?": "2"})
    write_rejects(part, [Reject("questions", row, reason) for row, reason in enumerate(reasons)], {})


def test_reasons_that_differ_in_numbers_alone_are_counted_together_with_the_first_row(tmp_path):
    rejected(tmp_path, *REASONS)
    head, first, second, total = rejected_lines(tmp_path / "results")
    assert head == f"{tmp_path}/results/questions/test/0: 3 rows rejected"
    assert first == "    2 times: not JSON: Expecting value at char 7 (the first: questions, line 3)"
    assert second == "    questions, row 2: 'answer' is empty"
    assert total == "3 rows rejected in all"


def test_every_row_is_listed_on_request(tmp_path):
    rejected(tmp_path, *REASONS)
    assert len(list(rejected_lines(tmp_path / "results", every=True))) == 5


def test_what_a_row_holds_cannot_steer_the_terminal(tmp_path):
    rejected(tmp_path, "no response to '\x1b[2J\u202e\n'")
    assert all(line.isprintable() for line in rejected_lines(tmp_path / "results"))


def test_no_reject_is_said_and_what_is_kept_for_later_is_not_counted_again(tmp_path):
    rejected(tmp_path)
    (tmp_path / "results/.kept").mkdir()
    rejected(tmp_path / "results/.kept", "again")
    assert list(rejected_lines(tmp_path / "results")) == ["no row was rejected"]


def test_broken_rejects_and_a_missing_folder_are_one_line(tmp_path):
    with pytest.raises(DistraceError, match="no such folder; run the workflow first"):
        list(rejected_lines(tmp_path / "results"))
    rejected(tmp_path, "a")
    (tmp_path / "results/questions/test/0.rejects.arrow").write_bytes(b"no")
    with pytest.raises(DistraceError, match=r"0\.rejects\.arrow: not a whole Arrow file"):
        list(rejected_lines(tmp_path / "results"))


def test_the_command_line_lists_them(tmp_path):
    rejected(tmp_path, "a", "b")
    command = [sys.executable, "-m", "distrace.rejected", "--results", str(tmp_path / "results"), "--all"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[1:] == ["    questions, row 0: a", "    questions, row 1: b", "2 rows rejected in all"]
    command[4] = str(tmp_path / "none")
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
