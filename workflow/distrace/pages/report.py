"""The report: one self-contained page over all runs."""

from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader

from distrace import __version__, kinds
from distrace.artifacts import open_artifact
from distrace.measures.leans import MARGIN
from distrace.pages.figures import (
    COLOURS,
    accuracy_figure,
    as_svg,
    label_figure,
    length_figure,
    position_figure,
    threshold_figure,
)
from distrace.pages.tables import TABLES
from distrace.parts import open_parts
from distrace.plan import Plan, Trace, positions_path

SHOWN_RESPONSES = 4


def report_page(plan: Plan, numbers: dict[str, Any]) -> str:
    """Return the report of a plan as HTML; `numbers` are those of `numbers_of`."""
    environment = Environment(loader=PackageLoader("distrace", "pages"), autoescape=True, trim_blocks=True)
    environment.filters["interval"] = interval_text
    environment.filters["signed"] = signed_text
    environment.filters["p_value"] = lambda value: f"{value:.4f}" if isinstance(value, float) else "-"
    environment.filters["number"] = lambda value: "-" if value is None else f"{value:.3f}"
    environment.filters["points"] = points_text
    environment.filters["count"] = lambda value: "-" if value is None else f"{value:,.0f}"
    environment.filters["flops"] = lambda value: "-" if value is None else f"{value:.2g}"
    environment.filters["sample_counts"] = sample_counts
    environment.globals.update(TABLES)
    return environment.get_template("report.html").render(
        numbers=numbers,
        colours=COLOURS,
        version=__version__,
        margin=MARGIN,
        world_figures=[as_svg(threshold_figure(trace)) for trace in (numbers["world"] or {"traces": []})["traces"]],
        figures={run: run_figures(plan, run, numbers["runs"][run]) for run in plan.config["runs"]},
        examples={run: [example_responses(plan, trace) for trace in plan.traces(run)] for run in plan.config["runs"]},
    )


def interval_text(interval: dict[str, Any] | None) -> str:
    """Return "62.0 % (55.1-68.7)" for a share, a dash where there is none."""
    if interval is None or interval["mean"] is None:
        return "-"
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f}-{high:.1f})"


def signed_text(interval: dict[str, Any] | None, digits: int = 3) -> str:
    """Return "+0.912 (+0.895 to +0.930)" for a difference, a dash where there is none."""
    if interval is None:
        return "-"
    mean, low, high = (f"{interval[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def points_text(interval: dict[str, Any]) -> str:
    """Return "+3.1 (+0.2 to +6.0)", in points, for a difference of shares."""
    return signed_text({key: 100 * interval[key] for key in ("mean", "low", "high")}, digits=1)


def sample_counts(models: dict[str, Any]) -> list[str]:
    """Return the k above 1 for which some model has a pass@k, in order."""
    return sorted({k for value in models.values() for k in value["pass_at"] if k != "1"}, key=int)


def run_figures(plan: Plan, run: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run as SVG: accuracy, lengths of what was chosen; of each trace labels and positions."""
    positions = [open_artifact(positions_path(trace), kinds.POSITIONS).read() for trace in plan.traces(run)]
    return {
        "accuracy": as_svg(accuracy_figure(numbers["accuracy"])),
        "lengths": as_svg(length_figure(numbers["strategies"]["training"])) if numbers["strategies"] else None,
        "labels": [as_svg(label_figure(trace)) for trace in numbers["traces"]],
        "positions": [as_svg(position_figure(table)) for table in positions],
    }


def example_responses(plan: Plan, trace: Trace) -> list[dict[str, Any]]:
    """Return the first responses of a trace, with the text, label and probabilities of each sentence."""
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    written = open_parts(plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    shown: list[dict[str, Any]] = []
    for sentences, rollouts in zip(labelled, written, strict=True):
        shown += _labelled_responses(sentences.read(), rollouts.read("rollout_id", "question_id", "text"))
        if len(shown) >= SHOWN_RESPONSES:
            break
    questions = open_parts(plan.questions_parts(trace.rollouts.questions), kinds.QUESTIONS)
    asked = dict(questions.read("question_id", "question").iter_rows())
    return [response | {"question": asked[response["question_id"]]} for response in shown[:SHOWN_RESPONSES]]


def _labelled_responses(labelled: pl.DataFrame, rollouts: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the first responses of a part that have labelled sentences, one for each question."""
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
