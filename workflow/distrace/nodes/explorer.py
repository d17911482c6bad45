"""The explorer node: one page in which all responses and sentences of all runs can be read, sorted and searched.

Run by the workflow as `python -m distrace.nodes.explorer --config JSON --out-folder results/report`, in the folder that
holds `results/`; what the page shows is in `pages/explorer/`.
"""

from pathlib import Path
from typing import Any

from distrace import command
from distrace.pages.explorer import write_page
from distrace.plan import load_plan


def write_explorer(config: dict[str, Any], out_folder: Path) -> None:
    """Write `explorer.html` for all runs of a config; data too large for one page go to the folder `explorer`."""
    write_page(load_plan(config), out_folder / "explorer.html")


if __name__ == "__main__":
    command.run(write_explorer)
