"""The report's numbers of labels in several contexts: how much of the fall of Teacher goes away."""

from collections import defaultdict
from typing import Any

import polars as pl

from distrace.measures.contexts import changed_labels, falls, in_all, label_changes, place_counts
from distrace.measures.labels import habit_labels, label_counts, label_shares, with_earlier
from distrace.pages.curves import curve_numbers
from distrace.pages.labelled import habit_sentences, labelled_sentences
from distrace.plan import WHOLE, Plan, Trace

Numbers = dict[str, Any]
Frames = dict[str, list[pl.DataFrame]]  # one of each part, by context


def context_numbers(plan: Plan, trace: Trace) -> Numbers:
    """Return the labels of a trace in each context, by context, the whole one first; empty if its run names no other.

    All are of the sentences that every context labels; `left_out` counts those that this one labels beside them.
    """
    traces = plan.in_contexts(trace)
    if len(traces) == 1:
        return {}
    found = _labels(plan, traces)
    for context, habits in _habits(plan, traces).items():
        curves = curve_numbers(traces[context])
        found[context] |= {"curve": curves.get("all", {}).get("sentence"), "habits": habits}
    return found


def _labels(plan: Plan, traces: dict[str, Trace]) -> Numbers:
    counts, places, changes = (defaultdict[str, list[pl.DataFrame]](list) for _ in range(3))
    labelled = dict.fromkeys(traces, 0)
    for tables in zip(*(labelled_sentences(plan, other) for other in traces.values()), strict=True):
        common = dict(zip(traces, in_all(tables), strict=True))
        for (context, table), all_of_it in zip(common.items(), tables, strict=True):
            labelled[context] += len(all_of_it)
            counts[context].append(label_counts(table))
            places[context].append(place_counts(table.with_columns(earlier=pl.col("sentence"))))
            changes[context].append(label_changes(common[WHOLE], table))
    along = _falls(places)
    found: Numbers = {}
    for context in traces:
        of_questions = pl.concat(counts[context])
        sentences = int(of_questions["all"].sum())
        found[context] = {"sentences": sentences, "left_out": labelled[context] - sentences}
        found[context] |= {"labels": label_shares(of_questions), "along": along[context]}
        found[context] |= changed_labels(pl.concat(changes[context]))
    return found


def _habits(plan: Plan, traces: dict[str, Trace]) -> dict[str, Numbers]:
    """Return, for each context, the labels of the sentences that match each habit, and how their Teacher share falls.

    The first one of a response is the first that shows the habit.
    """
    shown: dict[str, Frames] = defaultdict(lambda: defaultdict(list))
    for parts in zip(*(habit_sentences(plan, other) for other in traces.values()), strict=True):
        for habit in parts[0]:
            for context, table in zip(traces, in_all([part[habit] for part in parts]), strict=True):
                shown[habit][context].append(with_earlier(table))
    found: dict[str, Numbers] = {context: {} for context in traces}
    for habit, frames in shown.items():
        along = _falls({context: [place_counts(table) for table in tables] for context, tables in frames.items()})
        for context, tables in frames.items():
            found[context][habit] = habit_labels(pl.concat(tables)) | {"along": along[context]}
    return found


def _falls(places: Frames) -> dict[str, Numbers]:
    return falls({context: pl.concat(tables) for context, tables in places.items()}, WHOLE)
