"""What is said of a run before it starts."""

import copy
import json

import pytest

from configs import CONFIG, SERVER, config_with
from distrace.before_run import graded_questions, notes, require_whole_files
from distrace.errors import DistraceError
from distrace.plan import load_plan


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def asked(name, answers):
    with open(name, "w") as out:
        for number, answer in enumerate(answers):
            out.write(json.dumps({"question": f"{number}?", "answer": answer}) + "\n")


def test_models_whose_folders_are_not_there_are_left_to_snakemake():
    require_whole_files(load_plan(copy.deepcopy(CONFIG)))


def test_every_broken_model_is_one_line(tmp_path):
    for name in ("small", "ready"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{")
        (tmp_path / name / "tokenizer.json").write_text("{}")
    with pytest.raises(DistraceError) as found:
        require_whole_files(load_plan(config_with("models/ready", {"source": {"folder": "ready"}})))
    lines = [line.strip() for line in str(found.value).splitlines()[1:]]
    assert [line.partition(": ")[0] for line in lines] == ["models.small"] * 2 + ["models.ready"] * 2
    assert lines[0].startswith("models.small: small/config.json is not JSON")


def test_a_served_model_may_have_no_weights(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small/config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "small/tokenizer.json").write_text("{}")
    config = config_with("models/ready", {"source": {"folder": "small"}, "engine": "server", "server": SERVER})
    with pytest.raises(DistraceError, match=r"models\.small: small holds no \*\.safetensors") as found:
        require_whole_files(load_plan(config))
    assert "models.ready" not in str(found.value)


@pytest.mark.parametrize(("gpus_here", "said"), [(0, True), (1, False), (None, False)])
def test_gpus_that_are_not_there_are_said(gpus_here, said):
    found = notes(load_plan(config_with("models/small/gpus", 2)), gpus_here)
    expected = "no GPU is found on this machine: small, with `gpus` in the config, will run on the CPU"
    assert (expected in found) == said


def test_a_teacher_that_is_the_student_is_said_under_one_name_and_under_two():
    [one] = notes(load_plan(config_with("runs/main/teachers", ["small"])), None)
    assert one == "runs.main: teacher 'small' and student 'small' are one model: no sentence is only one's"
    config = config_with("models/big", copy.deepcopy(CONFIG["models"]["small"]))
    assert [note for note in notes(load_plan(config), None) if "'big' and student 'small' are one model" in note]
    config["models"]["big"]["instruction"] = "Think. {{ question }}"
    assert not notes(load_plan(config), None)


@pytest.mark.parametrize(
    ("answers", "fix"),
    [
        (["Paris", "the river Seine", "12"], "set `grader: {method: exact, pattern: "),
        (["B", "(c)", "A."], "set `grader: {method: choice}`"),
        (["7", r"\frac{1}{2}", "x^2"], None),
        (["twelve", "7", "8"], None),
    ],
)
def test_answers_in_words_are_seen_before_the_default_grader_gives_them_0(answers, fix):
    asked("test.jsonl", answers)
    found = notes(load_plan(copy.deepcopy(CONFIG)), None)
    if fix is None:
        assert found == []
        return
    [note] = found
    assert note.startswith("questions.test: ")
    assert f"of the first 3 answers are no mathematics (such as {answers[0]!r})" in note
    assert fix in note


def test_a_grader_that_was_chosen_is_not_questioned():
    asked("test.jsonl", ["Paris", "Rome"])
    assert notes(load_plan(config_with("questions/test/grader", {"method": "exact"})), None) == []
    assert notes(load_plan(config_with("questions/test/grader", {"pattern": "is (.*)"})), None) == []


@pytest.mark.parametrize("content", ["", "{", '{"answer": null}\n[]\n', "\udcff"])
def test_a_file_that_cannot_be_read_is_left_to_its_own_node(tmp_path, content):
    (tmp_path / "test.jsonl").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert notes(load_plan(copy.deepcopy(CONFIG)), None) == []


def test_the_questions_of_tests_and_candidates_are_graded():
    assert graded_questions(load_plan(copy.deepcopy(CONFIG))) == ["gsm", "test"]
