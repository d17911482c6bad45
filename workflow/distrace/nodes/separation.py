"""The separation node: probabilities, under teacher and student, of sentences of known origin from any author.

A distilled model may no longer write sentences that only the student writes. So the separation of teacher-only from
student-only sentences is measured on the answers of teacher, student and distilled model together.
Run by the workflow as `python -m distrace.nodes.separation --sentences PARTS --truth PARTS --teacher PARTS
--student PARTS --pair JSON --out PARTS`.
"""

from dataclasses import asdict
from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write_with_rejects
from distrace.measures.probabilities import why_unknown, with_probability
from distrace.measures.validation import Pair, origin_of
from distrace.parts import fingerprints
from distrace.rejects import set_aside
from distrace.sources import source_digest

SCORERS = ("teacher", "student")


def write_separation(sentences: Path, truth: Path, teacher: Path, student: Path, pair: Pair, out: Path) -> None:
    """Write origin, `p_teacher` and `p_student` of each sentence of a part; reject those that a scorer left out."""
    cut = open_artifact(sentences, kinds.SENTENCES)
    known_origins = open_artifact(truth, kinds.TRUTH, made_from=cut)
    scored = [open_artifact(path, kinds.LOGPROBS) for path in (teacher, student)]
    identity = {
        "version": source_digest("nodes.separation"),
        "truth": known_origins.fingerprint,
        "logprobs": fingerprints(scored),
        "pair": asdict(pair),
    }
    if is_written(out, kinds.SEPARATION, identity, with_rejects=True):
        return
    origins = known_origins.read().with_columns(origin_of(pair))
    table = cut.read().join(origins, on=["rollout_id", "sentence"], how="left", maintain_order="left")
    for scorer, logprobs in zip(SCORERS, scored, strict=True):
        logprobs.require_same(kinds.ROLLOUTS, cut)
        table = with_probability(table, logprobs.read(), scorer)
    known, rejects = set_aside(table, why_unknown(SCORERS), "rollout_id", "sentence")
    write_with_rejects(out, kinds.SEPARATION, known, rejects, identity, cut.rows)


if __name__ == "__main__":
    command.run_each_part(write_separation)
