"""The figures of a report by name: drawn for the page, and as files with the data they are drawn from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from distrace.artifacts import write_text
from distrace.models import replacing_folder
from distrace.pages.figures import (
    accuracy_figure,
    as_svg,
    context_figure,
    curve_figure,
    label_figure,
    length_figure,
    rows_of,
    sensitivity_figure,
    threshold_figure,
)
from distrace.pages.texts import file_name

FOLDER = "figures"  # beside the page


@dataclass(frozen=True)
class Figure:
    """A figure as SVG, and as CSV the numbers that it shows."""

    svg: Markup
    csv: str


def report_figures(numbers: dict[str, Any]) -> dict[str, Figure]:
    """Return the figures of a report by the names of their files, from its numbers."""
    return {file_name(kind, place): _drawn(chart) for kind, place, chart in _charts(numbers)}


def write_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as NAME.svg, and its data as NAME.csv: all or, if the job is killed, none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as unfinished:
        for name, figure in figures.items():
            write_text(unfinished / f"{name}.svg", figure.svg + "\n")
            write_text(unfinished / f"{name}.csv", figure.csv)


def _drawn(chart: Any) -> Figure:
    return Figure(as_svg(chart), pl.DataFrame(rows_of(chart), infer_schema_length=None).write_csv())


def _charts(numbers: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the kind of each figure, what it is of, and the figure."""
    for name, run in numbers["runs"].items():
        yield "accuracy", name, accuracy_figure(run["accuracy"])
        if run["strategies"]:
            yield "lengths", name, length_figure(run["strategies"]["training"])
        for trace in run["traces"]:
            yield from _charts_of_trace(trace)
    for trace in (numbers["world"] or {"traces": []})["traces"]:
        yield "truth", trace["folder"], threshold_figure(trace)


def _charts_of_trace(trace: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield "labels", trace["folder"], label_figure(trace)
    for section, scales in trace["curves"].items():
        for scale, curves in scales.items():
            yield f"curves-{section}-{scale}", trace["folder"], curve_figure(curves, scale)
    if trace["contexts"]:
        yield "contexts", trace["folder"], context_figure(trace["contexts"])
    yield "sensitivity", trace["folder"], sensitivity_figure(trace["sensitivity"])
