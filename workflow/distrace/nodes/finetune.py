"""The finetune node: supervised fine-tuning with TRL, loss on the response only.

A distilled model learns the responses of a selection; any other model the worked solutions of a set of questions.
Prompt and response are rendered and tokenised separately, as at sampling, so that the model is trained on the tokens
that it will be asked for. A killed job continues from its last checkpoint.
Run by the workflow as `python -m distrace.nodes.finetune --name NAME --base FILE --settings JSON --training JSON
--questions PARTS --out FILE`, with `--rollouts PARTS --selection FILE` where it learns a selection.
"""

import logging
import shutil
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
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

from distrace import command, kinds
from distrace.artifacts import (
    Artifact,
    open_artifact,
    write,
    write_rejects,
    write_text,
)
from distrace.errors import BadRow, DistraceError
from distrace.identity import canonical_json, digest
from distrace.kept import keep, put_back
from distrace.models import Card, folder_card, load_tokenizer, read_card, write_card
from distrace.parts import Parts, open_parts
from distrace.rejects import Reject, kept_and_rejected
from distrace.settings import ModelSettings, Training
from distrace.text.alignment import encode_prompt, encode_response
from distrace.text.prompts import load_format, prompt_text, response_pieces
from distrace.versions import NODE_VERSIONS

log = logging.getLogger(__name__)

CHECKPOINTS_PER_TRAINING = 5
LINES_PER_TRAINING = 20


def write_finetuned(
    name: str,
    base: Path,
    settings: ModelSettings,
    training: Training,
    questions: Path,
    out: Path,
    rollouts: Path | None = None,
    selection: Path | None = None,
) -> None:
    """Fine-tune `base` and write weights, tokenizer, model card and training log beside the card at `out`.

    With `selection`, the model learns the selected rollouts, without it the solutions of `questions`. Examples that
    cannot be tokenised or are too long are rejected, with the reason, in `training.rejects.arrow`. Raises DistraceError
    if no example is left.
    """
    disable_progress_bars()
    disable_progress_bar()
    card = read_card(base)
    asked = open_parts(questions, kinds.QUESTIONS)
    chosen = open_artifact(selection, kinds.SELECTION) if selection else None
    if (chosen is None) != (rollouts is None):
        raise DistraceError(f"model {name!r}: a selection and the rollouts it is from need each other")
    wanted = _selected(asked, rollouts, chosen) if chosen and rollouts else _solutions(asked)
    identity = {
        "version": NODE_VERSIONS["finetune"],
        "base": card.fingerprint,
        "data": _content(wanted),
        "settings": asdict(settings),
        "training": asdict(training),
    }
    fingerprint = digest(identity)
    if put_back(out, fingerprint):
        return
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    examples, rejects = tokenised(wanted, tokenizer, settings, training.max_length)
    if not examples:
        raise DistraceError(f"model {name!r}: no example is left to learn from; first reason: {rejects[:1]}")
    log.info("%d examples, %d rejected", len(examples), len(rejects))
    history = _train(card, settings, training, tokenizer, examples, out.parent, fingerprint)
    write_rejects(out.parent / "training.arrow", rejects, identity)
    write(out.parent / "training.arrow", kinds.TRAINING, history, identity)
    _write_readme(name, card, training, len(examples), out.parent / "README.md")
    write_card(out, folder_card(name, str(out.parent / "weights")))
    keep(out, fingerprint, beside=("weights", "README.md", "training.arrow", "training.rejects.arrow"))


def _content(wanted: pl.DataFrame) -> str:
    """Return a digest of the rows to learn from: by content, so that another way to the same choice trains nothing."""
    content = sha256()
    for row in wanted.select("source", "question", "text", "answer_start").iter_rows():
        content.update(canonical_json(row).encode())
    return content.hexdigest()


def _selected(questions: Parts, rollouts: Path, selection: Artifact) -> pl.DataFrame:
    """Return the selected responses with their questions; of the parts, only chosen rows are held."""
    chosen = selection.read("rollout_id")
    columns = ("rollout_id", "question_id", "text", "answer_start")
    written = open_parts(rollouts, kinds.ROLLOUTS)
    responses = pl.concat([part.read(*columns).join(chosen, on="rollout_id", how="semi") for part in written])
    found = chosen.join(responses, on="rollout_id", how="inner", maintain_order="left")
    if len(found) != len(chosen):
        raise DistraceError(
            f"{selection.path} chose {len(chosen)} responses; the rollouts hold only {len(found)} of them"
        )
    asked = questions.read("question_id", "question")
    return found.join(asked, on="question_id", how="inner", maintain_order="left").rename({"rollout_id": "source"})


def _solutions(questions: Parts) -> pl.DataFrame:
    return questions.read("question_id", "question", "solution").select(
        pl.col("question_id").alias("source"),
        "question",
        pl.col("solution").alias("text"),
        answer_start=pl.lit(0),
    )


def tokenised(
    wanted: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, settings: ModelSettings, max_length: int
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Return the examples for TRL (`input_ids`, `completion_mask`) and the rejects.

    `wanted` has the columns `source`, `question`, `text` and `answer_start`. The token that ends a response is learnt,
    too.
    """
    form = load_format(settings, tokenizer)

    def example(row: tuple[str, str, str, int]) -> dict[str, Any]:
        _, question, text, answer_start = row
        prompt = encode_prompt(tokenizer, prompt_text(form, question))
        response = encode_response(tokenizer, response_pieces(form, text, answer_start)).token_ids.tolist()
        ids = [*prompt, *response, tokenizer.eos_token_id]
        if len(ids) > max_length:
            raise BadRow(f"{len(ids)} tokens, more than max_length {max_length}")
        return {"input_ids": ids, "completion_mask": [0] * len(prompt) + [1] * (len(response) + 1)}

    rows = wanted.select("source", "question", "text", "answer_start").iter_rows()
    return kept_and_rejected(enumerate(rows), example, lambda row: row[0])


def _train(
    card: Card,
    settings: ModelSettings,
    training: Training,
    tokenizer: PreTrainedTokenizerBase,
    examples: list[dict[str, Any]],
    folder: Path,
    fingerprint: str,
) -> list[dict[str, Any]]:
    """Train, save the model to `weights/` in `folder`, and return the rows of the training log."""
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
    trained: Any = trainer.model
    if training.method == "lora":
        trained = trained.merge_and_unload()
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


def _write_readme(name: str, base: Card, training: Training, examples: int, path: Path) -> None:
    settings = "\n".join(f"- {key}: {value}" for key, value in asdict(training).items())
    write_text(
        path,
        f"# {name}\n\nFine-tuned by distrace from `{base.name}` (`{base.fingerprint[:16]}`) on {examples} responses, "
        f"loss on the response only.\n\n{settings}\n",
    )


if __name__ == "__main__":
    command.run(write_finetuned, alone=True)
