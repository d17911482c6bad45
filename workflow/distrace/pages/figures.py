"""The figures of the report, as SVG."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

from distrace.measures.labels import LABELS
from distrace.measures.positions import SENTENCE
from distrace.pages.texts import COLOURS

# Of contexts, the whole one first: Teacher's own, and those of the same palette that no label has.
CONTEXT_COLOURS = [COLOURS["Teacher"], "#009E73", "#56B4E9", "#E69F00", "#999933"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2]]
_INK = "currentColor"
# Also readable where the page is dark.
_THEME = {
    "background": None,
    "axis": {"labelColor": _INK, "titleColor": _INK, "domainColor": _INK, "tickColor": _INK, "gridColor": _INK}
    | {"gridOpacity": 0.15, "domainOpacity": 0.5, "tickOpacity": 0.5},
    "legend": {"labelColor": _INK, "titleColor": _INK, "symbolBaseFillColor": _INK, "symbolBaseStrokeColor": _INK},
    "header": {"labelColor": _INK, "titleColor": _INK},
    "view": {"stroke": _INK, "strokeOpacity": 0.15},
    "rule": {"color": _INK},
    "tick": {"color": _INK},
}
MIN_RESPONSES = 5  # a position that fewer responses reach is not drawn
MOST_MARKS = 40  # points of a curve beyond which each is not marked
# What Vega tells screen readers of the axis of an empty figure.
_OF_NO_VALUES = re.compile(r" for a \w+ scale with values from [^\"]*NaN[^\"]*")


def accuracy_figure(accuracy: Mapping[str, Any]) -> Any:
    """Return a figure of each model's accuracy with its interval, a panel for each set of questions."""
    rows = [
        {"questions": questions, "model": model, **{key: value[key] for key in ("mean", "low", "high")}}
        for questions, models in accuracy.items()
        for model, value in models.items()
        if value["n"]
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("model:N", sort=None, title=None, axis=alt.Axis(labelLimit=400))
    )
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title="accuracy", scale=alt.Scale(domain=[0, 1])), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(x="mean:Q")
    panels = alt.layer(bars, points).properties(width=320)
    # A browser's font may be wider than the one that the labels were measured with.
    facet = alt.Facet("questions:N", title=None, sort=list(accuracy))
    return panels.facet(facet, columns=2).properties(padding={"left": 60})


def length_figure(training: Mapping[str, Any]) -> Any:
    """Return a figure of the tokens of the responses that each strategy chose: 10, 25, 50, 75 and 90 % points."""
    rows = [{"strategy": strategy, **data["length"]} for strategy, data in training.items()]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("strategy:N", sort=None, title=None, axis=alt.Axis(labelLimit=400))
    )
    axis = alt.X("p10:Q", title="tokens", scale=alt.Scale(domainMin=0))
    tenths = base.mark_rule(strokeWidth=2).encode(x=axis, x2="p90:Q")
    quarters = base.mark_bar(size=9, opacity=0.6).encode(x="p25:Q", x2="p75:Q")
    medians = base.mark_tick(thickness=3, size=15).encode(x="median:Q")
    return alt.layer(tenths, quarters, medians).properties(width=520, padding={"left": 60})


def label_figure(trace: Mapping[str, Any]) -> Any:
    """Return a figure of the shares of the labels in all, in right and in wrong responses."""
    groups = {"all": "labels", "right": "labels_correct", "wrong": "labels_incorrect"}
    rows = [
        {"responses": group, "label": label, "order": order, "share": value["mean"]}
        for group, key in groups.items()
        for order, (label, value) in enumerate(trace[key].items())
        if value is not None
    ]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="share of sentences", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("responses:N", sort=list(groups), title="responses"),
            color=_colour(),
            order="order:Q",
        )
        .properties(width=520, height=110)
    )


def curve_figure(curves: Mapping[str, Any], scale: str) -> Any:
    """Return a figure of each label's share along a response with its band, a panel for each label.

    Solid for right responses, dashed for wrong ones (of a trace without judged answers, for all). A last panel shows
    how many responses there are at each place.
    """
    groups = [group for group in ("right", "wrong") if any(curves[group]["responses"])] or ["all"]
    rows = [row for group in groups for row in _curve_rows(curves, group, scale)]
    data = alt.Data(values=rows)
    title, form, step = ("sentence", "d", 1) if scale == SENTENCE else ("place in the response", "%", 0.1)
    x = alt.X("place:Q", title=title, axis=alt.Axis(format=form, tickMinStep=step))
    dashes: dict[str, Any] = {"sort": groups, "scale": alt.Scale(domain=groups, range=[[1, 0], [5, 4]][: len(groups)])}
    shares = alt.Scale(domain=[0, 1])
    base = alt.Chart().encode(x=x, color=_colour(legend=None))
    bands = base.mark_area(opacity=0.15).encode(
        y=alt.Y("low:Q", title="share of sentences", scale=shares), y2="high:Q", detail="responses:N"
    )
    lines = base.mark_line(point=len(rows) <= 8 * MOST_MARKS).encode(
        y=alt.Y("share:Q", scale=shares), strokeDash=alt.StrokeDash("responses:N", legend=None, **dashes)
    )
    panels = alt.layer(bands, lines).properties(width=250, height=130)
    facets = panels.facet(alt.Facet("label:N", title=None, sort=list(LABELS)), columns=2, data=data)
    # A legend of lines with points would show the points alone.
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=400)
    reach = (
        alt.Chart(data)
        .mark_line(interpolate="step", color=_INK, strokeWidth=1.5)
        .encode(
            x=x,
            y=alt.Y("number:Q", title="responses", scale=alt.Scale(domainMin=0)),
            strokeDash=alt.StrokeDash("responses:N", legend=legend, **dashes),
        )
    )
    reach = reach.transform_filter(alt.datum.label == LABELS[0]).properties(width=560, height=60)
    return alt.vconcat(facets, reach).resolve_scale(strokeDash="independent")


