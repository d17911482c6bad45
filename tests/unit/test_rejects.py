import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.errors import BadRow, DistraceError
from distrace.rejects import Reject, kept_and_rejected, set_aside


def halved(row: tuple[str, int]) -> int:
    """Return half of an even number."""
    if row[1] % 2:
        raise BadRow(f"{row[1]} is odd")
    return row[1] // 2


def name_of(row: tuple[str, int]) -> str:
    return row[0]


def test_a_bad_row_is_rejected_under_its_number_and_source_and_the_others_are_kept_in_order():
    rows = [(3, ("a", 4)), (5, ("b", 7)), (6, ("c", 2)), (9, ("d", 9))]
    kept, rejects = kept_and_rejected(rows, halved, name_of)
    assert kept == [2, 1]
    assert rejects == [Reject("b", 5, "7 is odd"), Reject("d", 9, "9 is odd")]


def test_an_error_that_is_no_bad_row_is_not_taken_for_one():
    def broken(row: object) -> None:
        raise DistraceError("no such model")

    with pytest.raises(DistraceError, match="no such model"):
        kept_and_rejected([(0, "row")], broken, str)


def test_a_kind_of_bad_row_is_rejected_as_any_bad_row():
    class Unreadable(BadRow):
        pass

    def unreadable(row: str) -> None:
        raise Unreadable(f"{row} is unreadable")

    assert kept_and_rejected([(0, "x")], unreadable, str) == ([], [Reject("x", 0, "x is unreadable")])


@settings(deadline=None)
@given(st.lists(st.integers(0, 9)))
def test_no_row_is_lost_between_those_kept_and_those_rejected(numbers):
    kept, rejects = kept_and_rejected(enumerate(numbers), lambda n: halved(("x", n)), str)
    assert kept == [n // 2 for n in numbers if n % 2 == 0]
    assert [reject.row for reject in rejects] == [row for row, n in enumerate(numbers) if n % 2]


TABLE = pl.DataFrame({"rollout_id": ["a", "a", "b", "c"], "sentence": [0, 1, 0, 0], "p": [0.5, None, 0.1, None]})
NO_PROBABILITY = pl.when(pl.col("p").is_null()).then(pl.format("no probability in {}", "rollout_id"))


def test_rows_with_a_reason_are_set_aside_and_the_others_stay_as_they_were():
    kept, rejects = set_aside(TABLE, NO_PROBABILITY, "rollout_id", "sentence")
    assert kept.equals(TABLE[[0, 2]])
    assert rejects == [Reject("a", 1, "no probability in a"), Reject("c", 0, "no probability in c")]


def test_where_no_row_has_a_reason_all_are_kept():
    kept, rejects = set_aside(TABLE, pl.lit(None, pl.String), "rollout_id", "sentence")
    assert kept.equals(TABLE)
    assert rejects == []


def test_of_a_frame_without_rows_nothing_is_kept_and_nothing_rejected():
    kept, rejects = set_aside(TABLE.clear(), NO_PROBABILITY, "rollout_id", "sentence")
    assert kept.equals(TABLE.clear())
    assert rejects == []
