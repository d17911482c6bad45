"""The finetune node: supervised fine-tuning with TRL, loss on the response only.

A distilled model learns the responses of a selection; any other model the worked solutions of a set of questions.
They are read part by part and tokenised into a file in a hidden folder beside the output, `.examples`, which goes once
the model is trained. A killed job tokenises again and trains on from its last checkpoint. The first examples can be
read in `examples.txt`; docs/training.md says how a model is trained.
Run by the workflow as `python -m distrace.nodes.finetune --name NAME --base FILE --settings JSON --training JSON
--questions PARTS --execution JSON --out FILE`, with `--rollouts PARTS... --selection FILE` where it learns a
selection.
"""

import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from distrace import command, kinds
from distrace.artifacts import open_artifact, write, write_rejects, write_text
from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest
from distrace.imports import importing
from distrace.kept import keep, put_back
from distrace.models import Card, folder_card, load_tokenizer, read_card, rename_card, write_card
from distrace.parts import Parts, open_parts
from distrace.selected import selected_responses
from distrace.settings import IN_ONE_PROCESS, ModelSettings, Training, TrainingExecution, as_identity
from distrace.training.examples import Written, choose_held_out, held_out_file, pack_examples, write_examples
from distrace.training.launch import Job, runs_in_processes, train_in_processes
from distrace.training.shown import write_shown
from distrace.versions import NODE_VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# The packages of each place that a training reports to, one of which it needs.
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}


def write_finetuned(
    name: str,
    base: Path,
    settings: ModelSettings,
    training: Training,
    questions: Path,
    out: Path,
    rollouts: list[Path] | None = None,
    selection: Path | None = None,
    threads: int = 1,
    execution: TrainingExecution = IN_ONE_PROCESS,
) -> None:
    """Fine-tune `base` and write weights, tokenizer, model card, log and first examples beside the card at `out`.

    With `selection`, the model learns what it chose of these `rollouts` (those of several teachers, if it is from their
    pooled candidates), without it the solutions of `questions`. Examples that cannot be tokenised or are too long are
    rejected, with the reason, in `training.rejects.arrow`. So many `threads` tokenise. Raises DistraceError if no
    example is left, or if a package that is reported to is not there.
    """
    card = read_card(base)
    data = Data(name, questions, rollouts, selection)
    identity = {
        "version": NODE_VERSIONS["finetune"],
        "base": card.fingerprint,
        "data": _content(_wanted(data)),
        "settings": as_identity(settings),
        "training": as_identity(training),
    }
    fingerprint = digest(identity)
    shown = out.parent / "examples.txt"
    if found := put_back(out, fingerprint):
        rename_card(out, name, str(out.parent / "weights"))
        if shown.is_file():
            return
    require_packages(execution.report_to or [])
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    with _emptied(out.parent / ".examples") as folder:
        examples = folder / "examples.arrow"
        written = _write_examples(examples, data, tokenizer, settings, training, threads)
        write_shown(shown, examples, tokenizer)
        if found:  # it was trained before examples were written down
            return
        held_out = held_out_file(examples) if training.held_out else None
        job = Job(card, settings, training, execution, examples, held_out, out.parent, fingerprint)
        history = _trained(job, tokenizer)
    write_rejects(out.parent / "training.arrow", written.rejects, identity)
    rows = pl.DataFrame(history, infer_schema_length=None) if training.held_out else history
    write(out.parent / "training.arrow", kinds.TRAINING, rows, identity)
    _write_readme(card, training, written, out.parent / "README.md")
    write_card(out, folder_card(name, str(out.parent / "weights")))
    keep(out, fingerprint, beside=("weights", "README.md", "training.arrow", "training.rejects.arrow", shown.name))


@dataclass(frozen=True)
class Data:
    """What a model learns from: the solutions of questions, or a selection of rollouts; `name` is that of the model."""

    name: str
    questions: Path
    rollouts: list[Path] | None
    selection: Path | None


