"""The figures of the report, as SVG."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl
import vl_convert
from markupsafe import Markup

from distrace.measures.labels import LABELS

# Colours for the colour-blind (Okabe and Ito); a label has the same one in every figure and text.
COLOURS = dict(zip(LABELS, ("#D55E00", "#0072B2", "#8A8A8A", "#CC79A7"), strict=True))
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


def position_figure(positions: pl.DataFrame) -> Any:
    """Return a figure of each label's share by sentence position: solid for right, dashed for wrong responses."""
    drawn = positions.filter((pl.col("responses") >= MIN_RESPONSES) & pl.col("correct").is_not_null()).select(
        pl.col("position") + 1,
        "label",
        pl.when("correct").then(pl.lit("right")).otherwise(pl.lit("wrong")).alias("answer"),
        (pl.col("sentences") / pl.col("responses")).alias("share"),
    )
    return (
        alt.Chart(alt.Data(values=drawn.to_dicts()))
        .mark_line(point=True)
        .encode(
            x=alt.X("position:Q", title="sentence", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("share:Q", title="share of sentences", scale=alt.Scale(domain=[0, 1])),
            color=_colour(),
            strokeDash=alt.StrokeDash("answer:N", scale=alt.Scale(domain=["right", "wrong"], range=[[1, 0], [5, 4]])),
        )
        .properties(width=520, height=240)
    )


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


def _colour() -> alt.Color:
    return alt.Color("label:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), title=None)


def as_svg(chart: Any) -> Markup:
    """Return a figure as SVG: without a background, its text and lines in the colour of the text around it."""
    # The SVG writer escapes the text that it draws.
    return Markup(vl_convert.vegalite_to_svg(chart.to_dict() | {"config": _THEME}))
