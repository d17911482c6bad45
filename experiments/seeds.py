"""Run the workflow once for every seed: what the experiments share."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml

from distrace.plan import Plan, load_plan

ROOT = Path(__file__).parents[1]


def run_seed(folder: Path, config: dict, cores: str, targets: Sequence[str] = ()) -> Plan:
    """Run the workflow of a config in its own folder, unless it is finished there; return its plan.

    `targets` are paths of the artifacts that are needed; all, if there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    options = ["--cores", cores, "--directory", str(folder.resolve()), "--quiet", "all"]
    subprocess.run([sys.executable, "-m", "snakemake", *targets, *options], cwd=ROOT, check=True)
    return load_plan(config)


def print_results(rows: list[dict], table: list[dict] | None = None, **about: object) -> None:
    """Print the rows, or a shorter `table` of them, then the rows and `about` as one JSON line."""
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
        print(pl.DataFrame(table or rows))
    print(json.dumps({**about, "results": rows}))
