"""What a run says at its start and end, as its user sees it."""

import re
import subprocess

import yaml

from snakemake_runs import command, new_folder
from tiny import write_author


def run(folder, *options):
    found = subprocess.run(command(folder, *options), capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def test_a_dry_run_says_in_a_few_lines_what_will_run_and_all_jobs_on_request(tmp_path, config):
    folder = new_folder(tmp_path / "new", config)
    _, short = run(folder, "--dry-run")
    assert re.search(r"^to train: 4 models \(.*main\.teacher\.random\.0", short, re.M)
    assert re.search(r"^to write: \d+ responses, at most [\d,]+ tokens, by main\.teacher\.random\.0, ", short, re.M)
    assert re.search(r"^to score: \d+ responses, at most [\d,]+ tokens, by ", short, re.M)
    assert re.search(r"^that is at most about \S+ \S+ on CPUs, .* of disk \(docs/disk\.md\)$", short, re.M)
    assert "    output: " not in short
    assert max(map(len, short.splitlines())) < 250
    _, whole = run(folder, "--dry-run", "--printshellcmds")
    assert "    output: results/" in whole
    assert "python -m distrace.nodes." in whole


def broken(folder, *changes):
    write_author(folder / "small").unlink()
    for change in changes:
        change(folder / "small")
    config = {
        "questions": {"test": {"source": {"world": {"split": "test", "count": 2}}}},
        "models": {
            name: {"source": {"folder": "small"}, "format": form, "gpus": gpus}
            for name, form, gpus in (("a", "plain", 1), ("b", "chat", None))
        },
        "sampling": {"answer": {"max_tokens": 4}},
        "runs": {
            "main": {
                "teachers": ["a"],
                "student": "b",
                "distilled": "a",
                "test": {"questions": ["test"], "sampling": "answer"},
            }
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_model_that_cannot_be_prompted_stops_the_run_before_another_writes_and_in_one_line(tmp_path):
    broken(tmp_path)
    code, said = run(tmp_path)
    assert code != 0
    [line] = {line.strip() for line in said.splitlines() if "error:" in line}
    assert line.startswith("error: model 'b': format 'chat': the model's tokenizer has no chat template; use ")
    assert "Traceback" not in said
    assert "python -m" not in said
    assert not (tmp_path / "results/rollouts").exists()


def test_weights_that_are_cut_short_stop_the_plan(tmp_path):
    broken(tmp_path, lambda folder: (folder / "model.safetensors").write_bytes(b"\x08"))
    code, said = run(tmp_path, "--dry-run")
    assert code != 0
    assert "models.a: small/model.safetensors is cut short: 1 bytes; copy or fetch it again" in said
    assert "Traceback" not in said


def test_missing_gpus_and_one_model_under_two_names_are_said_before_and_after(tmp_path):
    broken(tmp_path)
    text = (tmp_path / "config.yaml").read_text().replace("chat", "plain")
    (tmp_path / "config.yaml").write_text(text)
    code, said = run(tmp_path, "results/rollouts/a/test/answer/0.arrow")
    assert code == 0, said[-3000:]
    notes = [line for line in said.splitlines() if line.startswith("note: ")]
    assert len(notes) == 4
    assert notes[:2] == notes[2:]
    assert notes[0] == "note: no GPU is found on this machine: a, with `gpus` in the config, will run on the CPU"
    jobs = re.findall(r"^\d\d:\d\d:\d\d (\w+) .*$", said, re.M)
    assert {"model", "rollouts"} <= set(jobs)
    assert "wildcards:" not in said
