"""Supervised fine-tuning with TRL, loss on the response only; a killed training continues from its last checkpoint.

The loss of an optimiser step is the mean over all its tokens, however they lie in forward passes and processes.
Importing this takes seconds, so `finetune` does it only where there is something to train. Where several processes
train together (`launch.py`), each calls `train`, and the first one writes what is to be kept.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets, disable_progress_bars
from peft import LoraConfig, PeftModel
from torch.utils.data import Sampler
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from distrace.errors import DistraceError
from distrace.identity import digest
from distrace.models import replacing_folder
from distrace.settings import Training
from distrace.training.collators import collator_for
from distrace.training.launch import Job, batches, processes_of, runs_in_processes

log = logging.getLogger(__name__)

CHECKPOINTS_PER_TRAINING = 5
LINES_PER_TRAINING = 20
_NO_LOSS = -100  # torch's mark for a token that is not learnt


def train(job: Job, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Train on files of `write_examples`, save the model to `weights/` in the job's folder, return the log's rows.

    A row has `step`, `epoch`, `loss` (nats per token), `learning_rate` and, if examples are held out, `held_out_loss`.
    Checkpoints of the same fingerprint are taken up. Raises DistraceError if the model cannot be trained on packs.
    """
    disable_progress_bars()
    disable_progress_bar()
    dataset = Dataset.from_file(str(job.examples))
    packed = "seq_lengths" in dataset.column_names
    checkpoints = _checkpoints(job)
    steps = job.training.max_steps if job.training.max_steps > 0 else _steps(job.training, len(dataset))
    arguments = _arguments(job, steps, checkpoints)  # before the model, which DeepSpeed may lay out as it is loaded
    model = _load(job)
    if packed and arguments.process_index == 0:
        require_apart(model, job.settings.attention)
    held_out = Dataset.from_file(str(job.held_out)) if job.held_out else None
    trainer = EvenTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset if arguments.world_size == 1 else _with_empty(dataset),
        eval_dataset=held_out,
        data_collator=collator_for(model, tokenizer, packed),
        processing_class=tokenizer,
        peft_config=_lora(job.training),
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole(checkpoints))
    _save(trainer, job, tokenizer)
    if trainer.is_world_process_zero():
        _keep_checkpoints(checkpoints, job)
    return _rows(trainer.state.log_history)


def require_apart(model: PreTrainedModel, attention: str) -> None:
    """Raise DistraceError unless an example in a pack has the log-probs that it has by itself.

    Attention that looks across examples would teach the model contexts that are not there, and no loss would show it.
    """
    if any(parameter.is_meta or not parameter.numel() for parameter in model.parameters()):
        return  # DeepSpeed spread it over the processes as it was loaded
    if attention == "flash_attention_2":  # it runs on GPUs only, and the model is not there yet
        model.set_attn_implementation("sdpa")
    first, second = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[3, 1, 4, 1]])
    positions = torch.cat([torch.arange(5), torch.arange(4)])[None]
    model.eval()
    with torch.inference_mode():
        alone = model(input_ids=second, use_cache=False).logits
        together = model(input_ids=torch.cat([first, second], 1), position_ids=positions, use_cache=False).logits[:, 5:]
    if attention == "flash_attention_2":
        model.set_attn_implementation(attention)
    difference = float((alone.log_softmax(-1) - together.log_softmax(-1)).abs().max())
    if not difference < 1e-3:
        raise DistraceError(
            f"packing: in a pack, log-probs of {type(model).__name__} differ by {difference:.2g} from those of the "
            "example by itself: it does not keep the examples of a pack apart; train it with `packing: false`"
        )


def _load(job: Job) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        job.card.location,
        revision=job.card.revision,
        dtype=torch.float32,
        attn_implementation=job.settings.attention,
        trust_remote_code=job.settings.trust_remote_code,
        use_safetensors=True,
    )
    return model


