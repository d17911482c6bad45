"""The provenance node: where did each sentence of a distilled model's response come from?

Run by the workflow as `python -m distrace.nodes.provenance --rollouts PARTS --sentences PARTS --teacher PARTS
--student PARTS --distilled PARTS --thresholds JSON --out PARTS`; the label rules are in `measures/labels.py`.
"""

from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write_with_rejects
from distrace.measures.labels import ROLES, Thresholds, label_of
from distrace.measures.probabilities import why_unknown, with_probability
from distrace.rejects import set_aside
from distrace.settings import as_identity
from distrace.sources import source_digest


def write_provenance(
    rollouts: Path,
    sentences: Path,
    teacher: Path,
    student: Path,
    distilled: Path,
    thresholds: Thresholds,
    out: Path,
) -> None:
    """Write the labelled sentences of a part; `teacher`, `student` and `distilled` are its log-probs under each.

    A sentence that has no probability under one of them is rejected.
    """
    written = open_artifact(rollouts, kinds.ROLLOUTS)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    scored = {
        role: open_artifact(path, kinds.LOGPROBS, made_from=written)
        for role, path in zip(ROLES, (teacher, student, distilled), strict=True)
    }
    identity = {
        "version": source_digest("nodes.provenance"),
        "rollouts": written.fingerprint,
        "sentences": cut.fingerprint,
        "logprobs": {role: logprobs.fingerprint for role, logprobs in scored.items()},
        "thresholds": as_identity(thresholds),
    }
    if is_written(out, kinds.PROVENANCE, identity, with_rejects=True):
        return
    table = cut.read()
    for role, logprobs in scored.items():
        table = with_probability(table, logprobs.read("rollout_id", "starts", "ends", "logprobs"), role)
    known, rejects = set_aside(table, why_unknown(ROLES), "rollout_id", "sentence")
    labelled = known.with_columns(label_of(thresholds).alias("label"))
    write_with_rejects(out, kinds.PROVENANCE, labelled, rejects, identity, cut.rows)


if __name__ == "__main__":
    command.run_each_part(write_provenance)
