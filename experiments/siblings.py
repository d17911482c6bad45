"""Measure how often "which teacher was it?" is wrong among siblings and after rewriting, and how often it is right.

    python experiments/siblings.py --folder FOLDER [--seeds 0 1 2 3] [--questions 50]

docs/experiments.md says what the cases are and how to read the table.
"""

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from seeds import print_results
from sibling_world import REWRITTEN, STUDENTS, TEACHERS, Size, answers_path, make_world, pupils

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.leans import MARGIN, attributed_to, lean, not_excluded
from distrace.measures.losses import LEAST_FALL, mean_losses
from distrace.measures.probabilities import with_probability
from distrace.measures.references import reference_p_values
from distrace.measures.statistics import holm, p_value_beyond, share

BETA = 0.1
NOMINAL = 0.05
PAIRS = list(combinations(TEACHERS, 2))


@dataclass(frozen=True)
class World:
    """What the tests see of a world, one number for each test question, in one order.

    `leans` by author and two teachers, `nearness` (mean probability of the sentences) by author and teacher, `losses`
    by author and the teacher whose answers it scored. Authors are the student, its pupils and, of leans, the teachers.
    """

    leans: dict[tuple[str, str, str], np.ndarray]
    nearness: dict[tuple[str, str], np.ndarray]
    losses: dict[tuple[str, str], np.ndarray]


def read_world(folder: Path) -> World:
    """Return the numbers of a finished world."""
    asked = open_artifact(folder / "questions" / "test" / "0.arrow").read("question_id")
    world = World({}, {}, {})
    names = [f"{origin}.{number}" for origin, number in pupils()]
    for author in (*TEACHERS, "student", *names):
        written = open_artifact(answers_path(folder, "rollouts", author), kinds.ROLLOUTS).read()
        table = open_artifact(answers_path(folder, "sentences", author), kinds.SENTENCES).read()
        for teacher in TEACHERS:
            path = answers_path(folder, "logprobs", author, teacher)
            if path.is_file():
                table = with_probability(table, open_artifact(path, kinds.LOGPROBS).read(), teacher)
        for one, other in PAIRS:
            if not {f"p_{one}", f"p_{other}"} <= set(table.columns):
                continue
            found = _by_question(asked, written, lean(table, one, other, BETA))
            world.leans[author, one, other] = found["lean"].to_numpy()
            world.nearness[author, one] = found["p_teacher"].to_numpy()
            world.nearness[author, other] = found["p_other"].to_numpy()
    for author in ("student", *names):
        for teacher in TEACHERS:
            written = open_artifact(answers_path(folder, "rollouts", teacher), kinds.ROLLOUTS).read()
            path = answers_path(folder, "logprobs", teacher, author)
            if path.is_file():
                scored = open_artifact(path, kinds.LOGPROBS).read("rollout_id", "logprobs")
                losses = _by_question(asked, written, mean_losses(scored, "found"))
                world.losses[author, teacher] = losses["loss_found"].to_numpy()
    return world


