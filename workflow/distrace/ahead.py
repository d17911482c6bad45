"""Work that is done before it is asked for, so that a model does not wait for the CPU.

Threads are enough for texts: tokenizers work outside of Python's lock, and processes would each hold a tokenizer.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from distrace.rejects import Reject, kept_and_rejected

Item = TypeVar("Item")
Row = TypeVar("Row")
Made = TypeVar("Made")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, each of which is made in a thread while the one before it is used; two are alive at once."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # type: ignore[misc]  # all but `end` are items


def kept_in_threads(
    rows: Iterable[Row],
    make: Callable[[Row], Made],
    source: Callable[[Row], str],
    pool: ThreadPoolExecutor,
    first: int = 0,
) -> tuple[list[Made], list[Reject]]:
    """Return what `kept_and_rejected` does of rows numbered from `first`; the threads of `pool` make several at once.

    What else than BadRow is raised carries a note that names the row. One pool for all rows bounds the memory: the
    allocator keeps what it has given to a thread, for each new thread anew.
    """

    def made(row: Row, number: int) -> Made:
        try:
            return make(row)
        except Exception as error:
            error.add_note(f"in row {number}, {source(row)}")
            raise

    working = [(row, pool.submit(made, row, number)) for number, row in enumerate(rows, first)]
    return kept_and_rejected(enumerate(working, first), lambda pair: pair[1].result(), lambda pair: source(pair[0]))
