"""Supervised fine-tuning with TRL, loss on the response only; a killed training continues from its last checkpoint.

Importing this takes seconds, so `finetune` does it only where there is something to train.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
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

from distrace.models import Card, replacing_folder
from distrace.settings import ModelSettings, Training

log = logging.getLogger(__name__)

CHECKPOINTS_PER_TRAINING = 5
LINES_PER_TRAINING = 20


def train(
    card: Card,
    settings: ModelSettings,
    training: Training,
    tokenizer: PreTrainedTokenizerBase,
    examples: Path,
    folder: Path,
    fingerprint: str,
) -> list[dict[str, Any]]:
    """Train on a file of `write_examples`, save the model to `weights/` in `folder`, return the training log's rows.

    A row has `step`, `epoch`, `loss` (nats per token) and `learning_rate`. Checkpoints of the same fingerprint are
    taken up.
    """
    disable_progress_bars()
    disable_progress_bar()
    dataset = Dataset.from_file(str(examples))
    checkpoints = folder / f".checkpoints-{fingerprint[:16]}"
    for stale in set(folder.glob(".checkpoints-*")) - {checkpoints}:
        shutil.rmtree(stale)
    model = AutoModelForCausalLM.from_pretrained(
        card.location,
        revision=card.revision,
        dtype=torch.float32,
        attn_implementation=settings.attention,
        trust_remote_code=settings.trust_remote_code,
        use_safetensors=True,
    )
    steps = training.max_steps if training.max_steps > 0 else _steps(training, len(dataset))
    trainer = SFTTrainer(
        model=model,
        args=_arguments(training, steps, checkpoints),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=_lora(training),
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")))
    trained: Any = trainer.model
    if training.method == "lora":
        trained = trained.merge_and_unload()
    with replacing_folder(folder / "weights") as weights:
        trained.save_pretrained(weights)
        tokenizer.save_pretrained(weights)
    shutil.rmtree(checkpoints, ignore_errors=True)
    keys = ("step", "epoch", "loss", "learning_rate")
    return [{key: entry[key] for key in keys} for entry in trainer.state.log_history if "loss" in entry]


def _steps(training: Training, examples: int) -> int:
    return max(1, round(training.epochs * -(-examples // training.batch_size)))


def _arguments(training: Training, steps: int, checkpoints: Path) -> SFTConfig:
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=training.micro_batch_size,
        gradient_accumulation_steps=training.batch_size // training.micro_batch_size,
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
        use_cpu=not torch.cuda.is_available(),
        seed=training.seed,
        data_seed=training.seed,
        logging_steps=max(1, steps // LINES_PER_TRAINING),
        save_steps=max(1, -(-steps // CHECKPOINTS_PER_TRAINING)),
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _lora(training: Training) -> LoraConfig | None:
    if training.method != "lora":
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
    )


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
