"""The parts node: the list of all parts of an artifact, with the fingerprint, the rows and the rejects of each.

Nodes that read all parts are given this list, so that no command grows with the number of parts, and nothing that
reads the list runs again while the parts stay the same.
Run by the workflow as `python -m distrace.nodes.parts --folder results/grades/AUTHOR/QUESTIONS/SAMPLING --count 5000
--out FILE`.
"""

from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import Artifact, open_artifact, part_names, reasons_of, write
from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest
from distrace.sources import source_digest


def write_parts(folder: Path, count: int, out: Path) -> None:
    """Write the list of the `count` parts in a folder; raise DistraceError if they are of different kinds."""
    parts = [open_artifact(folder / f"{name}.arrow") for name in part_names(count)]
    if len({part.kind for part in parts}) != 1:
        raise DistraceError(f"{folder}: its parts are of kinds {sorted({part.kind for part in parts})}; expected one")
    identity = {
        "version": source_digest("nodes.parts"),
        "of": parts[0].kind,
        "parts": digest([part.fingerprint for part in parts]),
    }
    write(out, kinds.PARTS, map(_row, parts), identity)


def _row(part: Artifact) -> dict[str, str | int]:
    """Return the row of a part; its rejects are counted by reason."""
    return {
        "part": part.path.stem,
        "fingerprint": part.fingerprint,
        "rows": part.rows,
        "rejects": canonical_json(reasons_of(part.path)),
    }


if __name__ == "__main__":
    command.run(write_parts)
