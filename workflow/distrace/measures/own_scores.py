"""A user's own score: a Python file with a function `score(candidates)`, named in the config.

    import polars as pl

    def score(candidates):
        return candidates.student.select(pl.col("logprobs").list.min()).to_series()

It is given the `Candidates` of a part, all candidates of a question together, and returns a number for each, in order,
or None where a candidate has no value. The file is run as it is: name only files that you trust.
"""

import hashlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from distrace.errors import DistraceError
from distrace.measures.scores import Candidates, Pick, Score


@dataclass(frozen=True)
class OwnScore:
    """A score of the config: its file, which candidate of a question is taken, and what is asked of the student."""

    file: str
    pick: Pick = "highest"
    needs: tuple[str, ...] = ()


def load_score(own: OwnScore) -> tuple[Score, str]:
    """Return the score that a file defines, and the SHA-256 of the file.

    Raises DistraceError if the file cannot be run or has no function `score`. So does the score itself if the function
    fails, or returns anything but a finite number or null for each candidate.
    """
    file = Path(own.file)
    try:
        code = file.read_bytes()
    except OSError as error:
        raise DistraceError(f"{file}: cannot be read ({error.strerror}); a score of the config is in it") from error
    module = ModuleType(f"score_{file.stem}")
    _run(file, "the file", lambda: exec(compile(code, str(file), "exec"), module.__dict__))
    function = getattr(module, "score", None)
    if not callable(function):
        raise DistraceError(f"{file}: has no function `score(candidates)`; define one")

    def compute(candidates: Candidates) -> pl.Series:
        if candidates.responses.is_empty():
            return pl.Series(dtype=pl.Float64)
        found = _run(file, "score(candidates)", function, candidates)
        return _checked(file, found, candidates.responses["rollout_id"])

    return Score(compute, own.pick, own.needs, f"{file.name} gives it none"), hashlib.sha256(code).hexdigest()


def _run(file: Path, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user's; raise DistraceError with the file and the line if it fails."""
    try:
        return function(*arguments)
    except Exception as error:  # the user's code may fail in any way
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f"{file}, line {lines[-1]}" if lines else str(file)
        raise DistraceError(f"{where}: {what} failed with {type(error).__name__}: {error}") from error


def _checked(file: Path, found: Any, names: pl.Series) -> pl.Series:
    """Return what a user's function returned as floats, one for each response; raise DistraceError if it is not."""
    wanted = f"score(candidates) must return {len(names)} numbers, one for each candidate of candidates.responses"
    try:
        values = pl.Series(found)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DistraceError(f"{file}: {wanted}; it returned a {type(found).__name__} ({error})") from error
    if len(values) != len(names):
        raise DistraceError(f"{file}: {wanted}, in their order; it returned {len(values)}")
    if not (values.dtype.is_numeric() or values.dtype == pl.Null):
        raise DistraceError(f"{file}: {wanted}; it returned values of type {values.dtype}: convert them to floats")
    values = values.cast(pl.Float64)
    wrong = names.filter(~values.is_finite().fill_null(True))
    if len(wrong):
        raise DistraceError(
            f"{file}: score(candidates) gave {len(wrong)} candidates no finite number, the first {wrong[0]}: "
            "return None where a candidate has no value"
        )
    return values
