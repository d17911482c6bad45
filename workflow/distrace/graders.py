"""Grades from a process of its own, bounded in processor time and memory: no one can vouch for an answer.

To compare an answer may take for ever (`9**9**9`; a pattern of the user's that tries everything) or all memory. The
kernel ends a process that has computed for too long, inside of C code, too. It counts processor time, so that a verdict
does not depend on what else the machine does. The next answer gets a new process, and nothing is printed.

    bounded_grade("So it is 0.5.", "1/2", Grader("math"))
"""

import ast
import contextlib
import importlib
import inspect
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from distrace.settings import Grader

SECONDS = 4.0  # of processor time, for one answer
MEBIBYTES = 1024


def bounded_grade(response: str, answer: str, grader: Grader) -> dict[str, Any]:
    """Return the grade of a response (`extracted`, `correct`, `reason`), as `measures.grading.grade` gives it.

    `correct` is None, with a reason, if that takes more than `SECONDS` of processor time or `MEBIBYTES` of memory.
    """
    process = _process()
    assert process.stdin
    assert process.stdout
    line = ""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps([response, answer, asdict(grader)]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if line:
        found: dict[str, Any] = json.loads(line)
        return found
    _process.cache_clear()
    with contextlib.suppress(BrokenPipeError), process:  # closes the pipes, and waits for its end
        process.kill()
    return _refused(_why_it_ended(process.returncode))


@cache
def _process() -> subprocess.Popen[str]:
    """Return the process of this one that grades, started where there is none."""
    # -P: what lies in the working folder is not imported.
    code = f"from {__name__} import {serve.__name__}; {serve.__name__}({SECONDS}, {MEBIBYTES})"
    command = [sys.executable, "-P", "-c", code]
    found = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": found},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def serve(seconds: float, mebibytes: int) -> None:
    """Read a response, a right answer and a grader from each line of standard input, and write the grade as a line.

    The signal of a timer ends the process if an answer takes so many seconds of processor time.
    """
    _let_memory_errors_pass()
    from distrace.measures.grading import grade  # a second to import, which only the process that grades need wait

    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no reply
    _bound_memory(mebibytes)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            response, answer, grader = json.loads(line)
            found = asdict(grade(response, answer, Grader(**grader)))
        except MemoryError:
            found = _refused(f"the answer takes more than {mebibytes} MiB to compare")
        except Exception as error:
            found = _refused(f"the answer cannot be compared: {type(error).__name__}")
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(json.dumps(found) + "\n")
        replies.flush()


class _MemoryErrorFirst(ast.NodeTransformer):
    """Puts `except MemoryError: raise` before the handlers of each `try`."""

    def visit_Try(self, node: ast.Try) -> ast.AST:
        self.generic_visit(node)
        if node.handlers:
            raised = ast.ExceptHandler(ast.Name("MemoryError", ast.Load()), None, [ast.Raise()])
            node.handlers.insert(0, raised)
        return node


def _let_memory_errors_pass() -> None:
    """Run the modules of math-verify again without what hides a MemoryError there.

    It takes any exception of a step of its comparison for a difference, so that an answer too large to compare would
    be "another answer". Python has no other way to see an exception that is caught inside.
    """
    for name in ("grader", "parser"):
        module = importlib.import_module(f"math_verify.{name}")
        tree = ast.fix_missing_locations(_MemoryErrorFirst().visit(ast.parse(inspect.getsource(module))))
        exec(compile(tree, str(module.__file__), "exec"), module.__dict__)
    package = importlib.import_module("math_verify")
    package.__dict__.update(parse=package.parser.parse, verify=package.grader.verify)


def _bound_memory(mebibytes: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mebibytes * 2**20
    soft = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with contextlib.suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (soft, most))


def _refused(reason: str) -> dict[str, Any]:
    return {"extracted": None, "correct": None, "reason": reason}


def _why_it_ended(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"the answer takes longer than {SECONDS:g} s to compare"
    return f"the comparison of the answer broke off with status {status}"
