"""The questions node: a set of questions, from a file, a hub data set or the world, in parts.

Run by the workflow as `python -m distrace.nodes.questions --settings JSON --cut JSON --out PARTS`. A part whose
questions are as before stays as it is; a rollouts job may have written it already.
"""

from pathlib import Path

from distrace import command
from distrace.parts import write_list
from distrace.questions import Cut, Questions, write_parts


def write_questions(settings: Questions, cut: Cut, out: Path) -> None:
    """Write the parts of a set beside `out`, and their list.

    Raises DistraceError if the source has no row, or none that can be used.
    """
    write_list(write_parts(settings, cut, out.parent), out)


if __name__ == "__main__":
    command.run(write_questions)
