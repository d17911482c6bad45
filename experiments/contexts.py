"""Find the context in which labels are best: how much of a response models should see that label its sentences.

    python experiments/contexts.py --folder FOLDER [--on world] [--seeds 0 1 2] [--contexts window-1 alone]
    python experiments/contexts.py --folder FOLDER --on smollm2 [--contexts window-0 window-1 alone]

In the world the true origin of every sentence is known, on SmolLM2 that of sentences with a calculator note: they are
the teacher's. docs/experiments.md says how to read the table, docs/results.md what came out.
"""

import argparse
from pathlib import Path

import polars as pl
import yaml
from seeds import ROOT, print_results, run_seed

from distrace import kinds
from distrace.measures.contexts import CLAIMED, falls, in_all, place_counts
from distrace.measures.labels import Thresholds, label_of, with_earlier
from distrace.measures.statistics import roc_auc, share
from distrace.measures.validation import Pair, origin_of
from distrace.parts import open_parts
from distrace.plan import WHOLE, Plan, Trace

EXAMPLE = ROOT / "examples/smollm2-gsm8k"
ALL, STUDENT = "all three", "student"  # who sees the context; the others see all of the response
HABITS = {"world": {"step": "^\\s*Swap .* gives "}, "smollm2": {"note": "<<", "answer_line": "^####"}}
CONTEXTS = {"world": [f"window-{k}" for k in (0, 1, 4)] + ["alone"], "smollm2": ["window-0", "window-1", "alone"]}
_KEYS = ["rollout_id", "sentence"]


def main() -> None:
    """Run every seed in its own folder; print the table, then the JSON line."""
    options = _options()
    contexts = options.contexts or CONTEXTS[options.on]
    seeds = options.seeds or ([0, 1, 2] if options.on == "world" else [0])
    make = world_config if options.on == "world" else smollm2_config
    found: dict[str, list[pl.DataFrame]] = {"traced": [], "control": []}
    for seed in seeds:
        folder = options.folder / f"{options.on}-{seed}"
        if options.on == "smollm2":
            link_inputs(folder)
        plan = run_seed(folder, make(seed, contexts), options.cores)
        for kind, run in zip(found, plan.config["runs"], strict=True):
            found[kind].append(sentences(folder, plan, run, seed))
    run = plan.config["runs"]["control"]
    rows = compared(*map(pl.concat, found.values()), Thresholds(run["alpha"], run["beta"]))
    print_results(rows, table=[as_text(row) for row in rows], on=options.on, seeds=seeds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--on", choices=list(CONTEXTS), default="world")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2 in the world, else 0")
    parser.add_argument("--contexts", nargs="+", help="beside the whole one")
    parser.add_argument("--cores", default="all")
    return parser.parse_args()


def world_config(seed: int, contexts: list[str]) -> dict:
    """Return the default config with one strategy, in further contexts, and the student's answers traced beside."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["seed"] = seed
    config["runs"]["main"]["test"]["questions"] = ["test"]
    return _with_control(config, "world", contexts)


def smollm2_config(seed: int, contexts: list[str]) -> dict:
    """Return the config of the example's `strategies.yaml` on fewer test questions, likewise in further contexts."""
    config = yaml.safe_load((EXAMPLE / "strategies.yaml").read_text())
    config["seed"] = seed
    config["questions"]["test"]["limit"] = 50
    return _with_control(config, "smollm2", contexts)


def _with_control(config: dict, on: str, contexts: list[str]) -> dict:
    [(own_name, run)] = config["runs"].items()
    traced = run | {"strategies": ["teacher_count"], "contexts": contexts, "habits": HABITS[on]}
    kept = ("teachers", "student", "test", "contexts", "habits", "check_float32")
    control = {key: traced[key] for key in kept if key in traced}
    config["runs"] = {own_name: traced, "control": control | {"distilled": traced["student"]}}
    return config


