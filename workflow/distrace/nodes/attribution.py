"""The attribution node: from which of several teachers did a distilled model learn?

Run by the workflow as `python -m distrace.nodes.attribution --teachers JSON --beta B --distilled-rollouts PARTS
--distilled-sentences PARTS --distilled-logprobs PARTS... --student-rollouts PARTS (and so on) --out FILE`. With
reference students, models that are known to have learned from the teachers, also `--references JSON
--reference-rollouts PARTS... (and so on)`.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import write_with_rejects
from distrace.measures.leans import lean
from distrace.measures.probabilities import with_probability
from distrace.parts import Parts, fingerprints, open_parts
from distrace.rejects import set_aside
from distrace.sources import source_digest


@dataclass(frozen=True)
class Answers:
    """The parts of an author's answers; `logprobs` holds those under each teacher, in the order of the teachers.

    `name` tells reference students apart; it is the role of the others.
    """

    role: str
    name: str
    rollouts: Parts
    sentences: Parts
    logprobs: list[Parts]


def write_attribution(
    teachers: list[str],
    beta: float,
    distilled_rollouts: Path,
    distilled_sentences: Path,
    distilled_logprobs: list[Path],
    student_rollouts: Path,
    student_sentences: Path,
    student_logprobs: list[Path],
    out: Path,
    references: list[str] | None = None,
    reference_rollouts: list[Path] | None = None,
    reference_sentences: list[Path] | None = None,
    reference_logprobs: list[Path] | None = None,
) -> None:
    """Write the lean between each two teachers of each response of the distilled model, the student and the references.

    Each path is the list of the parts; of log-probs, there is one for each teacher, in order (of references, for each
    teacher of the first, then of the second, and so on). A response in which no sentence has a probability under both
    teachers is rejected.
    """
    scored = reference_logprobs or []
    of_each = [scored[n : n + len(teachers)] for n in range(0, len(scored), len(teachers))]
    named = zip(references or [], reference_rollouts or [], reference_sentences or [], of_each, strict=True)
    sides = [
        _opened("distilled", "distilled", distilled_rollouts, distilled_sentences, distilled_logprobs),
        _opened("student", "student", student_rollouts, student_sentences, student_logprobs),
        *(_opened("reference", *paths) for paths in named),
    ]
    table = pl.concat([_leans(side, teachers, beta) for side in sides]).with_row_index("row")
    reason = pl.format("no sentence has a probability under both {} and {}", "teacher", "other")
    unknown = pl.when(pl.col("lean").is_null()).then(reason)
    known, rejects = set_aside(table, unknown, "rollout_id", "row")
    identity = {
        "version": source_digest("nodes.attribution"),
        "teachers": teachers,
        "beta": beta,
        "answers": [
            [side.role, side.name, fingerprints([side.rollouts, side.sentences, *side.logprobs])] for side in sides
        ],
    }
    write_with_rejects(out, kinds.ATTRIBUTION, known.drop("row"), rejects, identity, len(table))


def _opened(role: str, name: str, rollouts: Path, sentences: Path, logprobs: list[Path]) -> Answers:
    return Answers(
        role,
        name,
        open_parts(rollouts, kinds.ROLLOUTS),
        open_parts(sentences, kinds.SENTENCES),
        [open_parts(path, kinds.LOGPROBS) for path in logprobs],
    )


def _leans(answers: Answers, teachers: list[str], beta: float) -> pl.DataFrame:
    """Return the leans of all responses of one author, part by part."""
    frames: list[pl.DataFrame] = []
    for written, cut, *scored in zip(answers.rollouts, answers.sentences, *answers.logprobs, strict=True):
        cut.require_made_from(written)
        table = cut.read()
        for teacher, logprobs in zip(teachers, scored, strict=True):
            logprobs.require_made_from(written)
            table = with_probability(table, logprobs.read("rollout_id", "starts", "ends", "logprobs"), teacher)
        responses = written.read("rollout_id", "question_id")
        for teacher, other in combinations(teachers, 2):
            leans = lean(table, teacher, other, beta)
            found = responses.join(leans, on="rollout_id", how="left", maintain_order="left")
            about = {"role": answers.role, "author": answers.name, "teacher": teacher, "other": other}
            frames.append(found.with_columns(**{name: pl.lit(value) for name, value in about.items()}))
    return pl.concat(frames)


if __name__ == "__main__":
    command.run(write_attribution)
