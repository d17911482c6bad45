"""The report: one self-contained page over all runs."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader

from distrace import __version__, kinds
from distrace.measures.leans import MARGIN
from distrace.pages.figure_files import Figure
from distrace.pages.figures import MIN_RESPONSES
from distrace.pages.findings import findings, world_findings
from distrace.pages.tables import TABLES
from distrace.pages.texts import (
    COLOURS,
    LETTERS,
    explorer_link,
    file_name,
    interval_text,
    percent,
    points_text,
    signed_text,
)
from distrace.pages.warnings import LIMITS, warning_text
from distrace.parts import open_parts
from distrace.plan import Plan, Trace

SHOWN_RESPONSES = 4


def report_page(plan: Plan, numbers: dict[str, Any], figures: Mapping[str, Figure]) -> str:
    """Return the report of a plan as HTML, from its numbers (`numbers_of`) and its figures by name."""
    environment = Environment(loader=PackageLoader("distrace", "pages"), autoescape=True, trim_blocks=True)
    environment.filters.update(FILTERS)
    environment.globals.update(TABLES)
    environment.globals.update(explorer=explorer_link, file_name=file_name, percent=percent)
    return environment.get_template("report.html").render(
        numbers=numbers,
        colours=COLOURS,
        letters=LETTERS,
        version=__version__,
        margin=MARGIN,
        min_responses=MIN_RESPONSES,
        figures=figures,
        findings={name: findings(run) for name, run in numbers["runs"].items()},
        world_findings=world_findings(numbers["world"]),
        warnings=[warning_text(warning) for warning in numbers["warnings"]],
        limits=LIMITS,
        examples={
            trace.folder: example_responses(plan, trace) for run in plan.config["runs"] for trace in plan.traces(run)
        },
    )


def sample_counts(models: dict[str, Any]) -> list[str]:
    """Return the k above 1 for which some model has a pass@k, in order."""
    return sorted({k for value in models.values() for k in value["pass_at"] if k != "1"}, key=int)


FILTERS: dict[str, Any] = {
    "interval": interval_text,
    "signed": signed_text,
    "points": points_text,
    "p_value": lambda value: f"{value:.4f}" if isinstance(value, float) else "-",
    "number": lambda value: "-" if value is None else f"{value:.3f}",
    "count": lambda value: "-" if value is None else f"{value:,.0f}",
    "flops": lambda value: "-" if value is None else f"{value:.2g}",
    "sample_counts": sample_counts,
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
            "rollout_id": rollout_id,
            "question_id": question_id,
            "sentences": [
                sentence | {"text": text[sentence["start"] : sentence["end"]]}
                for sentence in sentences[rollout_id,].iter_rows(named=True)
            ],
        }
        for rollout_id, question_id, text in shown.select("rollout_id", "question_id", "text").iter_rows()
    ]