def _by_question(asked: pl.DataFrame, written: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    table = written.select("question_id", "rollout_id").join(found, on="rollout_id", how="left")
    return asked.join(table, on="question_id", how="left", maintain_order="left")


@dataclass(frozen=True)
class Scenario:
    """Which teachers are candidates, and which students are asked about; a student's origin is its true teacher."""

    candidates: tuple[str, ...]
    origins: tuple[str, ...]


SCENARIOS = {
    "unrelated": Scenario(("first", "other"), ("first", "other")),
    "trained on": Scenario(("first", "first_on"), ("first", "first_on")),
    "trained again": Scenario(("first", "first_again"), ("first", "first_again")),
    "all four": Scenario(TEACHERS, TEACHERS),
    "sibling absent": Scenario(("first", "other"), ("first_on", "first_again")),
    "rewritten as student": Scenario(("first", "other"), ("rewritten_as_student",)),
    "rewritten as other": Scenario(("first", "other"), ("rewritten_as_other",)),
    "of the student itself": Scenario(("first", "other"), ("student",)),
}
TRUE_TEACHER = dict.fromkeys(REWRITTEN, "first")  # of all others, it is the origin itself


@dataclass(frozen=True)
class Case:
    """Some test questions of a world, answered by one student; the candidates, and the others of its number apart."""

    world: World
    origin: str
    number: int
    candidates: tuple[str, ...]
    questions: np.ndarray

    @property
    def suspect(self) -> str:
        """The student that is asked about."""
        return f"{self.origin}.{self.number}"

    @property
    def truth(self) -> str | None:
        """The true teacher, None if it is not a candidate."""
        teacher = TRUE_TEACHER.get(self.origin, self.origin)
        return teacher if teacher in self.candidates else None

    def moved(self, one: str, other: str) -> np.ndarray:
        """Return how far the lean moved from the student's, by question."""
        return self._differences(self.world.leans, one, other)

    def nearer(self, teacher: str) -> np.ndarray:
        """Return how much likelier sentences became under a teacher, by question."""
        return self._differences(self.world.nearness, teacher)

    def fell(self, teacher: str) -> np.ndarray:
        """Return how far the loss on a teacher's own answers fell, by question."""
        return -self._differences(self.world.losses, teacher)

    def _differences(self, values: dict, *key: str) -> np.ndarray:
        found = (values[self.suspect, *key] - values["student", *key])[self.questions]
        return found[~np.isnan(found)]


def by_leans(case: Case) -> list[str]:
    """Return the teachers that leans alone do not exclude."""
    pairs = tested(combinations(case.candidates, 2), case.moved, MARGIN)
    return not_excluded(pairs, tested(((name,) for name in case.candidates), case.nearer, MARGIN))


def by_one_name(case: Case) -> list[str]:
    """Return the one teacher that the test names, as it did before there were sets; all where it names none."""
    named = attributed_to(tested(combinations(case.candidates, 2), case.moved, MARGIN), list(case.candidates))
    return [named] if named else list(case.candidates)


def by_distilldetect(case: Case) -> list[str]:
    """Return the teachers that the losses on their own answers do not exclude."""
    pairs = tested(combinations(case.candidates, 2), lambda one, other: case.fell(one) - case.fell(other), 0.0)
    return not_excluded(pairs, tested(((name,) for name in case.candidates), case.fell, LEAST_FALL))


def by_references(case: Case) -> list[str]:
    """Return the teachers that neither leans alone nor, by their leans, their other students exclude."""

    def mean_lean(author: str, one: str, other: str) -> float:
        return float(np.nanmean(case.world.leans[author, one, other][case.questions]))

    return beside_others(case, by_leans(case), mean_lean)


def by_losses_of_references(case: Case) -> list[str]:
    """Return the teachers that neither DistillDetect alone nor, by their losses, their other students exclude."""

    def mean_fall(author: str, one: str, other: str) -> float:
        losses = case.world.losses
        return float(np.nanmean((losses[author, other] - losses[author, one])[case.questions]))

    return beside_others(case, by_distilldetect(case), mean_fall)


def beside_others(case: Case, left: list[str], value: Callable[[str, str, str], float]) -> list[str]:
    """Return those of the teachers `left` whose students of other numbers do not exclude them, too."""
    others = [n for n in range(STUDENTS) if n != case.number]
    pairs = list(combinations(case.candidates, 2))
    moved = {pair: value(case.suspect, *pair) for pair in pairs}
    students = {
        pair: {teacher: [value(f"{teacher}.{n}", *pair) for n in others] for teacher in case.candidates}
        for pair in pairs
    }
    p_values = reference_p_values(moved, students, case.candidates)
    return [teacher for teacher in left if p_values[teacher] >= NOMINAL]


TESTS = {
    "one name": by_one_name,
    "leans": by_leans,
    "references": by_references,
    "distilldetect": by_distilldetect,
    "distilldetect, references": by_losses_of_references,
}


def tested(names: Iterable[tuple[str, ...]], differences: Callable[..., np.ndarray], margin: float) -> list[dict]:
    """Return, for each teacher or pair, the mean difference and its p-value, adjusted by Holm's method."""
    found = []
    for key in names:
        values = differences(*key)
        about = dict(zip(("teacher", "other"), key, strict=False))
        found.append(about | {"difference": {"mean": values.mean()}, "p_value": p_value_beyond(values, margin)})
    for one, p_adjusted in zip(found, holm([one["p_value"] for one in found]), strict=True):
        one["p_adjusted"] = p_adjusted
    return found


def cases(world: World, scenario: Scenario, size: int) -> Iterator[Case]:
    """Yield the cases of a world: of each student as many as there are whole sets of `size` questions, none in two."""
    asked = len(world.nearness["student", TEACHERS[0]])
    for origin, number in pupils():
        if origin in scenario.origins:
            for first in range(0, asked - size + 1, size):
                yield Case(world, origin, number, scenario.candidates, np.arange(first, first + size))


def measured(worlds: dict[int, World], name: str, test: str, size: int) -> dict:
    """Return how often a test is wrong in the cases of a scenario, and how often it finds the teacher.

    Cases of one student are alike, so the intervals are over students.
    """
    verdicts = [
        {"student": f"{seed} {case.suspect}", "truth": case.truth, "answer": TESTS[test](case)}
        for seed, world in worlds.items()
        for case in cases(world, SCENARIOS[name], size)
    ]
    return {
        "scenario": name,
        "test": test,
        "questions": size,
        "cases": len(verdicts),
        "students": len({verdict["student"] for verdict in verdicts}),
        **_rate("excluded", verdicts, lambda v: v["truth"] is not None and v["truth"] not in v["answer"]),
        **_rate("wrong", verdicts, lambda v: len(v["answer"]) == 1 and v["answer"] != [v["truth"]]),
        **_rate("found", verdicts, lambda v: v["answer"] == [v["truth"]]),
        "none": float(np.mean([not verdict["answer"] for verdict in verdicts])),
        "named": float(np.mean([len(verdict["answer"]) for verdict in verdicts])),
    }


def _rate(name: str, verdicts: list[dict], hit: Callable[[dict], bool]) -> dict:
    """Return a share of the cases, with its interval over students."""
    table = pl.DataFrame({"student": [v["student"] for v in verdicts], "hit": [hit(v) for v in verdicts]})
    by_student = table.group_by("student", maintain_order=True).agg(pl.col("hit").sum(), pl.len().alias("cases"))
    found = share(by_student["hit"].to_numpy(), by_student["cases"].to_numpy())
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def main() -> None:
    """Make every world in its own folder; print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the worlds go; what is finished is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    for field in fields(Size):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    parser.add_argument("--questions", type=int, nargs="+", default=[50], help="in one case")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    size = Size(**{field.name: getattr(options, field.name) for field in fields(Size)})
    worlds = {}
    for seed in options.seeds:
        make_world(options.folder / f"seed-{seed}", seed, size)
        worlds[seed] = read_world(options.folder / f"seed-{seed}")
    rows = [measured(worlds, name, test, size) for name in SCENARIOS for test in TESTS for size in options.questions]
    print_results(rows, seeds=options.seeds, size=asdict(size), nominal=NOMINAL)


if __name__ == "__main__":
    main()
