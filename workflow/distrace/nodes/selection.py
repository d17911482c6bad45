"""The selection node: one candidate response for each question, by one strategy.

Run by the workflow as `python -m distrace.nodes.selection --ranking FILE --strategy grape --out FILE`; the strategies
are in `measures/strategies.py`.
"""

from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import open_artifact, rejects_path, write
from distrace.errors import DistraceError
from distrace.measures.strategies import select
from distrace.versions import NODE_VERSIONS


def write_selection(ranking: Path, strategy: str, out: Path) -> None:
    """Write the selected candidate of each question; raise DistraceError if there are no candidates."""
    ranked = open_artifact(ranking, kinds.RANKING)
    if not ranked.rows:
        raise DistraceError(f"{ranking}: no candidate is left to select from; {rejects_path(ranking)} says why")
    identity = {
        "version": NODE_VERSIONS["selection"],
        "ranking": ranked.fingerprint,
        "strategy": strategy,
    }
    write(out, kinds.SELECTION, select(ranked.read(), strategy), identity)


if __name__ == "__main__":
    command.run(write_selection)
