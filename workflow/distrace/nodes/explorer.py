"""The explorer node: one page in which all responses and sentences of all runs can be read, sorted and searched.

Run by the workflow as `python -m distrace.nodes.explorer --config JSON --out results/report/explorer.html`, in the
folder that holds `results/`; what the page shows is in `pages/explorer/`.
"""

from pathlib import Path
from typing import Any

from distrace import command
from distrace.pages.explorer import write_explorer
from distrace.plan import load_plan


def write_page(config: dict[str, Any], out: Path) -> None:
    """Write the explorer of all runs of a config; data too large for one page go to a folder beside it."""
    write_explorer(load_plan(config), out)


if __name__ == "__main__":
    command.run(write_page)
