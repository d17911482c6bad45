"""The finetune node: supervised fine-tuning with TRL, loss on the response only.

A distilled model learns the responses of a selection; any other model the worked solutions of a set of questions.
Prompt and response are rendered and tokenised as they are at sampling, each apart, so that the model is trained on the
very tokens it will be asked for. A killed job goes on from its last checkpoint.
Run by the workflow as `python -m distrace.finetune --name NAME --base FILE --questions FILE... --out FILE`.
"""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import SFTConfig, SFTTrainer

from distrace import artifacts, command
from distrace.alignment import AlignmentError, encode_prompt, encode_response
from distrace.errors import DistraceError
from distrace.identity import NODE_VERSIONS, digest
from distrace.models import Card, folder_card, load_tokenizer, read_card, write_card
from distrace.prompts import load_format, prompt_text, response_pieces
from distrace.settings import ModelSettings, Training

log = logging.getLogger(__name__)

CHECKPOINTS_PER_TRAINING = 5
LINES_PER_TRAINING = 20


def write_finetuned(
    name: str,
    base: Path,
    settings: ModelSettings,
    training: Training,
    questions: list[Path],
    out: Path,
    rollouts: list[Path] | None = None,
    selection: Path | None = None,
) -> None:
    """Fine-tune `base` and write weights, tokenizer, model card and training log beside the card at `out`.

    With `selection`, the chosen ones of `rollouts` are learnt; without, the solutions of `questions`. Examples that
    cannot be tokenised or are too long are rejected with the reason, in `training.rejects.arrow`.
    """
    disable_progress_bars()
    disable_progress_bar()
    card = read_card(base)
    inputs = [*questions, *([selection] if selection else [])]
    identity = {
        "version": NODE_VERSIONS["finetune"],
        "base": card.fingerprint,
        "data": [artifacts.metadata(path).fingerprint for path in inputs],
        "settings": asdict(settings),
        "training": asdict(training),
    }
    wanted = _selected(questions, rollouts, selection) if selection else _solutions(questions)
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    examples, rejects = tokenised(wanted, tokenizer, settings, training.max_length)
    if not examples:
        raise DistraceError(f"model {name!r}: no example is left to learn from; first reason: {rejects[:1]}")
    log.info("%d examples, %d rejected", len(examples), len(rejects))
    history = _train(card, settings, training, tokenizer, examples, out.parent, digest(identity))
    artifacts.write(artifacts.rejects_path(out.parent / "training.arrow"), "rejects", rejects, identity)
    artifacts.write(out.parent / "training.arrow", "training", history, identity)
    _write_readme(name, card, training, len(examples), out.parent / "README.md")
    write_card(out, folder_card(name, str(out.parent / "weights")))


def _selected(questions: list[Path], rollouts: list[Path], selection: Path) -> pl.DataFrame:
    chosen = artifacts.read(selection, "selection", ["rollout_id"])
    asked = artifacts.concatenated(questions, "questions").select("question_id", "question")
    responses = artifacts.concatenated(rollouts, "rollouts").select("rollout_id", "question_id", "text", "answer_start")
    found = chosen.join(responses, on="rollout_id", how="inner", maintain_order="left")
    if len(found) != len(chosen):
        raise DistraceError(f"{selection} chose {len(chosen)} responses; the rollouts hold only {len(found)} of them")
    return found.join(asked, on="question_id", how="inner", maintain_order="left").rename({"rollout_id": "source"})


def _solutions(questions: list[Path]) -> pl.DataFrame:
    asked = artifacts.concatenated(questions, "questions")
    return asked.select(
        pl.col("question_id").alias("source"),
        "question",
        pl.col("solution").alias("text"),
        answer_start=pl.lit(0),
    )


def tokenised(
    wanted: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, settings: ModelSettings, max_length: int
) -> tuple[list[dict], list[dict]]:
    """Give the examples for TRL (`input_ids`, `completion_mask`) and the rejects.

    `wanted` has the columns `source`, `question`, `text` and `answer_start`. The end-of-response token is learnt, too.
    """
    form = load_format(settings, tokenizer)
    examples, rejects = [], []
    columns = wanted.select("source", "question", "text", "answer_start")
    for row, (source, question, text, answer_start) in enumerate(columns.iter_rows()):
        try:
            prompt = encode_prompt(tokenizer, prompt_text(form, question))
            response = encode_response(tokenizer, response_pieces(form, text, answer_start)).token_ids.tolist()
        except AlignmentError as error:
            rejects.append({"source": source, "row": row, "reason": str(error)})
            continue
        ids = [*prompt, *response, tokenizer.eos_token_id]
        if len(ids) > max_length:
            reason = f"{len(ids)} tokens, more than max_length {max_length}"
            rejects.append({"source": source, "row": row, "reason": reason})
            continue
        examples.append({"input_ids": ids, "completion_mask": [0] * len(prompt) + [1] * (len(response) + 1)})
    return examples, rejects


def _train(
    card: Card,
    settings: ModelSettings,
    training: Training,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[dict],
    folder: Path,
    fingerprint: str,
) -> list[dict]:
    """Train, save to `weights/` in `folder`, and give the training log."""
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
    steps = training.max_steps if training.max_steps > 0 else _steps(training, len(examples))
    trainer = SFTTrainer(
        model=model,
        args=_arguments(training, steps, checkpoints),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=_lora(training),
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")))
    trained = trainer.model.merge_and_unload() if training.method == "lora" else trainer.model
    weights = folder / "weights"
    shutil.rmtree(weights, ignore_errors=True)
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
        completion_only_loss=True,
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
    """Log a line with step, loss and learning rate where transformers would print a dict."""

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            loss, rate = float(logs["loss"]), float(logs["learning_rate"])
            log.info("step %d/%d, loss %.4f, learning rate %.2g", state.global_step, state.max_steps, loss, rate)


def _write_readme(name: str, base: Card, training: Training, examples: int, path: Path) -> None:
    settings = "\n".join(f"- {key}: {value}" for key, value in asdict(training).items())
    artifacts.write_text(
        path,
        f"# {name}\n\nFine-tuned by distrace from `{base.name}` (`{base.fingerprint[:16]}`) on {examples} responses, "
        f"loss on the response only.\n\n{settings}\n",
    )


if __name__ == "__main__":
    command.run(write_finetuned)
