"""The parts node: the list of all parts of an artifact that jobs of their own wrote.

Of a part, the workflow gives its rejects, which carry the fingerprint of the part: so Snakemake looks into these few
bytes for a change, and not into the part. Lists of some parts make the list of all.
Run by the workflow as `python -m distrace.nodes.parts --parts FILE FILE ... --out FILE`.
"""

from pathlib import Path

from distrace import command
from distrace.errors import DistraceError
from distrace.parts import write_list

REJECTS = ".rejects.arrow"


def write_parts(parts: list[Path], out: Path) -> None:
    """Write the list of the parts to whose rejects the paths lead, or of those that the lists at the paths name.

    Raises DistraceError if a part is missing, or if they are of different kinds.
    """
    write_list([_part(path) for path in parts], out)


def _part(path: Path) -> Path:
    if not path.name.endswith(REJECTS):
        return path
    part = path.with_name(path.name.removesuffix(REJECTS) + ".arrow")
    if not part.is_file():
        raise DistraceError(f"{part}: no such file, but its rejects are there; delete {path} and run again")
    return part


if __name__ == "__main__":
    command.run(write_parts)
