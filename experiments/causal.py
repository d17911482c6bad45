"""Find by experiment which sentences come from the teacher, and hold the labels against it.

    python experiments/causal.py --folder FOLDER [--seeds 0 1 2] [--cores 1]

For each form that the teacher writes, the distilled model is trained again on the same responses, with what the student
itself would write in place of that form. docs/experiments.md says how to read the tables.
"""

import argparse
import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from oracle import SIZES, ZERO, add_distilled, config_of, copied, joined, mean_of, measured, taught, world_folder
from seeds import print_results, run_seed

from distrace import kinds
from distrace.measures.labels import RULES as LABEL_RULES
from distrace.measures.labels import Thresholds, label_of
from distrace.measures.statistics import roc_auc
from distrace.parts import open_parts
from distrace.plan import RolloutSet, load_plan
from distrace.world import EVERY_FORM, PARAPHRASES, STUDENT, Dials, form_of, forms_at, read_puzzle, slots_of

SIZE = SIZES["small"]
DIALS = {"overlap": 0.3, "paraphrase": 0.5}
FULL, CONTROL = "full", "reversed"  # the control learns the same answers in another order
# The models that are trained, and the forms replaced for each: every one at another place of an answer, since what is
# written at one place does not depend on the forms at the others.
MODELS = {FULL: (), CONTROL: ()} | {
    f"without_{forms[0]}": forms
    for forms in (("plan", "step", "check"), ("aim", "apply", "sure"), ("easy", "turn", "done"), ("glance",))
}
THRESHOLDS = {"alpha": 0.05, "beta": 0.1}
CAUSED = 0.5  # from this effect on, a form counts as the teacher's
MEANT = {form: name for name, forms in PARAPHRASES.items() for form in (name, *forms)}
RULES = (
    "p_teacher - p_student",
    "p_distilled - p_student",
    "both",
    *(f"{labels}, rule {rule}" for rule in LABEL_RULES for labels in ("Teacher", "Teacher or Boosted")),
)


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
    zero, run = world_folder(folder, SIZE, *ZERO, seed), folder / f"causal-seed-{seed}"
    measured(folder, *ZERO, seed, cores, SIZE)  # whose models go on here
    config = config_of(seed, DIALS, zero.resolve(), SIZE)
    rows = taught(config)
    for name, forms in MODELS.items():
        rng = random.Random(f"{seed} {name}")
        changed = [row | {"solution": replaced(row["question"], row["solution"], forms, rng)} for row in rows]
        add_distilled(config, name, run.resolve(), changed[::-1] if name == CONTROL else changed)
    plan = load_plan(copied(config))
    [trace] = plan.traces(FULL)
    answers = {name: plan.rollouts_parts("rollouts", RolloutSet(name, "test", "answer")) for name in MODELS}
    run_seed(run, config, cores, [plan.oracle_parts(trace), *answers.values()])
    rates = {name: written(run / path) for name, path in answers.items()}
    return {"sentences": joined(run, plan, trace), "rates": rates}


def replaced(question: str, text: str, forms: Iterable[str], rng: random.Random) -> str:
    """Return a response with what the student would write in place of sentences of these forms."""
    last = read_puzzle(question).swaps[-1][0]
    return "\n".join(_replaced(line, last, rng) if form_of(line) in forms else line for line in text.split("\n"))


def _replaced(sentence: str, last: str, rng: random.Random) -> str:
    form = str(form_of(sentence))
    choices = forms_at(MEANT.get(form, form), STUDENT, Dials(**DIALS))
    [own] = rng.choices(list(choices), weights=list(choices.values()))
    return EVERY_FORM[own].template.format(**{"last": last, **slots_of(sentence)})


def written(path: Path) -> Counter:
    """Return how often each form is in an answer, on average."""
    texts = open_parts(path, kinds.ROLLOUTS).read("text")["text"]
    counts = Counter(form_of(line) for text in texts for line in text.split("\n"))
    return Counter({form: count / len(texts) for form, count in counts.items() if form})


def about_form(form: str, found: list[dict]) -> dict:
    """Return the effect of a form's replacement, the labels of its sentences, and the effect of another order."""
    without = next((name for name, forms in MODELS.items() if form in forms), None)
    sentences = pl.concat([world["sentences"] for world in found]).filter(pl.col("form") == form)
    return {
        "form": form,
        "effect": mean_of([effect(world, form, without) for world in found], bounded=False),
        "other order": mean_of([effect(world, form, CONTROL) for world in found], bounded=False),
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
        caused = np.array([(effects[form] or 0.0) >= CAUSED for form in known["form"]], dtype=bool)
        areas.append(roc_auc(scores[caused], scores[~caused]))
    return {"rule": rule, "area": mean_of(areas), "areas": areas}


def scored(sentences: pl.DataFrame, rule: str) -> np.ndarray:
    """Return what a rule says of each sentence: the higher, the more it is the teacher's."""
    by_teacher, raised = (pl.col(f"p_{role}") - pl.col("p_student") for role in ("teacher", "distilled"))
    scores = {
        "p_teacher - p_student": by_teacher,
        "p_distilled - p_student": raised,
        "both": pl.min_horizontal(by_teacher, raised),
    }
    for name in LABEL_RULES:
        label = label_of(Thresholds(**THRESHOLDS, rule=name))
        scores[f"Teacher, rule {name}"] = (label == "Teacher").cast(pl.Float64)
        scores[f"Teacher or Boosted, rule {name}"] = label.is_in(["Teacher", "Boosted"]).cast(pl.Float64)
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
