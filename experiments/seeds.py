"""Run the workflow once for every seed: what the experiments share."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
import yaml

from distrace.plan import Plan, load_plan
from distrace.world import Dials, turned

ROOT = Path(__file__).parents[1]
BASES = ("teacher", "student")  # in the order of their corpora
# Where a dial changes a corpus, its model goes on from that of the seed with all dials at zero: it can copy already.
ADAPT = {
    "max_steps": 400,
    "batch_size": 16,
    "micro_batch_size": 16,
    "learning_rate": 3.0e-3,
    "warmup": 0.05,
    "max_length": 256,
}


def run_seed(folder: Path, config: dict, cores: str, targets: Sequence[str] = ()) -> Plan:
    """Run the workflow of a config in its own folder, unless it is finished there; return its plan.

    `targets` are paths of the artifacts that are needed; all, if there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    options = ["--cores", cores, "--directory", str(folder.resolve()), "--quiet", "all"]
    subprocess.run([sys.executable, "-m", "snakemake", *targets, *options], cwd=ROOT, check=True)
    return load_plan(config)


def turn(config: dict, dials: Mapping[str, float], zero: Path) -> None:
    """Turn dials of the default run's world, in place.

    A model whose corpus they change goes on from that of the same seed with all dials at zero, in folder `zero`.
    """
    config["training"]["adapt"] = ADAPT
    for sampling in config["sampling"].values():
        sampling["max_tokens"] = 200  # fillers make answers longer
    for style in BASES:
        config["questions"][f"{style}_corpus"]["source"]["world"] |= dials
        if turned(style, Dials(**dials)):
            weights = zero / "results" / "models" / style / "weights"
            config["models"][f"{style}_untrained"]["source"] = {"folder": str(weights)}
            config["models"][style]["source"]["finetune"]["training"] = "adapt"


def write_rows(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as JSON Lines, unless they are there: what is made from a newer file is made again."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if not file.is_file() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")


def print_results(rows: list[dict], table: list[dict] | None = None, **about: object) -> None:
    """Print the rows, or a shorter `table` of them, then the rows and `about` as one JSON line."""
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
        print(pl.DataFrame(table or rows))
    print(json.dumps({**about, "results": rows}))
