"""Work that is done ahead of its use, in threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distrace.ahead import ahead, kept_in_threads
from distrace.errors import BadRow
from distrace.rejects import Reject


def test_an_item_is_made_while_the_one_before_it_is_used_and_no_further_ones():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead(items()):
        assert all(event.wait(10) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 3 :])


def test_an_error_while_making_an_item_comes_when_its_turn_comes():
    def items():
        yield 1
        raise ValueError("the second")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="the second"):
        next(coming)


def test_rows_made_in_threads_keep_their_order_and_bad_ones_their_number():
    together = threading.Barrier(3, timeout=10)

    def make(row: str) -> str:
        together.wait()  # passed only if three rows are made at once
        if row == "b":
            raise BadRow("no b")
        return row * 2

    with ThreadPoolExecutor(3) as pool:
        kept, rejects = kept_in_threads("abcdef", make, str.upper, pool, first=10)
    assert kept == ["aa", "cc", "dd", "ee", "ff"]
    assert rejects == [Reject("B", 11, "no b")]


def test_an_error_that_is_not_of_the_row_names_it():
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError) as raised:
        kept_in_threads([1, 0], lambda row: 1 / row, str, pool, first=5)
    assert raised.value.__notes__ == ["in row 6, 0"]
