"""Compare the verdicts that came with GSM8K's model solutions with those of the grader, and list the differences.

    python examples/ready-made-answers/verdicts.py [--no-pattern]

Imports the answers of all four models to all 1,319 questions, as the workflow does, and grades them; with
`--no-pattern` without the pattern of the config, which says where the answer stands.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.config import response_presets
from distrace.graders import bounded_grade
from distrace.nodes.imported_rollouts import write_imported
from distrace.questions import Cut, Questions, write_parts
from distrace.ready_made import Responses
from distrace.settings import Grader

HERE = Path(__file__).parent
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def main() -> None:
    """Print, for each model, how often both verdicts agree, and each answer on which they do not."""
    config = yaml.safe_load((HERE / "config.yaml").read_text("utf-8"))
    asked = config["questions"]["test"]
    [published] = config["sampling"]["answer"]["responses_of"].values()
    source, file = {"file": str(HERE / asked["source"]["file"])}, str(HERE / published["file"])
    grader = Grader() if "--no-pattern" in sys.argv[1:] else Grader(**asked["grader"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        [questions] = write_parts(Questions(source, answer=asked["answer"]), Cut(), folder / "questions")
        answers = dict(open_artifact(questions).read("question_id", "answer").iter_rows())
        for model in MODELS:
            columns = {"response": f"{model}.solution", "correct": f"{model}.is_correct"}
            settings = response_presets()[published["preset"]] | columns
            write_imported(model, questions, Responses(file, **settings), folder / model / "parts.arrow")
            compare(model, folder / model / "0.arrow", answers, grader)


def compare(model: str, rollouts: Path, answers: dict[str, str], grader: Grader) -> None:
    """Print how often the two verdicts agree, and the end of each answer on which they do not."""
    found = open_artifact(rollouts, kinds.ROLLOUTS).read("question_id", "text", "source_correct")
    pairs: Counter[tuple[bool, bool | None]] = Counter()
    lines = []
    for question_id, text, given in found.iter_rows():
        grade = bounded_grade(text, answers[question_id], grader)
        pairs[given, grade["correct"]] += 1
        if given != grade["correct"]:
            end = text.strip().splitlines()[-1]
            lines.append(
                f"  given {given}, here {grade['correct']}: {end[-60:]!r}, right {answers[question_id].strip()!r}"
                f" ({grade['reason']})"
            )
    agree = sum(count for (given, here), count in pairs.items() if given == here)
    print(f"{model}: {agree:,} of {len(found):,} agree; right by both {pairs[True, True]:,}", *lines, sep="\n")


if __name__ == "__main__":
    main()
