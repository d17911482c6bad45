"""Training on a file of examples; what nodes/test_finetune.py holds of the whole node is not repeated here."""

import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.integrations import integration_utils

from distrace.errors import DistraceError
from distrace.settings import Training, TrainingExecution
from distrace.training import trainer
from distrace.training.examples import pack_examples
from distrace.training.trainer import Order, require_apart
from tiny import tiny_model
from trainings import UNLIKE, assert_same, example, tiny_job, trained, weights_of, write_rows

TRAINING = Training(epochs=2, batch_size=8, micro_batch_size=8, learning_rate=1e-3, warmup=0)


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 3), (0.5, 2), (2.0, 6)])
def test_an_epoch_has_as_many_steps_as_it_takes_to_see_each_example_once(tmp_path, epochs, steps):
    examples = write_rows(tmp_path / "examples.arrow", [([1], [2, 3])] * 10)
    training = Training(epochs=epochs, batch_size=4, micro_batch_size=2)
    rows, _ = trained(tiny_job(tmp_path, training, examples))
    assert rows[-1]["step"] == steps
    assert {path.name for path in tmp_path.iterdir()} == {"base", "examples.arrow", "weights"}


@torch.inference_mode()
def mean_loss(model, examples) -> float:
    """Return the mean over all tokens that are learnt, computed plainly."""
    losses = []
    for prompt, response in examples:
        row = example(prompt, response)
        logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        losses += [-logits[place, label].item() for place, label in enumerate(row["labels"][1:]) if label >= 0]
    return sum(losses) / len(losses)


def test_the_loss_of_a_step_is_the_mean_over_all_its_tokens(tmp_path):
    for micro in (1, 2, 8):
        job = tiny_job(tmp_path, replace(TRAINING, max_steps=1, micro_batch_size=micro))
        job = replace(job, examples=write_rows(tmp_path / "examples.arrow", UNLIKE[:8]))
        rows, _ = trained(job)
        assert rows[0]["loss"] == pytest.approx(mean_loss(tiny_model(), UNLIKE[:8]), abs=1e-4)


def test_accumulated_batches_train_as_one_batch_does_with_examples_of_unlike_length(tmp_path):
    whole = trained(tiny_job(tmp_path / "whole", TRAINING))
    for micro in (1, 2):
        divided = trained(tiny_job(tmp_path / str(micro), replace(TRAINING, micro_batch_size=micro)))
        assert_same(divided, whole)


def test_packed_examples_train_as_they_do_by_themselves(tmp_path):
    by_themselves = trained(tiny_job(tmp_path / "a", replace(TRAINING, epochs=4, batch_size=11, micro_batch_size=11)))
    for micro, max_length in ((1, 96), (2, 60)):
        job = tiny_job(tmp_path / f"{micro}", replace(TRAINING, epochs=4, packing=True, micro_batch_size=micro))
        packs = pack_examples(job.examples, max_length)
        assert packs > 1
        # One step an epoch, so that both see the same examples in each step.
        batch = -(-packs // micro) * micro
        packed = trained(replace(job, training=replace(job.training, batch_size=batch)))
        assert_same(packed, by_themselves)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma2", "gpt_neox", "phi3"])
def test_no_example_attends_to_another_one_in_its_pack(architecture):
    require_apart(tiny_model(architecture), "sdpa")


def test_a_model_that_does_not_keep_the_examples_of_a_pack_apart_is_refused(tmp_path):
    with pytest.raises(DistraceError, match=r"packing: .* differ by .*; train it with `packing: false`"):
        require_apart(tiny_model("mamba"), "sdpa")


def test_a_model_for_flash_attention_is_looked_at_with_attention_that_runs_anywhere(monkeypatch):
    model, set_to = tiny_model(), []
    monkeypatch.setattr(model, "set_attn_implementation", set_to.append)
    require_apart(model, "flash_attention_2")
    assert set_to == ["sdpa", "flash_attention_2"]


def test_a_training_on_packs_looks_whether_the_model_keeps_them_apart(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, replace(TRAINING, packing=True))
    pack_examples(job.examples, 60)

    def refuse(*_):
        raise DistraceError("not apart")

    monkeypatch.setattr(trainer, "require_apart", refuse)
    with pytest.raises(DistraceError, match="not apart"):
        trained(job)


def test_the_held_out_loss_is_the_mean_over_the_tokens_of_examples_that_are_not_learnt(tmp_path):
    held_out = write_rows(tmp_path / "held_out.arrow", UNLIKE[:4])
    job = tiny_job(tmp_path, replace(TRAINING, learning_rate=1e-2), held_out=held_out)
    rows, _ = trained(job)
    model = AutoModelForCausalLM.from_pretrained(job.folder / "weights").eval()
    assert [row["held_out_loss"] is None for row in rows] == [False] * len(rows)
    assert rows[-1]["held_out_loss"] == pytest.approx(mean_loss(model, UNLIKE[:4]), abs=1e-4)
    without, _ = trained(replace(job, held_out=None))
    assert [{**row, "held_out_loss": None} for row in without] == [{**row, "held_out_loss": None} for row in rows]


def test_the_held_out_loss_of_the_trained_model_is_logged_also_between_two_lines_of_the_log(tmp_path):
    held_out = write_rows(tmp_path / "held_out.arrow", UNLIKE[:4])
    rows, _ = trained(tiny_job(tmp_path, replace(TRAINING, max_steps=41), held_out=held_out))
    assert [row["step"] for row in rows] == [*range(2, 41, 2), 41]
    assert [row["loss"] is None for row in rows] == [False] * 20 + [True]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "weights").eval()
    assert rows[-1]["held_out_loss"] == pytest.approx(mean_loss(model, UNLIKE[:4]), abs=1e-4)