def link_inputs(folder: Path) -> None:
    """Link the data and the model of the example into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data", "model"):
        if not (folder / name).exists():
            (folder / name).symlink_to(EXAMPLE / name)


def sentences(folder: Path, plan: Plan, run: str, seed: int) -> pl.DataFrame:
    """Return the sentences of a run's traces that all contexts label, with their probabilities in each.

    `habit NAME` says whether a sentence shows that habit of the run; `origin` is null outside the world.
    """
    found = []
    for trace in plan.traces(run):
        contexts = plan.in_contexts(trace)
        tables = in_all([_probabilities(folder, plan, other) for other in contexts.values()])
        table = tables[0].select(*_KEYS, "start", "end")
        for context, probabilities in zip(contexts, tables, strict=True):
            renamed = probabilities.drop("start", "end").rename(lambda name, c=context: _column(name, c))
            table = table.join(renamed, on=_KEYS, maintain_order="left")
        found.append(_with_texts(folder, plan, trace, table))
    table = pl.concat(found)
    marked = [pl.format("{} {}", pl.lit(seed), name).alias(name) for name in ("rollout_id", "question_id")]
    return table.with_columns(marked)


def _column(name: str, context: str) -> str:
    return name if name in _KEYS else f"{name} {context}"


def _probabilities(folder: Path, plan: Plan, trace: Trace) -> pl.DataFrame:
    parts = open_parts(folder / plan.trace_parts(trace), kinds.PROVENANCE)
    return parts.read(*_KEYS, "start", "end", "p_teacher", "p_student", "p_distilled")


def _with_texts(folder: Path, plan: Plan, trace: Trace, table: pl.DataFrame) -> pl.DataFrame:
    written = open_parts(folder / plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    table = table.join(written.read("rollout_id", "question_id", "text"), on="rollout_id", maintain_order="left")
    text = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    habits = plan.config["runs"][trace.run]["habits"]
    shown = [text.str.contains(pattern).alias(f"habit {name}") for name, pattern in habits.items()]
    table = table.with_columns(shown).drop("text", "start", "end")
    if not plan.has_truth(trace):
        return table.with_columns(pl.lit(None, pl.String).alias("origin"))
    truth = open_parts(folder / plan.rollouts_parts("truth", trace.rollouts), kinds.TRUTH).read(*_KEYS, "origin")
    pair = Pair(*(plan.style_of(model) for model in (trace.teacher, plan.scorers(trace)["student"])))
    return table.join(truth.with_columns(origin_of(pair)), on=_KEYS, maintain_order="left")


def compared(traced: pl.DataFrame, control: pl.DataFrame, thresholds: Thresholds) -> list[dict]:
    """Return a row for each context, and for who sees it: all three models, or the student alone.

    Intervals are over the questions of all seeds together.
    """
    contexts = [name.removeprefix("p_student ") for name in traced.columns if name.startswith("p_student ")]
    settings = [(context, who) for context in contexts for who in (ALL, STUDENT) if context != WHOLE or who == ALL]
    labelled = {setting: _labelled(traced, *setting, thresholds) for setting in settings}
    own = {setting: _labelled(control, *setting, thresholds) for setting in settings}
    whole = (WHOLE, ALL)
    along = falls({s: place_counts(t.with_columns(earlier=pl.col("sentence"))) for s, t in labelled.items()}, whole)
    habits = {
        name.removeprefix("habit "): falls(
            {s: place_counts(with_earlier(t.filter(name))) for s, t in labelled.items()}, whole
        )
        for name in traced.columns
        if name.startswith("habit ")
    }
    return [
        {"context": context, "seen_by": who, "sentences": len(labelled[context, who])}
        | _quality(pl.concat([labelled[context, who], own[context, who]]))
        | _columns("teacher_in_control", _share(own[context, who], pl.col("label") == CLAIMED))
        | _places("", along[context, who])
        | {
            key: value
            for name, found in habits.items()
            for key, value in _places(f"{name}_", found[context, who]).items()
        }
        for context, who in settings
    ]


def _places(prefix: str, along: dict) -> dict:
    names = ("first", "later", "fall", "gone_share")
    return {key: value for name in names for key, value in _columns(prefix + name, along[name]).items()}


def _labelled(table: pl.DataFrame, context: str, who: str, thresholds: Thresholds) -> pl.DataFrame:
    seen = {"teacher": context, "student": context, "distilled": context}
    if who == STUDENT:
        seen |= {"teacher": WHOLE, "distilled": WHOLE}
    known = table.with_columns(pl.col(f"p_{role} {c}").alias(f"p_{role}") for role, c in seen.items())
    kept = [*_KEYS, "question_id", "origin", "p_teacher", "p_student"]
    return known.select(*kept, pl.col("^habit .*$"), label_of(thresholds).alias("label"))


def _quality(labelled: pl.DataFrame) -> dict:
    """Return how well Teacher finds the sentences that only the teacher writes, over both runs; nulls without truth.

    `auc` is the area under the ROC curve of p_teacher - p_student, of these sentences against all others.
    """
    if labelled["origin"].is_null().all():
        names = [f"{name}{bound}" for name in ("agreement", "precision", "recall") for bound in ("", "_low", "_high")]
        return dict.fromkeys([*names, "auc"])
    claimed, true = pl.col("label") == CLAIMED, pl.col("origin") == "teacher"
    claims = pl.col("label").replace_strict({"Teacher": "teacher", "Student": "student"}, default="both")
    difference = labelled["p_teacher"] - labelled["p_student"]
    mask = labelled["origin"] == "teacher"
    return {
        **_columns("agreement", _share(labelled, claims == pl.col("origin"))),
        **_columns("precision", _share(labelled.filter(claimed), true)),
        **_columns("recall", _share(labelled.filter(true), claimed)),
        "auc": roc_auc(difference.filter(mask).to_numpy(), difference.filter(~mask).to_numpy()),
    }


def _share(table: pl.DataFrame, hit: pl.Expr) -> dict | None:
    counts = table.group_by("question_id").agg(pl.len().alias("all"), hit.sum().alias("hits")).sort("question_id")
    found = share(counts["hits"].to_numpy(), counts["all"].to_numpy()) if len(counts) else None
    return vars(found) if found else None


def _columns(name: str, interval: dict | None) -> dict:
    columns = {"mean": name, "low": f"{name}_low", "high": f"{name}_high"}
    return {column: interval and interval[key] for key, column in columns.items()}


def as_text(row: dict) -> dict:
    """Return a row for the table, shares in per cent with their intervals."""
    shown = {name: row[name] for name in ("context", "seen_by", "sentences")}
    for name in [name for name in row if f"{name}_low" in row]:
        shown[name] = "" if row[name] is None else f"{100 * row[name]:.1f}"
        shown[name] += "" if row[name] is None else f" ({100 * row[f'{name}_low']:.1f}-{100 * row[f'{name}_high']:.1f})"
    return shown | {"auc": row["auc"]}


if __name__ == "__main__":
    main()
