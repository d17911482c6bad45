"""Rejects: the rows that a node drops, each with its source and the reason.

A node that works row by row calls `kept_and_rejected`; one that works on a whole frame calls `set_aside`. Both return
the kept rows and the rejects, so that no row gets lost between them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from distrace.errors import BadRow

Row = TypeVar("Row")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Reject:
    """A dropped row: `source` names the column, question or response that it belongs to, `row` its number from 0."""

    source: str
    row: int
    reason: str


def kept_and_rejected(
    rows: Iterable[tuple[int, Row]], make: Callable[[Row], Made], source: Callable[[Row], str]
) -> tuple[list[Made], list[Reject]]:
    """Return `make(row)` of each numbered row, and a reject for each row for which `make` raises BadRow."""
    kept: list[Made] = []
    rejects: list[Reject] = []
    for number, row in rows:
        try:
            kept.append(make(row))
        except BadRow as error:
            rejects.append(Reject(source(row), number, str(error)))
    return kept, rejects


def set_aside(table: pl.DataFrame, reason: pl.Expr, source: str, row: str) -> tuple[pl.DataFrame, list[Reject]]:
    """Return the rows of a frame for which `reason` is null, and a reject for each other row.

    `source` and `row` name the columns with the source and the number of a reject.
    """
    judged = table.with_columns(reason.alias("_reason"))
    bad = judged.filter(pl.col("_reason").is_not_null())
    rejects = [Reject(*values) for values in bad.select(source, row, "_reason").iter_rows()]
    return judged.filter(pl.col("_reason").is_null()).drop("_reason"), rejects
