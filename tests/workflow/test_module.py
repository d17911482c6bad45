"""distrace as a module of another workflow, with a prefix and its own config, as docs/sharing.md shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distrace import kinds
from distrace.parts import open_parts
from snakemake_runs import ROOT


@pytest.fixture
def outer(tmp_path, config) -> Path:
    """A folder with the Snakefile of the docs."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sharing.md").read_text(), re.DOTALL)
    [snakefile] = [block for block in blocks if "module distrace" in block]
    (tmp_path / "Snakefile").write_text(snakefile.replace("DISTRACE", str(ROOT)))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"distrace": config}))
    return tmp_path


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    found = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-6000:]
    return found.stdout + found.stderr


def test_an_outer_rule_reads_what_the_module_writes_below_its_prefix(outer):
    run(outer, "count")
    written = outer / "provenance/results/questions/train/parts.arrow"
    assert open_parts(written, kinds.QUESTIONS).rows == 12
    assert (outer / "counted.txt").read_text().split() == [str(written.stat().st_size), str(written.relative_to(outer))]
    assert not (outer / "results").exists()
    assert not (outer / "logs").exists()


def test_every_command_of_the_module_reads_and_writes_below_the_prefix(outer):
    commands = re.findall(
        r"^Shell command: (.*distrace\.nodes\..*)", run(outer, "--dry-run", "--printshellcmds", "distrace_all"), re.M
    )
    pages = [command for command in commands if re.search(r"distrace\.nodes\.(report|explorer)", command)]
    assert len(pages) == 2
    assert all(page.startswith("(cd provenance && ") for page in pages)
    assert len(commands) > 40
    for command in set(commands) - set(pages):
        paths = re.findall(r"\S*\b(?:results|logs)/\S*", command)
        assert paths
        assert all(path.startswith("provenance/") for path in paths), command