def _checkpoints(job: Job) -> Path:
    """Return the folder of the training's checkpoints; those of other trainings of the model are removed.

    With other accelerate files, checkpoints have other forms: a training goes on only with the one it began with.
    """
    form = f"-{digest(job.execution.accelerate)[:8]}" if job.execution.accelerate else ""
    checkpoints = job.folder / f".checkpoints-{job.fingerprint[:16]}{form}"
    for stale in set(job.folder.glob(".checkpoints-*")) - {checkpoints}:
        shutil.rmtree(stale, ignore_errors=True)
    return checkpoints


def _last_whole(checkpoints: Path) -> str | None:
    """Return the last checkpoint that was written to its end, which is its state; None if there is none."""
    whole = [state.parent for state in checkpoints.glob("checkpoint-*/trainer_state.json") if _is_json(state)]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(last) if last else None


def _is_json(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text("utf-8")))
    except ValueError:
        return False


def _steps(training: Training, examples: int) -> int:
    return max(1, round(training.epochs * -(-examples // training.batch_size)))


def _arguments(job: Job, steps: int, checkpoints: Path) -> SFTConfig:
    training, execution = job.training, job.execution
    on_cpu = not torch.cuda.is_available()
    micro_batch, passes = batches(training, processes_of(execution))
    logged = max(1, steps // LINES_PER_TRAINING)
    if "tensorboard" in (execution.report_to or []):
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(job.folder / "tensorboard"))
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=passes,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        lr_scheduler_kwargs=training.schedule_options or {},
        warmup_steps=round(training.warmup * steps),
        weight_decay=training.weight_decay,
        adam_beta1=training.beta1,
        adam_beta2=training.beta2,
        max_length=None,
        activation_checkpointing=training.gradient_checkpointing,
        bf16=training.dtype == "bfloat16",
        use_cpu=on_cpu,
        seed=training.seed,
        data_seed=training.seed,
        logging_steps=logged,
        save_steps=_between_checkpoints(steps, logged, execution.keep_checkpoints),
        save_total_limit=None if execution.keep_checkpoints else 1,
        eval_strategy="steps" if job.held_out else "no",
        eval_steps=logged,
        per_device_eval_batch_size=1,  # so that `EvenTrainer` can weigh each example by its tokens
        report_to=execution.report_to or "none",
        run_name=job.folder.name,
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
    )


def _between_checkpoints(steps: int, logged: int, kept: int) -> int:
    """Return the steps from one checkpoint to the next.

    Unless the user wants so many, they are lines of the log: what was summed for a line is not in a checkpoint.
    """
    if kept:
        return -(-steps // kept)
    return -(-steps // (CHECKPOINTS_PER_TRAINING * logged)) * logged


def _lora(training: Training) -> LoraConfig | None:
    if training.method != "lora":
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
    )


def _with_empty(dataset: Dataset) -> Dataset:
    """Return the examples and, after them, one of which nothing is learnt."""
    row = {"input_ids": dataset[0]["input_ids"][:2], "labels": [_NO_LOSS] * 2}
    if "seq_lengths" in dataset.column_names:
        row["seq_lengths"] = [2]
    return concatenate_datasets([dataset, Dataset.from_list([row], features=dataset.features)])


class Order(Sampler[int]):
    """The order in which one process sees the examples of an epoch, and then the empty one, up to a multiple.

    So all processes have as many batches, and the last step of an epoch learns what it learns in one process, where
    accelerate would repeat examples. The epoch follows from the step: accelerate forgets it where it skips batches.
    """

    def __init__(self, examples: int, multiple: int, seed: int, epoch: Callable[[], int]) -> None:
        """Keep what the order follows from; `examples` do not count the empty one."""
        self.examples, self.multiple, self.seed, self.epoch = examples, multiple, seed, epoch

    def __len__(self) -> int:
        """Return how many examples an epoch has, with the empty ones."""
        return -(-self.examples // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the numbers of the examples of the current epoch."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch())
        order: list[int] = torch.randperm(self.examples, generator=generator).tolist()
        return iter(order + [self.examples] * (len(self) - self.examples))


class EvenTrainer(SFTTrainer):
    """TRL's trainer, with the same steps in several processes as in one, and a held-out loss that weighs all tokens."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int] | None:
        if self.args.world_size == 1:
            sampler: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return sampler
        learnt: Any = self.train_dataset
        examples, together = len(learnt) - 1, self.args.train_batch_size * self.args.world_size
        steps = -(-examples // (together * self.args.gradient_accumulation_steps))
        return Order(examples, together, self.args.seed, lambda: self.state.global_step // steps)

    def prediction_step(self, model: Any, inputs: Any, *options: Any, **named: Any) -> tuple[Any, Any, Any]:
        """Return the loss of a held-out example, weighted so that the mean over examples is that over their tokens."""
        learnt = int((inputs["labels"][..., 1:] != _NO_LOSS).sum())
        loss, logits, labels = super().prediction_step(model, inputs, *options, **named)
        return loss * learnt / self._tokens_of_held_out_example, logits, labels

    @cached_property
    def _tokens_of_held_out_example(self) -> float:
        """How many tokens are learnt of a held-out example, on average."""
        held_out: Any = self.eval_dataset
        counts = [sum(label != _NO_LOSS for label in labels[1:]) for labels in held_out["labels"]]
        return float(sum(counts) / len(counts))


def _save(trainer: SFTTrainer, job: Job, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save the trained model; where processes share it, all gather the weights, and the first one saves them."""
    if not runs_in_processes(job.execution):
        trained: Any = trainer.model
        _save_weights(trained.merge_and_unload() if job.training.method == "lora" else trained, job, tokenizer)
        return
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return
    trained = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if job.training.method == "lora":
        trained.save_pretrained(_adapters(job), state_dict=state)
    else:
        _save_weights(trained, job, tokenizer, state_dict=state)


def merge_adapters(job: Job, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the model that processes have trained adapters for, with these merged into its weights."""
    trained: Any = PeftModel.from_pretrained(_load(job), _adapters(job))
    _save_weights(trained.merge_and_unload(), job, tokenizer)


def _save_weights(trained: Any, job: Job, tokenizer: PreTrainedTokenizerBase, **options: Any) -> None:
    with replacing_folder(job.folder / "weights") as weights:
        trained.save_pretrained(weights, **options)
        tokenizer.save_pretrained(weights)


def _adapters(job: Job) -> Path:
    return job.examples.parent / "adapters"


def _keep_checkpoints(checkpoints: Path, job: Job) -> None:
    """Put checkpoints that are to be kept into `checkpoints/` beside the model, in place of those of a model before."""
    shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    if job.execution.keep_checkpoints:
        (checkpoints / "README.md").unlink(missing_ok=True)  # TRL's, about no checkpoint in particular
        checkpoints.rename(job.folder / "checkpoints")
    shutil.rmtree(checkpoints, ignore_errors=True)


def _rows(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the training log from what the trainer logged, which has own entries for held-out losses.

    The last step is evaluated, even where no line of the log ends there: then only its held-out loss is known.
    """
    keys = ("step", "epoch", "loss", "learning_rate")
    held_out = {entry["step"]: entry for entry in history if "eval_loss" in entry}
    rows = {entry["step"]: {key: entry[key] for key in keys} for entry in history if "loss" in entry}
    if not held_out:
        return list(rows.values())
    rows |= {step: {key: entry.get(key) for key in keys} for step, entry in held_out.items() if step not in rows}
    return [rows[step] | {"held_out_loss": held_out[step]["eval_loss"] if step in held_out else None} for step in rows]


class Progress(TrainerCallback):
    """Log a line with step, loss and learning rate, where transformers would print a dict."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Log the line, where the trainer has a loss to tell."""
        if logs and "loss" in logs:
            loss, rate = float(logs["loss"]), float(logs["learning_rate"])
            log.info("step %d/%d, loss %.4f, learning rate %.2g", state.global_step, state.max_steps, loss, rate)
        elif logs and "eval_loss" in logs:
            log.info("step %d/%d, held-out loss %.4f", state.global_step, state.max_steps, float(logs["eval_loss"]))
