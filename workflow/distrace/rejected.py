"""List the rows that were set aside: from which artifact, why, how many, and the first of each reason.

snakemake --cores 1 rejects                               # of the results in this folder
python -m distrace.rejected --results my-project/results  # of any; with --all each row
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.pages.texts import counted

_SUFFIX = ".rejects.arrow"
_LINE = re.compile(r"^line \d+: ")
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
_SHOWN = 200  # characters of a reason
_EACH, _TOGETHER = "    {source}, {place}: {reason}", "    {number:,} times: {reason} (the first: {source}, {place})"


def rejected_lines(results: Path, every: bool = False) -> Iterator[str]:
    """Yield what was rejected below a folder of results, artifact by artifact, and how many rows that are in all.

    Reasons that differ only in numbers and quoted text are counted together, unless `every` row is asked for. Raises
    DistraceError if the folder is not there or a file of rejects is broken.
    """
    if not results.is_dir():
        raise DistraceError(f"{results}: no such folder; run the workflow first, or name its results")
    total = 0
    # Results kept for later jobs are hidden.
    for path in sorted(path for path in results.rglob(f"*{_SUFFIX}") if not _is_hidden(path.relative_to(results))):
        rows = open_artifact(path, kinds.REJECTS).read("source", "row", "reason").rows()
        total += len(rows)
        if rows:
            yield f"{path.with_name(path.name.removesuffix(_SUFFIX))}: {counted(len(rows), 'row')} rejected"
            yield from _of_artifact(rows, every)
    yield f"{counted(total, 'row')} rejected in all" if total else "no row was rejected"


def _of_artifact(rows: list[tuple[str, int, str]], every: bool) -> Iterator[str]:
    groups: dict[object, list[tuple[str, int, str]]] = {}
    for number, one in enumerate(rows):
        groups.setdefault(number if every else _PARTICULAR.sub("_", _LINE.sub("", one[2])), []).append(one)
    for found in sorted(groups.values(), key=len, reverse=True):
        source, row, reason = found[0]
        line = _LINE.match(reason)
        told = {
            "number": len(found),
            "source": _plain(source),
            "place": line[0].removesuffix(": ") if line else f"row {row}",
            "reason": _plain(_LINE.sub("", reason)),
        }
        yield (_EACH if every or len(found) == 1 else _TOGETHER).format(**told)


def _plain(text: str) -> str:
    """Return a text in one line, without what could steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[:_SHOWN]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--all", action="store_true", help="each row")
    options = parser.parse_args()
    try:
        for line in rejected_lines(options.results, options.all):
            print(line)
    except DistraceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()
