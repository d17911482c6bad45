"""Compare the labels of models with those of exact probabilities, in worlds that are harder dial by dial.

    python experiments/oracle.py --folder FOLDER [--seeds 0 1 2] [--dials overlap filler paraphrase partial]
        [--size large] [--figure FILE.svg] [--cores 1]

docs/experiments.md says what it varies and how to read the table.
"""

import argparse
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import yaml
from seeds import BASES, ROOT, print_results, run_seed, turn, write_rows

from distrace import kinds
from distrace.measures.labels import LABELS, Thresholds
from distrace.measures.validation import oracle_agreement
from distrace.pages.figures import COLOURS, as_svg
from distrace.parts import open_parts
from distrace.plan import Plan, Trace, load_plan, model_path
from distrace.world import DIALS, questions

# What is turned, one thing at a time, and its values beside zero; `partial` is the share of the answers learned that
# the student's grammar writes.
VALUES = {"overlap": (0.1, 0.5), "filler": (0.4, 0.8), "paraphrase": (0.4, 0.8), "partial": (0.25, 0.5)}
PARTIAL, ZERO = "partial", ("none", 0.0)
SWAPS = {"teacher_corpus": [1, 3], "student_corpus": [1, 3], "train": [2, 3], "test": [2, 3]}
TEST_QUESTIONS = 150
MENDS = ("teacher", "student", "either", "both", "content")
T_QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}  # by n


@dataclass(frozen=True)
class Size:
    """What models learn from: answers of a corpus, for so many steps; answers to distil, for so many epochs."""

    folders: str  # how the names of a world's folders begin
    corpus: int
    steps: int
    answers: int
    epochs: int


SIZES = {"small": Size("", 4000, 1000, 300, 6), "large": Size("large-", 12000, 2000, 1000, 4)}


def main() -> None:
    """Run every setting with every seed in its own folder; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dials", nargs="*", choices=list(VALUES), default=list(VALUES))
    parser.add_argument("--size", choices=list(SIZES), default="large", help="how much the models learn from")
    parser.add_argument("--figure", type=Path, help="where to draw the table")
    parser.add_argument("--cores", default="1")
    options = parser.parse_args()
    # The models that a dial leaves as they are come from the run with all dials at zero.
    os.environ.setdefault("DISTRACE_STORE", str(options.folder.resolve() / "store"))
    settings = [ZERO, *((dial, value) for dial in options.dials for value in VALUES[dial])]
    found = []
    for seed in options.seeds:
        for dial, value in settings:
            about = {"dial": dial, "value": value, "seed": seed}
            found.append(about | measured(options.folder, dial, value, seed, options.cores, SIZES[options.size]))
    rows = [over_seeds([row for row in found if (row["dial"], row["value"]) == setting]) for setting in settings]
    if options.figure:
        options.figure.write_text(figure(found, options.dials).replace("currentColor", "#666") + "\n")
    print_results(rows, table=[as_text(row) for row in rows], seeds=options.seeds, each=found)


def measured(folder: Path, dial: str, value: float, seed: int, cores: str, size: Size) -> dict[str, Any]:
    """Run one setting, unless it is finished, and return how its labels agree with the oracle's."""
    run, zero = world_folder(folder, size, dial, value, seed), world_folder(folder, size, *ZERO, seed)
    dials = {dial: value} if dial in DIALS else {}
    config = config_of(seed, dials, zero.resolve(), size)
    add_distilled(config, "distilled", run.resolve(), taught(config, value if dial == PARTIAL else 0.0))
    plan = load_plan(copied(config))
    [trace] = plan.traces("distilled")
    run_seed(run, config, cores, [plan.oracle_parts(trace), *map(model_path, BASES)])
    settings = plan.config["runs"][trace.run]
    return oracle_agreement(joined(run, plan, trace), Thresholds(settings["alpha"], settings["beta"]))


def world_folder(folder: Path, size: Size, dial: str, value: float, seed: int) -> Path:
    """Return where the world of a setting lies."""
    return folder / f"{size.folders}{dial}-{value}-seed-{seed}"


def copied(config: dict) -> dict:
    """Return a copy: a plan fills the defaults in in place."""
    return yaml.safe_load(yaml.safe_dump(config))


def config_of(seed: int, dials: Mapping[str, float], zero: Path, size: Size) -> dict:
    """Return the config of a world, without a run: the default run's, with shorter chains and fewer test questions.

    A model whose corpus the dials change goes on from that of the same seed with all dials at zero, in folder `zero`.
    """
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["seed"], config["runs"] = seed, {}
    del config["questions"]["test_longer"]
    for name, swaps in SWAPS.items():
        config["questions"][name]["source"]["world"] |= {"swaps": swaps}
    counts = {"train": size.answers, "test": TEST_QUESTIONS} | {f"{style}_corpus": size.corpus for style in BASES}
    for name, count in counts.items():
        config["questions"][name]["source"]["world"] |= {"count": count}
    for style in BASES:
        config["training"][f"{style}_from_scratch"]["max_steps"] = size.steps
    config["training"]["distil"]["epochs"] = size.epochs
    turn(config, dials, zero)
    return config


