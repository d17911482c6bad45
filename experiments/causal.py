"""Find by experiment which sentences come from the teacher, and hold the labels against it.

    python experiments/causal.py --folder FOLDER [--seeds 0 1 2] [--cores 1]

For each form that the teacher writes, the distilled model is trained again on the same responses, with what the student
itself would write in place of that form. docs/experiments.md says how to read the tables.
"""

import argparse
import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from oracle import ZERO, config_copy, config_of, joined, mean_of, turn
from seeds import print_results, run_seed

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.statistics import roc_auc
from distrace.parts import open_parts
from distrace.plan import Plan, RolloutSet, load_plan, model_path, selection_path
from distrace.world import EVERY_FORM, PARAPHRASES, STUDENT, Dials, form_of, forms_at, read_puzzle, slots_of

DIALS = {"overlap": 0.3, "paraphrase": 0.5}
# Forms that are replaced in one training, each at another place of an answer: what is written at one place does not
# depend on the forms at the others.
REPLACED = (("plan", "step", "check"), ("aim", "apply", "sure"), ("easy", "turn", "done"), ("glance",))
CONTROL = "main.teacher.random.1"  # the same responses, another seed
FULL = "main.teacher.random.0"
CAUSED = 0.5  # from this effect on, a form counts as the teacher's
MEANT = {form: name for name, forms in PARAPHRASES.items() for form in (name, *forms)}
RULES = ("p_teacher - p_student", "p_distilled - p_student", "both", "label Teacher", "label Teacher or Boosted")


def main() -> None:
    """Run every seed in its own folder; print the table of forms, that of the rules, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the runs go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cores", default="1")
    options = parser.parse_args()
    os.environ.setdefault("DISTRACE_STORE", str(options.folder.resolve() / "store"))
    found = [run_world(options.folder, seed, options.cores) for seed in options.seeds]
    forms = [about_form(form, found) for form in EVERY_FORM if any(world["rates"][FULL][form] for world in found)]
    rules = [about_rule(rule, found, forms) for rule in RULES]
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
        print(pl.DataFrame([as_text(row) for row in forms]))
    print_results(rules, table=[as_text(row) for row in rules], seeds=options.seeds, dials=DIALS, forms=forms)


def run_world(folder: Path, seed: int, cores: str) -> dict:
    """Run the world of a seed and train its distilled model again without each form, unless that is done.

    Returns the sentences of the distilled model, and how often each model writes each form in an answer.
    """
    zero, run = folder / "{}-{}-seed-{}".format(*ZERO, seed), folder / f"causal-seed-{seed}"
    bases = [model_path("teacher"), model_path("student")]
    run_seed(zero, config_of(seed, *ZERO, zero, zero), cores, bases)
    config = config_of(seed, *ZERO, zero, run)
    turn(config, DIALS, zero.resolve())
    config["runs"]["main"]["seeds"] = [0, 1]
    plan = load_plan(config_copy(config))
    trace, _ = plan.traces("main")
    selected = selection_path("main", plan.candidates("main", "teacher"), "random")
    run_seed(run, config, cores, [plan.oracle_parts(trace), selected])
    write_replaced(run, plan, selected, seed)
    models = with_models(config, run.resolve())
    tests = {model: RolloutSet(model, "test", "answer") for model in (FULL, CONTROL, *models)}
    plan = load_plan(config_copy(config))
    answers = {model: plan.rollouts_parts("rollouts", tested) for model, tested in tests.items()}
    run_seed(run, config, cores, list(answers.values()))
    rates = {model: written(run / path) for model, path in answers.items()}
    return {"sentences": joined(run, plan, trace), "rates": rates}


def write_replaced(run: Path, plan: Plan, selected: str, seed: int) -> None:
    """Write, for each model to be trained again, the responses that it learns from: a file of solved questions."""
    candidates = plan.candidates("main", "teacher")
    chosen = open_artifact(run / selected, kinds.SELECTION).read("rollout_id", "rank").drop_nulls("rank")
    written = open_parts(run / plan.rollouts_parts("rollouts", candidates), kinds.ROLLOUTS)
    questions = open_parts(run / plan.questions_parts(candidates.questions), kinds.QUESTIONS)
    rows = (
        chosen.join(written.read("rollout_id", "question_id", "text"), on="rollout_id", maintain_order="left")
        .join(questions.read("question_id", "question", "answer"), on="question_id", maintain_order="left")
        .select("question", "answer", "text")
    )
    for number, forms in enumerate(REPLACED):
        rng, path = random.Random(f"{seed} {number}"), run / f"replaced-{number}.jsonl"
        lines = [
            json.dumps({"question": question, "answer": answer, "solution": replaced(question, text, forms, rng)})
            + "\n"
            for question, answer, text in rows.iter_rows()
        ]
        if not path.is_file():  # where a file has another time, what is made from it is looked at again
            path.write_text("".join(lines))


def replaced(question: str, text: str, forms: Iterable[str], rng: random.Random) -> str:
    """Return a response with what the student would write in place of sentences of these forms."""
    last = read_puzzle(question).swaps[-1][0]
    return "\n".join(_replaced(line, last, rng) if form_of(line) in forms else line for line in text.split("\n"))


def _replaced(sentence: str, last: str, rng: random.Random) -> str:
    form = str(form_of(sentence))
    choices = forms_at(MEANT.get(form, form), STUDENT, Dials(**DIALS))
    [own] = rng.choices(list(choices), weights=list(choices.values()))
    return EVERY_FORM[own].template.format(**{"last": last, **slots_of(sentence)})


def with_models(config: dict, run: Path) -> list[str]:
    """Add to a config, in place, the models that are trained again; return their names."""
    models = []
    for number in range(len(REPLACED)):
        name = f"replaced_{number}"
        config["questions"][name] = {"source": {"file": str(run / f"replaced-{number}.jsonl")}, "solution": "solution"}
        finetune = {"base": "student", "questions": name, "training": "distil"}
        config["models"][name] = {"source": {"finetune": finetune}, "format": "plain", "threads": 1}
        test = config["runs"]["main"]["test"]
        config["runs"][name] = {"teachers": ["teacher"], "student": "student", "distilled": name, "test": test}
        models.append(name)
    return models


def written(path: Path) -> Counter:
    """Return how often each form is in an answer, on average."""
    texts = open_parts(path, kinds.ROLLOUTS).read("text")["text"]
    counts = Counter(form_of(line) for text in texts for line in text.split("\n"))
    return Counter({form: count / len(texts) for form, count in counts.items() if form})


def about_form(form: str, found: list[dict]) -> dict:
    """Return the effect of a form's replacement, the labels of its sentences, and the effect of another seed."""
    number = next((n for n, forms in enumerate(REPLACED) if form in forms), None)
    sentences = pl.concat([world["sentences"] for world in found]).filter(pl.col("form") == form)
    without = None if number is None else f"replaced_{number}"
    return {
        "form": form,
        "effect": mean_of([effect(world, form, without) for world in found], bounded=False),
        "other seed": mean_of([effect(world, form, CONTROL) for world in found], bounded=False),
        "sentences": len(sentences),
        "Teacher": _share(sentences, pl.col("label") == "Teacher"),
        "oracle Teacher": _share(sentences, pl.col("label_exact") == "Teacher"),
        "p_teacher - p_student": sentences.select(pl.col("p_teacher") - pl.col("p_student")).to_series().mean(),
        "p_distilled - p_student": sentences.select(pl.col("p_distilled") - pl.col("p_student")).to_series().mean(),
    }