def test_what_a_model_learns_is_reported_to_whom_the_config_names(tmp_path, monkeypatch):
    told = []

    class Told(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            told.append((args.run_name, logs))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "mlflow", Told)
    execution = TrainingExecution(report_to=["mlflow"])
    rows, _ = trained(tiny_job(tmp_path, TRAINING, execution=execution))
    assert {name for name, _ in told} == {tmp_path.name}
    assert [logs["loss"] for _, logs in told if "loss" in logs] == [row["loss"] for row in rows]


def test_as_many_checkpoints_are_kept_as_asked_for_evenly_spaced(tmp_path):
    training = replace(TRAINING, max_steps=6)
    job = tiny_job(tmp_path, training, execution=TrainingExecution(keep_checkpoints=3))
    trained(job)
    kept = tmp_path / "checkpoints"
    assert {path.name for path in kept.iterdir()} == {"checkpoint-2", "checkpoint-4", "checkpoint-6"}
    last = AutoModelForCausalLM.from_pretrained(kept / "checkpoint-6").state_dict()
    for name, values in weights_of(job).items():
        assert torch.equal(last[name], values)
    assert AutoTokenizer.from_pretrained(kept / "checkpoint-2")
    shutil.rmtree(tmp_path / "weights")
    trained(replace(job, execution=TrainingExecution(), fingerprint="another"))
    assert not kept.exists()


def stopped(job, monkeypatch, step: int) -> list[int]:
    """Train up to a step, and be killed; return the steps that later trainings make, as they make them."""
    steps = []

    class Stopped(trainer.Progress):
        def on_step_end(self, args, state, control, **_):
            steps.append(state.global_step)
            if state.global_step == step and len(steps) == step:
                raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "Progress", Stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(job)
    return steps


def test_a_training_killed_while_it_wrote_a_checkpoint_goes_on_from_the_one_before(tmp_path, monkeypatch):
    training = replace(TRAINING, epochs=5)
    whole = trained(tiny_job(tmp_path / "whole", training))
    job = tiny_job(tmp_path / "killed", training, execution=TrainingExecution(keep_checkpoints=5))
    steps = stopped(job, monkeypatch, 5)
    [checkpoints] = job.folder.glob(".checkpoints-*")
    state = checkpoints / "checkpoint-4/trainer_state.json"
    state.write_text(state.read_text()[:100])
    (checkpoints / "checkpoint-6").mkdir()
    assert_same(trained(job), whole, within=1e-6)
    assert steps[5:] == list(range(3, 11))


def test_the_log_of_a_killed_training_is_that_of_one_that_was_not(tmp_path, monkeypatch):
    training = replace(TRAINING, max_steps=44)  # logged every two steps, of which a fifth is no multiple
    whole = trained(tiny_job(tmp_path / "whole", training))
    job = tiny_job(tmp_path / "killed", training)
    steps = stopped(job, monkeypatch, 13)
    assert_same(trained(job), whole, within=1e-6)
    assert steps[13:] == list(range(11, 45))


def test_a_training_does_not_go_on_from_checkpoints_of_another_accelerate_file(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, replace(TRAINING, max_steps=4))
    steps = stopped(job, monkeypatch, 3)
    other = TrainingExecution({"distributed_type": "FSDP", "num_processes": 1})
    assert trainer._checkpoints(job).exists()
    assert not trainer._checkpoints(replace(job, execution=other)).exists()
    trained(job)
    assert steps == [1, 2, 3, 1, 2, 3, 4]


@pytest.mark.parametrize(("examples", "multiple", "length"), [(11, 4, 12), (12, 4, 12), (3, 8, 8)])
def test_the_order_of_an_epoch_is_that_of_one_process_and_then_the_empty_example(examples, multiple, length):
    epoch = 0
    order = Order(examples, multiple, seed=7, epoch=lambda: epoch)
    first = list(order)
    assert len(order) == len(first) == length
    assert sorted(first[:examples]) == list(range(examples))
    assert first[examples:] == [examples] * (length - examples)
    assert first == list(order)
    epoch = 1
    assert examples < 4 or list(order) != first