def taught(config: dict, own: float = 0.0) -> list[dict]:
    """Return the solved questions that a distilled model learns from, a share of them solved as the student would."""
    world = config["questions"]["train"]["source"]["world"]
    solved = {}
    for style in BASES:
        corpus = config["questions"][f"{style}_corpus"]["source"]["world"]
        dials = {dial: corpus[dial] for dial in DIALS if dial in corpus}
        solved[style] = questions(**world, seed=config["seed"], style=style, **dials)
    rng = random.Random(config["seed"])
    return [student if rng.random() < own else teacher for teacher, student in zip(*solved.values(), strict=True)]


def add_distilled(config: dict, name: str, run: Path, rows: list[dict]) -> None:
    """Add a model trained from the student on solved questions, and a run that traces it, in place."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / f"{name}.jsonl"
    write_rows(file, rows)
    config["questions"][name] = {"source": {"file": str(file)}, "solution": "solution"}
    finetune = {"base": "student", "questions": name, "training": "distil"}
    config["models"][name] = {"source": {"finetune": finetune}, "format": "plain", "threads": 1}
    test = {"questions": ["test"], "sampling": "answer"}
    config["runs"][name] = {"teachers": ["teacher"], "student": "student", "distilled": name, "test": test}


def joined(folder: Path, plan: Plan, trace: Trace) -> pl.DataFrame:
    """Return the sentences of a trace with the labels of the models and of the oracle."""
    rollouts = open_parts(folder / plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    labelled = open_parts(folder / plan.trace_parts(trace), kinds.PROVENANCE).read()
    exact = open_parts(folder / plan.oracle_parts(trace), kinds.ORACLE).read()
    questions = rollouts.read("rollout_id", "question_id")
    return labelled.join(questions, on="rollout_id").join(exact, on=["rollout_id", "sentence"], suffix="_exact")


def over_seeds(rows: list[dict]) -> dict:
    """Return the means over seeds of a setting, with 95 % intervals of Student's t over the seeds."""
    found = {"dial": rows[0]["dial"], "value": rows[0]["value"], "seeds": len(rows)}
    found["sentences"] = sum(row["sentences"] for row in rows)
    found |= {"agreement": mean_of([row["agreement"]["mean"] for row in rows])}
    for label in LABELS:
        found |= {f"{label} {what}": mean_of([row[what][label] for row in rows]) for what in ("precision", "recall")}
        found[f"{label} by oracle"] = sum(sum(row["confusion"][label].values()) for row in rows)
    found["follow"] = sum(row["follow"] for row in rows) / found["sentences"]
    for mend in MENDS:
        parted = sum(part["sentences"] for row in rows for part in row["parted"] if part["mend"] == mend)
        found[f"parted: {mend}"] = parted / found["sentences"]
    found["defined"] = sum(part["sentences"] for row in rows for part in row["defined"]) / found["sentences"]
    return found


def mean_of(values: list[float | None], bounded: bool = True) -> dict[str, float | int | None]:
    """Return the mean of values that are known with its 95 % interval of Student's t, `bounded` by 0 and 1."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return {"mean": None, "low": None, "high": None, "n": 0}
    half = T_QUANTILES[len(known)] * known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else 1.0
    mean = float(known.mean())
    low, high = mean - half, mean + half
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return {"mean": mean, "low": low, "high": high, "n": len(known)}


def as_text(row: dict) -> dict:
    """Return a row for the table, in per cent."""
    shown = {name: row[name] for name in ("dial", "value", "seeds", "sentences")}
    shown["agreement"] = _text(row["agreement"])
    for label in LABELS:
        shown[label] = " / ".join(_text(row[f"{label} {what}"], short=True) for what in ("precision", "recall"))
    return shown | {"follow": f"{100 * row['follow']:.1f}", "defined": f"{100 * row['defined']:.1f}"}


def _text(value: Mapping[str, Any], short: bool = False) -> str:
    if value["mean"] is None:
        return "-"
    mean, low, high = (f"{100 * value[name]:.1f}" for name in ("mean", "low", "high"))
    return mean if short else f"{mean} ({low} to {high})"


def figure(found: list[dict], dials: list[str]) -> str:
    """Return, as SVG, agreement, precision and recall by dial: a line for the means, and a point for each seed."""
    data, colours = alt.Data(values=list(_points(found, dials))), list(COLOURS.values())
    base = alt.Chart(data).encode(
        x=alt.X("value:Q", title=None, axis=alt.Axis(tickCount=4)),
        color=alt.Color("label:N", title=None, scale=alt.Scale(domain=["all", *COLOURS], range=["#009E73", *colours])),
    )
    y = alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, 1]))
    lines = base.mark_line(strokeWidth=1.5).encode(y=alt.Y("mean(share):Q", title=None, scale=alt.Scale(domain=[0, 1])))
    points = base.mark_point(filled=True, size=18, opacity=0.6).encode(y=y)
    panels = alt.layer(lines, points).properties(width=130, height=110)
    return as_svg(
        panels.facet(
            row=alt.Row("measure:N", title=None, sort=["agreement", "precision", "recall"]),
            column=alt.Column("dial:N", title=None, sort=dials),
        )
    )


def _points(found: list[dict], dials: list[str]) -> Iterator[dict]:
    for row in found:
        for dial in dials if row["dial"] == ZERO[0] else [row["dial"]]:
            about = {"dial": dial, "value": row["value"], "seed": row["seed"]}
            yield about | {"measure": "agreement", "label": "all", "share": row["agreement"]["mean"]}
            for measure in ("precision", "recall"):
                for label, share in row[measure].items():
                    if share is not None:
                        yield about | {"measure": measure, "label": label, "share": share}


if __name__ == "__main__":
    main()