def _share(table: pl.DataFrame, condition: pl.Expr) -> float | None:
    return table.select(condition.mean()).item() if len(table) else None


def effect(world: Mapping, form: str, without: str | None) -> float | None:
    """Return by which share the distilled model writes a form less often, trained as the model `without` is.

    Forms that both write alike are their own replacement, so that nothing changes: 0. None where it never writes it.
    """
    rates = world["rates"]
    if not rates[FULL][form]:
        return None
    return 0.0 if without is None else 1 - rates[without][form] / rates[FULL][form]


def about_rule(rule: str, found: list[dict], forms: list[dict]) -> dict:
    """Return the area under the ROC curve of a rule: sentences of forms with a large effect against the others."""
    effects = {row["form"]: row["effect"]["mean"] for row in forms}
    areas = []
    for world in found:
        known = world["sentences"].filter(pl.col("form").is_not_null())
        scores = scored(known, rule)
        caused = np.array([(effects[form] or 0.0) >= CAUSED for form in known["form"]])
        areas.append(roc_auc(scores[caused], scores[~caused]))
    return {"rule": rule, "area": mean_of(areas), "areas": areas}


def scored(sentences: pl.DataFrame, rule: str) -> np.ndarray:
    """Return what a rule says of each sentence: the higher, the more it is the teacher's."""
    by_teacher, raised = (pl.col(f"p_{role}") - pl.col("p_student") for role in ("teacher", "distilled"))
    scores = {
        "p_teacher - p_student": by_teacher,
        "p_distilled - p_student": raised,
        "both": pl.min_horizontal(by_teacher, raised),
        "label Teacher": (pl.col("label") == "Teacher").cast(pl.Float64),
        "label Teacher or Boosted": pl.col("label").is_in(["Teacher", "Boosted"]).cast(pl.Float64),
    }
    return sentences.select(scores[rule]).to_series().to_numpy()


def as_text(row: dict) -> dict:
    """Return a row for the table: means with their intervals."""

    def text(value: object) -> object:
        if not isinstance(value, dict):
            return value
        if value["mean"] is None:
            return "-"
        return "{mean:.3f} ({low:.3f} to {high:.3f})".format(**value)

    return {name: text(value) for name, value in row.items() if name != "areas"}


if __name__ == "__main__":
    main()
