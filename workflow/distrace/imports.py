"""Import packages as large as torch, transformers and pandas in less time, or not at all."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa


@contextmanager
def importing() -> Iterator[None]:
    """Keep Python's garbage collector at rest within the block.

    What is imported stays until the end, and the collector would look at it again and again. A process that has frozen
    what it began with, as a job does, freezes this, too, and so never looks at it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count():
            gc.freeze()
        if collects:
            gc.enable()


def leave_pandas_out() -> None:
    """Keep pyarrow from importing pandas for its first array: it makes them as where pandas is not installed.

    That would take a quarter of a second. Who imports pandas by its name still finds it.
    """
    finder: Any = SimpleNamespace(find_spec=_find_no_pandas)
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
        pa.array(np.zeros(1))
    finally:
        sys.meta_path.remove(finder)


def _find_no_pandas(name: str, *_: Any) -> None:
    if name == "pandas":
        raise ModuleNotFoundError(name=name)
