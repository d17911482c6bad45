"""Find by experiment whether the calculator notes of a real distilled model come from its teacher.

    python experiments/without_notes.py --folder FOLDER [--seeds 0 1 2] [--cores 1]

SmolLM2 is distilled twice on the same responses: as the teacher wrote them, and without their notes (`<<3+4=7>>`).
docs/experiments.md says how to read the tables.
"""

import argparse
import re
from pathlib import Path

import polars as pl
from causal import THRESHOLDS, as_text
from contexts import HABITS, link_inputs, smollm2_config
from oracle import copied, mean_of
from seeds import print_results, run_seed, write_rows

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.labels import RULES, Thresholds, label_of
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, load_plan, selection_path
from distrace.selected import selected_responses

RUN, STRATEGY, WITHOUT = "svamp", "teacher_count", "without_notes"
NOTE = re.compile(r"<<[^>]*>>")
FORMS = HABITS["smollm2"]


def main() -> None:
    """Train with and without the notes, unless it is done; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the run goes; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the distillation")
    parser.add_argument("--cores", default="1")
    options = parser.parse_args()
    run = options.folder / "notes"
    link_inputs(run)
    plan = run_both(run, options.seeds, options.cores)
    answers = {name: [texts(run, plan, name, seed) for seed in options.seeds] for name in (RUN, WITHOUT)}
    labelled = labelled_sentences(run, plan, answers_of(RUN, options.seeds[0]))
    rows = [about_form(form, answers, labelled) for form in FORMS]
    print_results(rows, table=[as_text(row) for row in rows], seeds=options.seeds)


def run_both(run: Path, seeds: list[int], cores: str) -> Plan:
    """Run the example with its selection, then the same responses without notes; return the plan of both."""
    config = config_of(seeds)
    plan = load_plan(copied(config))
    selection = selection_path(RUN, plan.candidates(RUN, "teacher"), STRATEGY)
    [trace] = [trace for trace in plan.traces(RUN) if trace.rollouts == answers_of(RUN, seeds[0])]
    answers = [plan.rollouts_parts("rollouts", answers_of(RUN, seed)) for seed in seeds]
    run_seed(run, config, cores, [selection, plan.trace_parts(trace), *answers])
    file = run / f"{WITHOUT}.jsonl"
    write_without_notes(run, plan, selection, file)
    config["sampling"][WITHOUT] = {"responses": {"file": str(file.resolve())}}
    candidates = {"questions": "train", "sampling": WITHOUT}
    config["runs"][WITHOUT] = config["runs"][RUN] | {"candidates": candidates, "strategies": ["random"], "trace": []}
    plan = load_plan(copied(config))
    run_seed(run, config, cores, [plan.rollouts_parts("rollouts", answers_of(WITHOUT, seed)) for seed in seeds])
    return plan


def config_of(seeds: list[int]) -> dict:
    """Return the config of the example on fewer test questions, with a distilled model for each seed."""
    config = smollm2_config(0, [])
    config["runs"] = {RUN: config["runs"][RUN] | {"seeds": seeds}}
    return config


def distilled(run: str, seed: int) -> str:
    """Return the name of the distilled model of a run."""
    return f"{run}.teacher.{STRATEGY if run == RUN else 'random'}.{seed}"


def answers_of(run: str, seed: int) -> RolloutSet:
    """Return the answers of a distilled model to the test questions."""
    return RolloutSet(distilled(run, seed), "test", "answer")


def write_without_notes(run: Path, plan: Plan, selection: str, out: Path) -> None:
    """Write the responses of a selection without their notes, as JSON Lines."""
    asked = open_parts(run / plan.questions_parts("train"), kinds.QUESTIONS)
    written = open_parts(run / plan.rollouts_parts("rollouts", plan.candidates(RUN, "teacher")), kinds.ROLLOUTS)
    chosen = selected_responses(asked, [written], open_artifact(run / selection, kinds.SELECTION))
    rows = pl.concat([frame.select("question", response="text") for frame in chosen])
    write_rows(out, [row | {"response": NOTE.sub("", row["response"])} for row in rows.to_dicts()])


def texts(run: Path, plan: Plan, name: str, seed: int) -> list[str]:
    """Return the answers of a distilled model."""
    parts = open_parts(run / plan.rollouts_parts("rollouts", answers_of(name, seed)), kinds.ROLLOUTS)
    return parts.read("text")["text"].to_list()


def labelled_sentences(run: Path, plan: Plan, answers: RolloutSet) -> pl.DataFrame:
    """Return the text and the probabilities of each sentence of a model that learned the notes."""
    [trace] = [trace for trace in plan.traces(RUN) if trace.rollouts == answers]
    table = open_parts(run / plan.trace_parts(trace), kinds.PROVENANCE).read()
    written = open_parts(run / plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    table = table.join(written.read("rollout_id", "text"), on="rollout_id", maintain_order="left")
    return table.with_columns(pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")))


def about_form(form: str, answers: dict[str, list[list[str]]], labelled: pl.DataFrame) -> dict:
    """Return how often a form is in an answer with and without training on notes, and the labels of its sentences."""
    pattern = re.compile(FORMS[form], re.MULTILINE)
    rates = {
        name: [sum(len(pattern.findall(text)) for text in drawn) / len(drawn) for drawn in of_seeds]
        for name, of_seeds in answers.items()
    }
    effects = [1 - without / full for full, without in zip(rates[RUN], rates[WITHOUT], strict=True) if full]
    sentences = labelled.filter(pl.col("text").str.contains(FORMS[form]))
    found = {"form": form, "in an answer": mean_of(rates[RUN], bounded=False)}
    found |= {"without notes": mean_of(rates[WITHOUT], bounded=False), "effect": mean_of(effects, bounded=False)}
    found |= {"sentences": len(sentences)}
    for rule in RULES:
        label = label_of(Thresholds(**THRESHOLDS, rule=rule))
        found[f"Teacher, rule {rule}"] = sentences.select((label == "Teacher").mean()).item()
        found[f"Teacher or Boosted, rule {rule}"] = sentences.select(label.is_in(["Teacher", "Boosted"]).mean()).item()
    for role in ("teacher", "distilled"):
        difference = pl.col(f"p_{role}") - pl.col("p_student")
        found[f"p_{role} - p_student"] = sentences.select(difference.mean()).item()
    return found


if __name__ == "__main__":
    main()
