"""Models behind a server and models of vLLM, in the workflow."""

import re

import pytest
import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from fake_server import running, save_tokenizer
from snakemake_runs import new_folder, snakemake
from tiny import tiny_model, tiny_tokenizer

KEY = "sk-secret-123"
LOGPROBS = "results/logprobs/teacher/full/teacher/test/answer/0.arrow"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder with a config of a teacher behind a server, and the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with running() as fake:
        at = {"url": fake.url, "model": "tiny", "api_key_variable": "TEACHER_KEY"}
        config = {
            "questions": {"test": {"source": {"world": {"split": "test", "count": 3, "swaps": [1, 1]}}}},
            "models": {
                "teacher": {"source": {"folder": "tokenizer"}, "engine": "server", "server": at, "format": "plain"},
                "student": {"source": {"folder": "student"}, "engine": "vllm"},
            },
            "sampling": {"answer": {"max_tokens": 20}},
            "runs": {
                "main": {
                    "teachers": ["teacher"],
                    "student": "student",
                    "distilled": "student",
                    "test": {"questions": ["test"], "sampling": "answer"},
                }
            },
        }
        folder = new_folder(tmp_path / "served", config)
        save_tokenizer(folder / "tokenizer")
        yield folder, fake


def change(folder, edit) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config["models"]["teacher"]["server"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_served_teacher_answers_and_scores_and_its_key_is_written_nowhere(served):
    folder, fake = served
    printed = snakemake(folder, LOGPROBS)
    rows = open_artifact(folder / LOGPROBS, kinds.LOGPROBS).read()
    answers = open_artifact(folder / LOGPROBS.replace("logprobs/teacher/full", "rollouts"), kinds.ROLLOUTS).read()
    assert len(rows) == len(answers) == 3
    assert answers["logprobs"].explode().to_list() == pytest.approx(rows["logprobs"].explode().to_list(), abs=1e-3)
    assert {headers["Authorization"] for headers in fake.headers} == {f"Bearer {KEY}"}
    assert KEY not in printed
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []

    change(folder, lambda server: server.update(url="http://elsewhere:8000/v1", concurrency=3, timeout=60, retries=1))
    assert "Nothing to be done" in snakemake(folder, "--dry-run", LOGPROBS)
    change(folder, lambda server: server.update(model="other"))
    assert "rule logprobs" in snakemake(folder, "--dry-run", LOGPROBS)


def test_jobs_of_vllm_models_run_in_the_python_that_the_environment_names(served, monkeypatch):
    folder, _ = served
    for part in (tiny_tokenizer(), tiny_model()):
        part.save_pretrained(folder / "student")

    def pythons() -> set[tuple[str, str]]:
        printed = snakemake(folder, "--dry-run")
        return set(
            re.findall(r"(\S*python) -m distrace\.nodes\.(?:logprobs|rollouts) --model results/models/(\w+)/", printed)
        )

    monkeypatch.setenv("DISTRACE_VLLM_PYTHON", "/opt/vllm/bin/python")
    assert pythons() == {("python", "teacher"), ("/opt/vllm/bin/python", "student")}
    monkeypatch.delenv("DISTRACE_VLLM_PYTHON")
    assert pythons() == {("python", "teacher"), ("python", "student")}
