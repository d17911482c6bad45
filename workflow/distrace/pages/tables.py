"""The square tables of the report: how strategies and scores compare with each other, a cell for each two."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Pairs = list[dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A cell: its text, how much it is filled (from -1 to 1; 0: not at all), and what is shown to who points at it."""

    text: str
    heat: float = 0.0
    title: str = ""


Rows = list[list[Cell | None]]


def difference_rows(names: list[str], pairs: Pairs) -> Rows:
    """Return the accuracy of each row's strategy minus that of each column's in points, filled where the two differ."""
    return _square(
        names,
        {(pair["strategy"], pair["other"]): _difference(pair, 1) for pair in pairs}
        | {(pair["other"], pair["strategy"]): _difference(pair, -1) for pair in pairs},
    )


def _difference(pair: dict[str, Any], sign: int) -> Cell:
    points = 100 * sign * pair["difference"]["mean"]
    bounds = sorted(100 * sign * pair["difference"][end] for end in ("low", "high"))
    p_value = "not defined" if pair["p_adjusted"] is None else f"{pair['p_adjusted']:.4f}"
    filled = 0.6 * (1 if points > 0 else -1) if pair["differ"] else 0.0
    return Cell(_signed(points, 1), filled, "{:+.1f} to {:+.1f}; p (Holm) ".format(*bounds) + p_value)


def correlation_rows(names: list[str], pairs: Pairs) -> Rows:
    """Return correlations of scores: below the diagonal within questions, above it over all candidates."""
    cells = {}
    for pair in pairs:
        one, other = pair["scores"]
        cells[other, one] = _correlation(pair["within"], f"within {pair['questions']} questions")
        cells[one, other] = _correlation(pair["over_all"], f"over {pair['candidates']} candidates")
    return _square(names, cells)


def _correlation(value: float | None, over: str) -> Cell:
    return Cell("-", title=over) if value is None else Cell(_signed(value, 2), value, over)


def overlap_rows(names: list[str], pairs: Pairs) -> Rows:
    """Return the Jaccard index of what each two strategies chose."""
    cells = {}
    for pair in pairs:
        one, other = pair["strategies"]
        found = pair["jaccard"]
        cell = Cell("-") if found is None else Cell(f"{found:.2f}", found, f"{pair['shared']} responses chosen by both")
        cells[one, other] = cells[other, one] = cell
    return _square(names, cells)


def _signed(value: float, digits: int) -> str:
    # Adding 0 makes of -0.0 a 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _square(names: list[str], cells: dict[tuple[str, str], Cell]) -> Rows:
    return [[cells.get((row, column)) for column in names] for row in names]


# By the name that the template uses: rows of cells from the names and the pairs of them.
TABLES: dict[str, Callable[[list[str], Pairs], Rows]] = {
    "difference_rows": difference_rows,
    "correlation_rows": correlation_rows,
    "overlap_rows": overlap_rows,
}
