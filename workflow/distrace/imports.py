"""Import packages as large as torch and transformers in less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Keep Python's garbage collector at rest within the block.

    What is imported stays until the end, and the collector would look at it again and again.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
