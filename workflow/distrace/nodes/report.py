"""The report node: one self-contained page, its numbers as JSON, and its figures as SVG with their data as CSV.

Run by the workflow as `python -m distrace.nodes.report --config JSON --out-folder results/report`, in the folder that
holds `results/`; what the page shows is in `pages/`.
"""

import json
from pathlib import Path
from typing import Any

from distrace import command
from distrace.artifacts import write_text
from distrace.pages.figure_files import FOLDER, report_figures, write_figures
from distrace.pages.numbers import numbers_of
from distrace.pages.report import report_page
from distrace.plan import load_plan


def write_report(config: dict[str, Any], out_folder: Path) -> None:
    """Write `index.html`, `numbers.json` and the folder `figures` for all runs of a config."""
    plan = load_plan(config)
    numbers = numbers_of(plan)
    figures = report_figures(numbers)
    write_figures(figures, out_folder / FOLDER)
    write_text(out_folder / "index.html", report_page(plan, numbers, figures))
    write_text(out_folder / "numbers.json", json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    command.run(write_report)
