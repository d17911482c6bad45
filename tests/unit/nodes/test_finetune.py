"""Fine-tuning and fresh models, on a model of a few thousand weights."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM

from builders import SUMS, write_parts, write_questions, write_rollouts, write_sums
from distrace import kinds
from distrace.artifacts import Artifact, open_artifact, write
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.models import folder_card, read_card, write_card
from distrace.nodes import finetune
from distrace.nodes.finetune import write_finetuned
from distrace.nodes.fresh import Fresh, write_fresh
from distrace.settings import ModelSettings, Training, TrainingExecution
from distrace.training import trainer
from distrace.training.examples import Written

PLAIN = ModelSettings(format="plain")
COLUMNS = ("source", "question", "text", "answer_start")
TRAINING = Training(max_steps=6, batch_size=4, micro_batch_size=2, learning_rate=1e-2, max_length=64)


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_sums(tmp_path_factory.mktemp("questions") / "0.arrow")


@pytest.fixture(scope="module")
def base(tmp_path_factory, questions) -> Path:
    card = tmp_path_factory.mktemp("base") / "model.json"
    write_fresh("base", Fresh(vocabulary=300, hidden=16, layers=1, heads=2, context_length=128), questions, card)
    return card


def train(folder: Path, base: Path, questions: Path, training: Training = TRAINING) -> dict[str, torch.Tensor]:
    write_finetuned("tuned", base, PLAIN, training, questions, folder / "model.json")
    return AutoModelForCausalLM.from_pretrained(read_card(folder / "model.json").location).state_dict()


def test_training_lowers_the_loss_and_leaves_model_card_log_and_rejects(tmp_path, base, questions):
    train(tmp_path, base, questions, replace(TRAINING, max_steps=30))
    log = open_artifact(tmp_path / "training.arrow", kinds.TRAINING).read()
    assert log["loss"][-1] < log["loss"][0] / 2
    assert "from the model `" in (tmp_path / "README.md").read_text()
    assert open_artifact(tmp_path / "training.rejects.arrow", kinds.REJECTS).rows == 0
    assert not list(tmp_path.glob(".checkpoints-*"))


def test_the_same_training_gives_the_same_weights_and_fingerprint(tmp_path, base, questions):
    train(tmp_path / "a", base, questions)
    train(tmp_path / "b", base, questions)
    prints = {json.loads((tmp_path / name / "model.json").read_text())["fingerprint"] for name in "ab"}
    assert len(prints) == 1


def test_another_project_takes_the_weights_and_knows_the_model_by_its_own_name(tmp_path, base, questions, monkeypatch):
    monkeypatch.setenv("DISTRACE_STORE", str(tmp_path / "store"))
    train(tmp_path / "theirs", base, questions)
    monkeypatch.setattr("distrace.training.trainer.train", lambda *_: pytest.fail("it was trained again"))
    card = tmp_path / "ours" / "model.json"
    write_finetuned("ours", base, PLAIN, TRAINING, questions, card)
    theirs, ours = read_card(tmp_path / "theirs" / "model.json"), read_card(card)
    assert ours == replace(theirs, name="ours", location=str(card.parent / "weights"))
    assert ours.fingerprint == folder_card("ours", ours.location).fingerprint
    for name in ("README.md", "training.arrow", "training.rejects.arrow", "examples.txt"):
        assert (card.parent / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert read_card(tmp_path / "theirs" / "model.json").name == "tuned"


def write_responses(folder: Path, parts: list[str]) -> Path:
    """Write two-letter responses, one for each letter of each part, to the first questions."""
    for number, names in enumerate(parts):
        texts = {name: (SUMS[ord(name.lower()) - ord("a")][0], name * 2) for name in names}
        asked = write_questions(folder / "asked" / f"{number}.arrow", {question: "0" for question, _ in texts.values()})
        write_rollouts(folder / "rollouts" / f"{number}.arrow", asked, texts)
    return write_parts(folder / "rollouts")


def write_selection(folder: Path, parts: list[str], chosen: str, passed_over: str = "") -> tuple[list[Path], Path]:
    """Write responses to the first questions, and a selection of some of them."""
    rows = [
        {"rollout_id": name, "question_id": short_id("x"), "rank": rank, "reason": ""}
        for names, rank in ((passed_over, None), (chosen, 1))
        for name in names
    ]
    write(folder / "selection.arrow", kinds.SELECTION, rows, {"chosen": chosen})
    return [write_responses(folder, parts)], folder / "selection.arrow"


@pytest.fixture
def learnt(monkeypatch) -> list[tuple]:
    """The rows that training is given, which goes no further."""
    found = []

    def none_of(_, frames, *__, **___):
        found.extend(row for frame in frames for row in frame.select(COLUMNS).iter_rows())
        return Written(0, 0, [])

    monkeypatch.setattr(finetune, "write_examples", none_of)
    return found


def test_the_chosen_responses_of_a_selection_are_learnt_in_its_order_from_whichever_part(
    tmp_path, base, questions, learnt
):
    rollouts, selection = write_selection(tmp_path, ["ab", "", "cd"], "dab", passed_over="c")
    with pytest.raises(DistraceError, match="no example is left"):
        write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "out/model.json", rollouts, selection)
    assert learnt == [(name, SUMS[number][0], name * 2, 0) for name, number in (("d", 3), ("a", 0), ("b", 1))]


def test_responses_of_several_teachers_are_learnt_question_by_question(tmp_path, base, questions, learnt):
    theirs, selection = write_selection(tmp_path, ["ab", "cd"], "BaCd", passed_over="c")
    others = write_responses(tmp_path / "others", ["AB", "CD"])
    out = tmp_path / "out/model.json"
    with pytest.raises(DistraceError, match="no example is left"):
        write_finetuned("tuned", base, PLAIN, TRAINING, questions, out, [*theirs, others], selection)
    asked = {"B": 1, "a": 0, "C": 2, "d": 3}
    assert learnt == [(name, SUMS[number][0], name * 2, 0) for name, number in asked.items()]


def test_the_text_of_a_part_is_read_once_for_the_content_and_once_for_the_tokens(
    tmp_path, base, questions, monkeypatch
):
    read = []
    whole = Artifact.read
    monkeypatch.setattr(Artifact, "read", lambda *asked: read.append((asked[0].path.stem, *asked[1:])) or whole(*asked))
    rollouts, selection = write_selection(tmp_path, ["ab", "", "cd"], "abd")
    write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "out/model.json", rollouts, selection)
    assert [part for part, *columns in read if "text" in columns] == ["0", "2"] * 2


def train_elsewhere(folder: Path, base: Path, questions: Path, before: str = "") -> subprocess.CompletedProcess:
    """Train in a process of its own, after some lines of Python; it prints which of the large libraries it imported."""
    code = (
        f"import json, os, sys\nfrom pathlib import Path\n{before}\n"
        "from distrace.nodes.finetune import write_finetuned\n"
        "from distrace.settings import ModelSettings, Training\n"
        "settings, training, *paths = sys.argv[1:]\n"
        "settings, training = ModelSettings(**json.loads(settings)), Training(**json.loads(training))\n"
        "base, questions, out = map(Path, paths)\n"
        "write_finetuned('tuned', base, settings, training, questions, out)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'peft', 'datasets'} & sys.modules.keys()))\n"
    )
    asked = [json.dumps(asdict(PLAIN)), json.dumps(asdict(TRAINING)), base, questions, folder / "model.json"]
    return subprocess.run([sys.executable, "-c", code, *asked], text=True, capture_output=True, check=False)


def test_a_killed_job_leaves_no_model_under_its_name_and_makes_its_examples_anew(tmp_path, base, questions):
    killed_while_saving = (
        "from transformers import PreTrainedModel\n"
        "def save(model, folder):\n"
        "    (Path(folder) / 'config.json').write_text('{}')\n"
        "    os._exit(9)\n"
        "PreTrainedModel.save_pretrained = lambda model, folder, **_: "
        "None if 'checkpoint-' in str(folder) else save(model, folder)\n"
    )
    found = train_elsewhere(tmp_path, base, questions, killed_while_saving)
    assert found.returncode == 9, found.stderr
    assert not (tmp_path / "weights").exists()
    assert (tmp_path / ".examples").exists()
    shutil.rmtree(next(tmp_path.glob(".checkpoints-*")))  # they hold no weights
    train(tmp_path, base, questions)
    result = {"model.json", "weights", "README.md", "training.arrow", "training.rejects.arrow", "examples.txt"}
    assert {path.name for path in tmp_path.iterdir()} == result | {".model.json.kept"}


def test_a_result_that_was_kept_is_put_back_without_importing_what_trains(tmp_path, base, questions):
    train(tmp_path, base, questions)
    (tmp_path / "model.json").unlink()
    found = train_elsewhere(tmp_path, base, questions)
    assert (found.stdout, found.stderr) == ("[]\n", "")
    assert (tmp_path / "model.json").is_file()


def test_lora_changes_the_model_and_is_merged(tmp_path, base, questions):
    tuned = train(tmp_path, base, questions, replace(TRAINING, method="lora", lora_rank=2))
    before = AutoModelForCausalLM.from_pretrained(read_card(base).location).state_dict()
    assert tuned.keys() == before.keys()
    assert any(not torch.equal(tuned[key], before[key]) for key in before)
    assert torch.equal(tuned["model.embed_tokens.weight"], before["model.embed_tokens.weight"])


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path, base, questions, monkeypatch):
    whole = train(tmp_path / "whole", base, questions)
    steps = []

    class Killed(trainer.Progress):
        def on_step_end(self, args, state, control, **_):
            steps.append(state.global_step)
            if len(steps) == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "Progress", Killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", base, questions)
    again = train(tmp_path / "killed", base, questions)
    assert steps == [1, 2, 3, 4, 3, 4, 5, 6]
    for key, value in whole.items():
        torch.testing.assert_close(again[key], value)


def test_no_usable_example_is_an_error_that_says_why(tmp_path, base, questions):
    with pytest.raises(DistraceError, match="more than max_length 2"):
        train(tmp_path, base, questions, replace(TRAINING, max_length=2))


def test_code_that_comes_with_a_tokenizer_runs_where_the_model_is_trusted(tmp_path, base, questions, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda _: "n")
    weights = Path(shutil.copytree(read_card(base).location, tmp_path / "weights"))
    (weights / "own.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n\n\nclass OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    described = json.loads((weights / "tokenizer_config.json").read_text())
    described |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (weights / "tokenizer_config.json").write_text(json.dumps(described))
    write_card(tmp_path / "model.json", folder_card("own", str(weights)))
    with pytest.raises(ValueError, match="custom code"):
        train(tmp_path / "distrusted", tmp_path / "model.json", questions)
    loaded = []
    whole = finetune.write_examples
    monkeypatch.setattr(
        finetune,
        "write_examples",
        lambda *asked, **named: loaded.append(type(asked[2]).__name__) or whole(*asked, **named),
    )
    trust = replace(PLAIN, trust_remote_code=True)
    write_finetuned("tuned", tmp_path / "model.json", trust, TRAINING, questions, tmp_path / "tuned" / "model.json")
    assert loaded == ["OwnTokenizer"]


def identity_of(folder: Path) -> dict:
    return open_artifact(folder / "training.arrow", kinds.TRAINING).identity


def test_settings_that_came_later_leave_the_fingerprints_of_models_that_do_not_use_them_as_they_were(
    tmp_path, base, questions
):
    train(tmp_path, base, questions)
    log = open_artifact(tmp_path / "training.arrow", kinds.TRAINING)
    assert log.read().columns == kinds.TRAINING.schema.names
    first = (
        "method epochs max_steps batch_size micro_batch_size learning_rate schedule schedule_options warmup "
        "weight_decay beta1 beta2 max_length dtype gradient_checkpointing lora_rank lora_alpha seed"
    )
    assert log.identity["training"] == {key: asdict(TRAINING)[key] for key in first.split()}
    assert log.identity.keys() == {"version", "base", "data", "settings", "training"}
    assert log.identity["version"] == 1


def test_held_out_questions_are_not_learnt_and_their_loss_is_in_the_log(tmp_path, base, questions, monkeypatch):
    files = {}

    def looked_at(job, tokenizer):
        for name, file in (("learnt", job.examples), ("held_out", job.held_out)):
            with pa.memory_map(str(file)) as source:
                files[name] = [tuple(row["input_ids"]) for row in pa.ipc.open_stream(source).read_all().to_pylist()]
        return whole(job, tokenizer)

    whole = trainer.train
    monkeypatch.setattr(trainer, "train", looked_at)
    train(tmp_path, base, questions, replace(TRAINING, held_out=0.25))
    assert (len(files["learnt"]), len(files["held_out"])) == (12, 4)
    assert not set(files["learnt"]) & set(files["held_out"])
    log = open_artifact(tmp_path / "training.arrow", kinds.TRAINING).read()
    assert log["held_out_loss"].dtype == pl.Float64
    assert log["held_out_loss"][-1] < log["held_out_loss"][0]
    assert identity_of(tmp_path)["training"]["held_out"] == 0.25


def test_held_out_examples_that_cannot_be_used_are_an_error(tmp_path, base, monkeypatch):
    rows = [
        {"question_id": short_id(q), "question": q, "answer": "0", "solution": solution}
        for q, solution in [("Short?", "No."), ("Long?", "No. " * 60)]
    ]
    write(tmp_path / "questions.arrow", kinds.QUESTIONS, rows, {"made": "here"})
    monkeypatch.setattr(finetune, "choose_held_out", lambda *_: frozenset(["Long?"]))
    with pytest.raises(DistraceError, match=r"none of the held-out examples can be used: .*more than max_length"):
        train(tmp_path, base, tmp_path / "questions.arrow", replace(TRAINING, held_out=1))


def test_examples_are_packed_where_that_is_asked_for(tmp_path, base, questions):
    train(tmp_path, base, questions, replace(TRAINING, packing=True))
    assert identity_of(tmp_path)["training"]["packing"] is True
    shown = (tmp_path / "examples.txt").read_text("utf-8")
    assert "=== pack 1: " in shown
    log = open_artifact(tmp_path / "training.arrow", kinds.TRAINING).read()
    assert log["epoch"][-1] > 2  # there are fewer packs than the 16 examples, of which 6 steps see 24


def test_the_first_examples_can_be_looked_at_and_are_written_anew_for_a_model_trained_before_they_were(
    tmp_path, base, questions, monkeypatch
):
    train(tmp_path, base, questions)
    shown = tmp_path / "examples.txt"
    before = shown.read_text("utf-8")
    assert before.count("=== example ") == 8
    assert "The␣sum␣is␣0.".replace("␣", "") in "".join(
        line.split(maxsplit=3)[-1] for line in before.splitlines() if " + " in line
    ).replace("␣", "")
    for path in [shown, *tmp_path.glob(".model.json.kept/*/examples.txt")]:
        path.unlink()
    monkeypatch.setattr(trainer, "train", lambda *_: pytest.fail("it was trained again"))
    write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "model.json")
    assert shown.read_text("utf-8") == before


def test_where_a_model_is_trained_is_no_part_of_it(tmp_path, base, questions, monkeypatch):
    jobs = []

    def elsewhere(job):
        jobs.append(job)
        from transformers import AutoTokenizer

        return trainer.train(
            replace(job, execution=TrainingExecution()), AutoTokenizer.from_pretrained(job.card.location)
        )

    monkeypatch.setattr(finetune, "train_in_processes", elsewhere)
    execution = TrainingExecution({"distributed_type": "MULTI_CPU", "num_processes": 2}, keep_checkpoints=2)
    write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "two/model.json", execution=execution)
    assert [job.execution for job in jobs] == [execution]
    train(tmp_path / "one", base, questions)
    assert identity_of(tmp_path / "two") == identity_of(tmp_path / "one")


@pytest.mark.parametrize(
    ("report", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")]
)
def test_a_package_that_is_missing_is_told_before_anything_is_tokenised(
    tmp_path, base, questions, monkeypatch, report, package
):
    monkeypatch.setattr(finetune, "find_spec", lambda _: None)
    monkeypatch.setattr(finetune, "write_examples", lambda *_, **__: pytest.fail("it was tokenised"))
    execution = TrainingExecution(report_to=[report])
    with pytest.raises(DistraceError, match=f"report_to: {report} needs the Python package '{package}'"):
        write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "model.json", execution=execution)


def test_packages_that_are_there_are_enough():
    finetune.require_packages([])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(finetune, "find_spec", lambda name: name in ("tensorboardX", "wandb") or None)
        finetune.require_packages(["tensorboard", "wandb"])
        with pytest.raises(DistraceError, match="mlflow"):
            finetune.require_packages(["wandb", "mlflow"])
