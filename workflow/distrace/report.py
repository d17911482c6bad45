"""The report node: one self-contained page, and its numbers as JSON for programs.

Run by the workflow as `python -m distrace.report --config JSON --out-folder results/report`, in the workflow's folder.
"""

import json
from pathlib import Path

import altair as alt
import polars as pl
import vl_convert
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from distrace import __version__, artifacts, command
from distrace.attribution import MARGIN
from distrace.plan import Plan, Trace, load_plan
from distrace.provenance import LABELS
from distrace.summary import numbers_of, positions_path

# Readable by the colour-blind (Okabe and Ito), and the same for a label in every figure and text.
COLOURS = dict(zip(LABELS, ("#D55E00", "#0072B2", "#8A8A8A", "#CC79A7"), strict=True))
MIN_RESPONSES = 5  # a position that fewer responses reach is not drawn
SHOWN_RESPONSES = 4


def write_report(config: dict, out_folder: Path) -> None:
    """Write `index.html` and `numbers.json` for all runs of a config."""
    plan = load_plan(config)
    numbers = numbers_of(plan)
    environment = Environment(loader=PackageLoader("distrace", "templates"), autoescape=True, trim_blocks=True)
    environment.filters["interval"] = interval_text
    environment.filters["signed"] = signed_text
    environment.filters["p_value"] = lambda value: f"{value:.4f}" if isinstance(value, float) else "-"
    environment.filters["number"] = lambda value: "-" if value is None else f"{value:.3f}"
    page = environment.get_template("report.html").render(
        numbers=numbers,
        colours=COLOURS,
        version=__version__,
        margin=MARGIN,
        world_figures=[_svg(threshold_figure(trace)) for trace in (numbers["world"] or {"traces": []})["traces"]],
        figures={run: run_figures(plan, run, numbers["runs"][run]) for run in plan.config["runs"]},
        examples={run: [example_responses(plan, trace) for trace in plan.traces(run)] for run in plan.config["runs"]},
    )
    artifacts.write_text(out_folder / "index.html", page)
    artifacts.write_text(out_folder / "numbers.json", json.dumps(numbers, indent=2) + "\n")


def interval_text(interval: dict | None) -> str:
    """Give "62.0 % (55.1-68.7)" for a share, a dash where there is none."""
    if interval is None or interval["mean"] is None:
        return "-"
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f}-{high:.1f})"


def signed_text(interval: dict | None) -> str:
    """Give "+0.912 (+0.895 to +0.930)" for a difference, a dash where there is none."""
    if interval is None:
        return "-"
    return "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**interval)


def run_figures(plan: Plan, run: str, numbers: dict) -> dict:
    """Give the figures of a run as SVG: accuracy, and for each trace the labels and their positions."""
    positions = [artifacts.read(Path(positions_path(trace)), "positions") for trace in plan.traces(run)]
    return {
        "accuracy": _svg(accuracy_figure(numbers["accuracy"])),
        "labels": [_svg(label_figure(trace)) for trace in numbers["traces"]],
        "positions": [_svg(position_figure(table)) for table in positions],
    }


def accuracy_figure(accuracy: dict) -> alt.Chart:
    """Draw each model's accuracy with its interval, a panel for each set of questions."""
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
    return panels.facet(column=alt.Column("questions:N", title=None, sort=None)).properties(padding={"left": 60})


def label_figure(trace: dict) -> alt.Chart:
    """Draw the shares of the labels: in all, in right and in wrong responses."""
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


def position_figure(positions: pl.DataFrame) -> alt.Chart:
    """Draw each label's share by sentence position: solid for right, dashed for wrong responses."""
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


def threshold_figure(validation: dict) -> alt.Chart:
    """Draw precision and recall of Teacher and Student by beta, at the alphas of the grid."""
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


def _svg(chart: alt.Chart) -> Markup:
    # The SVG writer escapes the text that it draws.
    return Markup(vl_convert.vegalite_to_svg(chart.to_dict()))


def example_responses(plan: Plan, trace: Trace) -> list[dict]:
    """Give the first responses of a trace with each sentence's text, label and probabilities."""
    parts = zip(plan.trace_parts(trace), plan.rollout_parts("rollouts", trace.rollouts), strict=True)
    shown: list[dict] = []
    for labelled, rollouts in parts:
        shown += _labelled_responses(
            artifacts.read(Path(labelled), "provenance"), artifacts.read(Path(rollouts), "rollouts")
        )
        if len(shown) >= SHOWN_RESPONSES:
            break
    questions = artifacts.concatenated(map(Path, plan.question_parts(trace.rollouts.questions)), "questions")
    asked = dict(questions.select("question_id", "question").iter_rows())
    return [response | {"question": asked[response["question_id"]]} for response in shown[:SHOWN_RESPONSES]]


def _labelled_responses(labelled: pl.DataFrame, rollouts: pl.DataFrame) -> list[dict]:
    """Give the first responses of a part, one for each question, that have labelled sentences."""
    traced = rollouts.join(labelled, on="rollout_id", how="semi", maintain_order="left")
    shown = traced.unique("question_id", keep="first", maintain_order=True).head(SHOWN_RESPONSES)
    sentences = labelled.partition_by("rollout_id", as_dict=True)
    return [
        {
            "question_id": question_id,
            "sentences": [
                sentence | {"text": text[sentence["start"] : sentence["end"]]}
                for sentence in sentences[rollout_id,].iter_rows(named=True)
            ],
        }
        for rollout_id, question_id, text in shown.select("rollout_id", "question_id", "text").iter_rows()
    ]


if __name__ == "__main__":
    command.run(write_report)