def _curve_rows(curves: Mapping[str, Any], group: str, scale: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each label and point of a curve that enough responses have."""
    found = curves[group]
    for point, number in enumerate(found["responses"]):
        if number < MIN_RESPONSES:
            continue
        place = point * curves["width"] + 1 if scale == SENTENCE else (point + 0.5) / curves["positions"]
        for label, band in found["labels"].items():
            share, low, high = (band[name][point] for name in ("mean", "low", "high"))
            bounds = {"share": share, "low": low, "high": high, "number": number}
            yield {"place": place, "responses": group, "label": label} | bounds


def context_figure(contexts: Mapping[str, Any]) -> Any:
    """Return a figure of the share of Teacher by sentence of the response, a line with its band for each context."""
    rows = [
        {"context": context} | {name: row[name] for name in ("place", "share", "low", "high")}
        for context, found in contexts.items()
        if found["curve"]
        for row in _curve_rows(found["curve"], "all", SENTENCE)
        if row["label"] == "Teacher"
    ]
    dashes = [DASHES[n % len(DASHES)] for n in range(len(contexts))]
    shown: dict[str, Any] = {"sort": list(contexts), "title": None}
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("place:Q", title="sentence", axis=alt.Axis(format="d", tickMinStep=1)),
        color=alt.Color("context:N", scale=alt.Scale(domain=list(contexts), range=CONTEXT_COLOURS), **shown),
    )
    scale = alt.Scale(domain=[0, 1])
    bands = base.mark_area(opacity=0.12).encode(y=alt.Y("low:Q", title="share of Teacher", scale=scale), y2="high:Q")
    lines = base.mark_line(point=len(rows) <= 8 * MOST_MARKS).encode(
        y=alt.Y("share:Q", scale=scale),
        strokeDash=alt.StrokeDash("context:N", scale=alt.Scale(domain=list(contexts), range=dashes), **shown),
    )
    return alt.layer(bands, lines).properties(width=520, height=200)


def sensitivity_figure(sensitivity: Mapping[str, Any]) -> Any:
    """Return a figure of the share of each label by beta, a panel for each alpha of the grid."""
    rows = [
        {"alpha": point["alpha"], "beta": point["beta"], "label": label}
        | {"share": share["mean"], "low": share["low"], "high": share["high"]}
        for point in sensitivity["thresholds"]
        for label, share in point["labels"].items()
        if share
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("beta:Q"), color=_colour(legend=alt.Legend(symbolOpacity=1)))
    scale = alt.Scale(domain=[0, 1])
    bands = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title="share of sentences", scale=scale), y2="high:Q")
    lines = base.mark_line(point=True).encode(y=alt.Y("share:Q", scale=scale))
    return alt.layer(bands, lines).properties(width=105, height=150).facet(column=alt.Column("alpha:O"))


def threshold_figure(validation: Mapping[str, Any]) -> Any:
    """Return a figure of precision and recall of Teacher and Student by beta, at each alpha of the grid."""
    rows = [
        {
            "alpha": point["alpha"],
            "beta": point["beta"],
            "label": label,
            "measure": measure,
            "value": point[label][measure],
        }
        for point in validation["by_thresholds"]
        for label in ("Teacher", "Student")
        for measure in ("precision", "recall")
        if point[label][measure] is not None
    ]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("beta:Q"),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
            color=_colour(),
            strokeOpacity=alt.StrokeOpacity("alpha:O", sort="descending"),
        )
        .properties(width=240, height=180)
        .facet(column=alt.Column("measure:N", title=None))
    )


def _colour(**options: Any) -> alt.Color:
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return alt.Color("label:N", scale=scale, title=None, **options)


def as_svg(chart: Any) -> Markup:
    """Return a figure as SVG: without a background, its text and lines in the colour of the text around it."""
    # The SVG writer escapes the text that it draws.
    svg = vl_convert.vegalite_to_svg(chart.to_dict() | {"config": _THEME})
    return Markup(_OF_NO_VALUES.sub(" without values", svg))


def rows_of(chart: Any) -> list[dict[str, Any]]:
    """Return the data that a figure is drawn from."""
    found: list[dict[str, Any]] = chart.to_dict()["data"]["values"]
    return found
