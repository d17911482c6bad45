"""Grading in a process of its own: what no one should have to wait for, or find on the screen."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from distrace import graders
from distrace.graders import bounded_grade
from distrace.settings import Grader

MATH = Grader("math")
NESTED = 10_000
HOSTILE = {
    "a power of powers": "9**9**9**9",
    "a power of powers in LaTeX": "$9^{9^{9^{9}}}$",
    "a boxed power of powers": r"\boxed{\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)} - 4\right)} - 5}{16}}",
    "a factorial": r"$\boxed{99999999999!}$",
    "a binomial coefficient": r"$\boxed{\binom{10^{9}}{5 \cdot 10^{8}}}$",
    "a sum": r"$\boxed{\sum_{k=1}^{10^{12}} \frac{1}{k^k}}$",
    "an integral": r"$\boxed{\int_0^{\infty} e^{-x^x} \sin(x^{x}) dx}$",
    "many digits": "9" * 1_000_000,
    "a megabyte of words": "word " * 200_000,
    "a megabyte of dollars": "$ x " * 250_000,
    "a megabyte of boxes": r"\boxed{" * 150_000,
    "deep braces": "$" + "{" * NESTED + "8" + "}" * NESTED + "$",
    "deep brackets": "(" * NESTED + "8" + ")" * NESTED,
    "deep fractions": r"\boxed{" + r"\frac{1}{1+" * NESTED + "1" + "}" * NESTED + "}",
    "deep roots": "$" + r"\sqrt{" * NESTED + "8" + "}" * NESTED + "$",
    "NUL bytes": "\0" * 1000 + r"$\frac{\0}{\0}$",
    "lone surrogates": "\ud800\udfff $\udc00$",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> Iterator[None]:
    """Grade with a shorter limit, in a process that ends with the test."""
    monkeypatch.setattr(graders, "SECONDS", 0.6)
    graders._process.cache_clear()
    yield
    process = graders._process()
    process.kill()
    process.communicate()
    graders._process.cache_clear()


def test_a_grade_is_that_of_the_measures():
    assert bounded_grade("So it is 0.5.", "1/2", MATH) == {"extracted": "0.5", "correct": True, "reason": None}
    assert bounded_grade("So 7", "8", MATH) == {"extracted": "7", "correct": False, "reason": "another answer"}
    assert bounded_grade("a cup", "cup", Grader("exact", r"a (\w+)"))["correct"] is True


@pytest.mark.parametrize("response", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_is_judged_or_refused_with_a_short_reason_and_nothing_is_printed(response, capfd):
    found = bounded_grade(response, "8", MATH)
    assert found["correct"] in ((False, None) if "8" not in response else (True, False, None))
    assert found["reason"] is None or 0 < len(found["reason"]) < 100
    assert len(found["extracted"] or "") <= 1000
    assert bounded_grade("8", "8", MATH)["correct"] is True
    assert capfd.readouterr() == ("", "")


def test_a_hostile_right_answer_is_refused():
    assert bounded_grade("8", "9**9**9**9", MATH)["correct"] in (False, None)


def test_a_pattern_that_tries_everything_is_refused_and_the_next_answer_is_graded():
    hostile = Grader("exact", r"^(a|a)*$")
    first = bounded_grade("a" * 60 + "b", "a", hostile)
    assert first == {"extracted": None, "correct": None, "reason": "the answer takes longer than 0.6 s to compare"}
    assert bounded_grade("8", "8", MATH)["correct"] is True


def test_one_process_grades_answer_after_answer():
    bounded_grade("8", "8", MATH)
    process = graders._process()
    bounded_grade("7", "8", MATH)
    assert graders._process() is process


def test_a_process_that_waits_for_a_processor_is_not_ended():
    bounded_grade("8", "8", MATH)
    process = graders._process().pid
    os.kill(process, signal.SIGSTOP)
    threading.Timer(1.5, os.kill, (process, signal.SIGCONT)).start()
    began = time.monotonic()
    assert bounded_grade("8", "8", MATH)["correct"] is True
    assert time.monotonic() - began > 1
    assert graders._process().pid == process


def test_a_process_that_was_killed_gives_no_verdict_and_the_next_does():
    bounded_grade("8", "8", MATH)
    graders._process().kill()
    found = bounded_grade("8", "8", MATH)
    assert (found["correct"], found["reason"]) == (None, "the comparison of the answer broke off with status -9")
    assert bounded_grade("8", "8", MATH)["correct"] is True


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(graders, "SECONDS", 4)
    monkeypatch.setattr(graders, "MEBIBYTES", 128)
    found = bounded_grade("a" * 10_000_000, "a", Grader("exact", r"(a)"))  # a list of ten million
    assert found == {"extracted": None, "correct": None, "reason": "the answer takes more than 128 MiB to compare"}


def test_an_answer_that_math_verify_has_no_memory_to_compare_is_not_another_answer(monkeypatch):
    monkeypatch.setattr(graders, "SECONDS", 60)
    monkeypatch.setattr(graders, "MEBIBYTES", 128)
    found = bounded_grade(r"\boxed{2^{300000001}}", "7", MATH)
    assert found == {"extracted": None, "correct": None, "reason": "the answer takes more than 128 MiB to compare"}


def test_what_lies_in_the_working_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "sympy.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert bounded_grade("8", "8", MATH)["correct"] is True
