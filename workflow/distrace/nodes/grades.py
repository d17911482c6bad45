"""The grades node: is each response right?

What takes too long to compare gets no verdict, with the reason (`graders.py`).

Run by the workflow as `python -m distrace.nodes.grades --rollouts PARTS --questions PARTS --grader JSON --out PARTS`.
"""

from dataclasses import asdict
from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write
from distrace.graders import bounded_grade
from distrace.settings import Grader
from distrace.sources import source_digest


def write_grades(rollouts: Path, questions: Path, grader: Grader, out: Path) -> None:
    """Write a grade for each response of a part; only the answer, from `answer_start` on, is graded."""
    asked = open_artifact(questions, kinds.QUESTIONS)
    written = open_artifact(rollouts, kinds.ROLLOUTS, made_from=asked)
    identity = {
        "version": source_digest("nodes.grades"),
        "rollouts": written.fingerprint,
        "grader": asdict(grader),
    }
    if is_written(out, kinds.GRADES, identity):
        return
    answers = dict(asked.read("question_id", "answer").iter_rows())
    rows = []
    for rollout_id, question_id, text, answer_start in written.read(
        "rollout_id", "question_id", "text", "answer_start"
    ).iter_rows():
        found = bounded_grade(text[answer_start:], answers[question_id], grader)
        rows.append({"rollout_id": rollout_id, "question_id": question_id} | found)
    write(out, kinds.GRADES, rows, identity)


if __name__ == "__main__":
    command.run_each_part(write_grades)