def require_packages(reports: Collection[str]) -> None:
    """Raise DistraceError unless the package of each place that a training reports to is installed."""
    for name in reports:
        if not any(map(find_spec, _PACKAGES[name])):
            raise DistraceError(
                f"report_to: {name} needs the Python package {_PACKAGES[name][0]!r}, which is not installed where this "
                f"job runs; install it, or take {name} out of `report_to`"
            )


def _write_examples(
    examples: Path,
    data: Data,
    tokenizer: "PreTrainedTokenizerBase",
    settings: ModelSettings,
    training: Training,
    threads: int,
) -> Written:
    """Write what is trained on, and what is held out; pack it if it is to be packed."""
    asked = [question for frame in _wanted(data) for question in frame["question"]] if training.held_out else []
    held_out = choose_held_out(asked, training.held_out, training.seed) if training.held_out else frozenset[str]()
    written = write_examples(
        examples, _wanted(data), tokenizer, settings, training.max_length, threads, held_out=held_out
    )
    if not written.trained:
        raise DistraceError(
            f"model {data.name!r}: no example is left to learn from; first reason: {written.rejects[:1]}"
        )
    if held_out and not written.held_out:
        raise DistraceError(f"model {data.name!r}: none of the held-out examples can be used: {written.rejects[:1]}")
    log.info("%d examples, %d held out, %d rejected", written.trained, written.held_out, len(written.rejects))
    if training.packing:
        log.info("%d packs of at most %d tokens", pack_examples(examples, training.max_length), training.max_length)
    return written


def _trained(job: Job, tokenizer: "PreTrainedTokenizerBase") -> list[dict[str, Any]]:
    """Train in this process or in several of its own; return the rows of the training log."""
    if not runs_in_processes(job.execution):
        with importing():
            from distrace.training.trainer import train  # takes seconds, and not where the result is there already

        return train(job, tokenizer)
    rows = train_in_processes(job)
    if job.training.method == "lora":
        from distrace.training.trainer import merge_adapters

        merge_adapters(job, tokenizer)
    return rows


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Yield a folder, empty also if a killed job has left it, and remove it afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _content(wanted: Iterator[pl.DataFrame]) -> str:
    """Return a digest of the rows to learn from: by content, so that another way to the same choice trains nothing."""
    content = sha256()
    for frame in wanted:
        for row in frame.select("source", "question", "text", "answer_start").iter_rows():
            content.update(canonical_json(row).encode())
    return content.hexdigest()


def _wanted(data: Data) -> Iterator[pl.DataFrame]:
    """Return an iterator over the rows to learn from, in their order; it holds those of one part at a time."""
    asked = open_parts(data.questions, kinds.QUESTIONS)
    if data.selection and data.rollouts:
        written = [open_parts(path, kinds.ROLLOUTS) for path in data.rollouts]
        return selected_responses(asked, written, open_artifact(data.selection, kinds.SELECTION))
    if data.selection or data.rollouts:
        raise DistraceError(f"model {data.name!r}: a selection and the rollouts it is from need each other")
    return _solutions(asked)


def _solutions(questions: Parts) -> Iterator[pl.DataFrame]:
    for part in questions:
        yield part.read("question_id", "question", "solution").select(
            pl.col("question_id").alias("source"),
            "question",
            pl.col("solution").alias("text"),
            answer_start=pl.lit(0),
        )


def _write_readme(base: Card, training: Training, written: Written, path: Path) -> None:
    """Write what the model learned, without names: another project may know it and its base by others."""
    settings = "\n".join(f"- {key}: {value}" for key, value in asdict(training).items())
    write_text(
        path,
        f"# A fine-tuned model\n\nFine-tuned by distrace from the model `{base.fingerprint[:16]}` on {written.trained} "
        f"responses, loss on the response only.\n\n{settings}\n",
    )


if __name__ == "__main__":
    command.run(write_finetuned, alone=True)
