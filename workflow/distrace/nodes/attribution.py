"""The attribution node: from which of several teachers did a distilled model learn?

Run by the workflow as `python -m distrace.nodes.attribution --teachers JSON --beta B --distilled-rollouts FILE...
--distilled-sentences FILE... --distilled-logprobs FILE... --student-rollouts FILE... (and so on) --out FILE`.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, fingerprints, open_parts, write_with_rejects
from distrace.measures.leans import lean
from distrace.measures.probabilities import with_probability
from distrace.rejects import set_aside
from distrace.sources import source_digest


@dataclass(frozen=True)
class Answers:
    """The parts of an author's answers; `logprobs` holds all parts under the first teacher, then the second, ..."""

    role: str
    rollouts: list[Artifact]
    sentences: list[Artifact]
    logprobs: list[Artifact]


def write_attribution(
    teachers: list[str],
    beta: float,
    distilled_rollouts: list[Path],
    distilled_sentences: list[Path],
    distilled_logprobs: list[Path],
    student_rollouts: list[Path],
    student_sentences: list[Path],
    student_logprobs: list[Path],
    out: Path,
) -> None:
    """Write the lean between each two teachers of each response of the distilled model and the student.

    Lists hold the parts in order; of log-probs, all parts under the first teacher, then under the second, and so on.
    A response in which no sentence has a probability under both teachers is rejected.
    """
    sides = [
        _opened("distilled", distilled_rollouts, distilled_sentences, distilled_logprobs),
        _opened("student", student_rollouts, student_sentences, student_logprobs),
    ]
    table = pl.concat([_leans(side, teachers, beta) for side in sides]).with_row_index("row")
    reason = pl.format("no sentence has a probability under both {} and {}", "teacher", "other")
    unknown = pl.when(pl.col("lean").is_null()).then(reason)
    known, rejects = set_aside(table, unknown, "rollout_id", "row")
    identity = {
        "version": source_digest("nodes.attribution"),
        "teachers": teachers,
        "beta": beta,
        **{side.role: [fingerprints(p) for p in (side.rollouts, side.sentences, side.logprobs)] for side in sides},
    }
    write_with_rejects(out, kinds.ATTRIBUTION, known.drop("row"), rejects, identity, len(table))


def _opened(role: str, rollouts: list[Path], sentences: list[Path], logprobs: list[Path]) -> Answers:
    found = Answers(
        role,
        open_parts(rollouts, kinds.ROLLOUTS),
        open_parts(sentences, kinds.SENTENCES),
        open_parts(logprobs, kinds.LOGPROBS),
    )
    for part, written in enumerate(found.rollouts):
        for made in (found.sentences[part], *found.logprobs[part :: len(found.rollouts)]):
            made.require_made_from(written)
    return found


def _leans(answers: Answers, teachers: list[str], beta: float) -> pl.DataFrame:
    """Return the leans of all responses of one author, part by part."""
    frames = []
    for part, (written, cut) in enumerate(zip(answers.rollouts, answers.sentences, strict=True)):
        table = cut.read()
        scored = answers.logprobs[part :: len(answers.rollouts)]
        for teacher, logprobs in zip(teachers, scored, strict=True):
            table = with_probability(table, logprobs.read("rollout_id", "starts", "ends", "logprobs"), teacher)
        responses = written.read("rollout_id", "question_id")
        for teacher, other in combinations(teachers, 2):
            leans = lean(table, teacher, other, beta)
            found = responses.join(leans, on="rollout_id", how="left", maintain_order="left")
            frames.append(found.with_columns(role=pl.lit(answers.role), teacher=pl.lit(teacher), other=pl.lit(other)))
    return pl.concat(frames)


if __name__ == "__main__":
    command.run(write_attribution)
