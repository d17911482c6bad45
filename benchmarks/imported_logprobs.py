"""Check that imported tokens and log-probs of a teacher give the labels that the teacher gives when it runs itself.

    python benchmarks/imported_logprobs.py --directory examples/ready-made-answers [--responses 40]

Takes what the teacher of a finished project answered to the test questions, writes it to a file as others would (text,
tokens, log-probs), imports that file, and labels the sentences of both: once the teacher scores them, once its imported
log-probs are taken. Prints how many labels are the same, and the largest difference of a teacher's probability.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import polars as pl
import yaml

from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.measures.labels import Thresholds
from distrace.nodes.imported_rollouts import write_imported
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.provenance import write_provenance
from distrace.nodes.sentences import write_sentences
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, Trace, load_plan, model_path
from distrace.ready_made import Responses

OWN = {"live": "computed", "imported": "recorded"}


def main() -> None:
    """Label both, compare, and exit with status 1 if a label differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--responses", type=int, default=40)
    options = parser.parse_args()
    os.chdir(options.directory)
    plan = load_plan(yaml.safe_load(Path("config.yaml").read_text("utf-8")))
    trace = next(trace for run in plan.config["runs"] for trace in plan.traces(run))
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        live = first_responses(plan, trace, options.responses, folder / "live.arrow")
        imported = import_again(plan, trace, live, folder)
        tables = {kind: labelled(plan, trace, path, folder / kind, OWN[kind]) for kind, path in pairs(live, imported)}
    both = tables["live"].join(tables["imported"], on=["number", "sentence"], suffix="_imported", validate="1:1")
    same = (both["label"] == both["label_imported"]).sum()
    gap = max((both["p_teacher"] - both["p_teacher_imported"]).abs().to_list())
    print(f"{same} of {len(both)} labels are the same ({len(tables['live'])} live, {len(tables['imported'])} imported)")
    print(f"largest difference of the teacher's probability of a sentence: {gap:.2g}")
    print(both["label"].value_counts(sort=True).rows())
    raise SystemExit(not len(both) == same == len(tables["live"]) == len(tables["imported"]))


def first_responses(plan: Plan, trace: Trace, count: int, out: Path) -> Path:
    """Write the first of the teacher's own answers to the questions of a trace, as it wrote them."""
    rollouts = RolloutSet(trace.teacher, trace.rollouts.questions, trace.rollouts.sampling)
    written = next(iter(open_parts(plan.rollouts_parts("rollouts", rollouts), kinds.ROLLOUTS)))
    write(out, kinds.ROLLOUTS, written.read().head(count), written.identity | {"first": count})
    return out


def pairs(live: Path, imported: Path) -> list[tuple[str, Path]]:
    """Return both rollouts by name."""
    return [("live", live), ("imported", imported)]


def import_again(plan: Plan, trace: Trace, live: Path, folder: Path) -> Path:
    """Write rollouts to a file of JSON Lines, and import that; return the path of the imported ones."""
    asked = next(iter(open_parts(plan.questions_parts(trace.rollouts.questions), kinds.QUESTIONS)))
    rows = (
        open_artifact(live).read().join(asked.read("question_id", "question"), on="question_id", maintain_order="left")
    )
    columns = rows.select("question", "text", "token_ids", "logprobs").iter_rows(named=True)
    source = folder / "saved.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in columns), "utf-8")
    settings = Responses(str(source), response="text", token_ids="token_ids", logprobs="logprobs")
    model, how = Path(model_path(trace.teacher)), plan.model_settings(trace.teacher)
    write_imported(trace.teacher, asked.path, settings, folder / "imported/parts.arrow", model, how)
    return folder / "imported" / asked.path.name


def labelled(plan: Plan, trace: Trace, rollouts: Path, folder: Path, own_logprobs: str) -> pl.DataFrame:
    """Return the labelled sentences of rollouts, with the number of each response, from 0."""
    asked = next(iter(open_parts(plan.questions_parts(trace.rollouts.questions)))).path
    write_sentences(rollouts, plan.config["splitter"], folder / "sentences.arrow")
    for role, scorer in plan.scorers(trace).items():
        score_rollouts(
            rollouts,
            asked,
            Path(model_path(scorer)),
            plan.model_settings(scorer),
            plan.execution(scorer),
            "full",
            folder / f"{role}.arrow",
            own_logprobs=own_logprobs if role == "teacher" else "computed",
        )
    run = plan.config["runs"][trace.run]
    scored = {role: folder / f"{role}.arrow" for role in ("teacher", "student", "distilled")}
    thresholds = Thresholds(run["alpha"], run["beta"])
    write_provenance(rollouts, folder / "sentences.arrow", **scored, thresholds=thresholds, out=folder / "p.arrow")
    numbers = open_artifact(rollouts).read("rollout_id").with_row_index("number")
    return open_artifact(folder / "p.arrow").read().join(numbers, on="rollout_id")


if __name__ == "__main__":
    main()
