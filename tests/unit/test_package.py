"""The package as users install it: a wheel, in an environment that knows nothing of this repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "workflow/distrace")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

SCRIPT = """
import sys

import distrace
from distrace.plan import load_plan

assert distrace.__file__.startswith(sys.prefix), distrace.__file__
plan = load_plan({
    "questions": {"test": {"source": {"file": "test.jsonl"}}},
    "models": {name: {"source": {"folder": name}} for name in ("teacher", "student", "ready")},
    "sampling": {"answer": {}},
    "runs": {
        "main": {
            "teachers": ["teacher"],
            "student": "student",
            "distilled": "ready",
            "test": {"questions": ["test"], "sampling": "answer"},
        }
    },
})
print(plan.report_inputs()[0])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy, so that the build leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        source, copy = ROOT / name, folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run(list(map(str, command)), check=True, env=without_paths())
    [found] = folder.glob("*.whl")
    return found


def without_paths() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def test_the_wheel_holds_every_module_and_file_of_the_package(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"distrace/config.schema.yaml", "distrace/pages/report.html", "distrace/py.typed"} <= held
    files = [path for path in (ROOT / "workflow/distrace").rglob("*.*") if "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT / "workflow").as_posix() for path in files} <= held
    assert not [name for name in held if name.startswith(("tests/", "rules/", "benchmarks/"))]


def test_an_installed_wheel_runs_without_the_repository(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    [site] = (tmp_path / "venv/lib").glob("python*/site-packages")
    command = [*PIP, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, env=without_paths())
    # Dependencies are found where they are. Files .pth in there are not read, so an editable install is not seen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = {"cwd": elsewhere, "env": without_paths(), "text": True, "capture_output": True, "check": False}
    found = subprocess.run([str(python), "-c", SCRIPT], **options)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "results/questions/test/parts.arrow\n"
    assert list(elsewhere.iterdir()) == []
