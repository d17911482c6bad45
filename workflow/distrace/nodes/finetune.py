"""The finetune node: supervised fine-tuning with TRL, loss on the response only.

A distilled model learns the responses of a selection; any other model the worked solutions of a set of questions.
They are read part by part and tokenised into a file in a hidden folder beside the output, `.examples`, which goes once
the model is trained. A killed job tokenises again and trains on from its last checkpoint.
Run by the workflow as `python -m distrace.nodes.finetune --name NAME --base FILE --settings JSON --training JSON
--questions PARTS --out FILE`, with `--rollouts PARTS... --selection FILE` where it learns a selection.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import open_artifact, write, write_rejects, write_text
from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest
from distrace.kept import keep, put_back
from distrace.models import Card, folder_card, load_tokenizer, read_card, rename_card, write_card
from distrace.parts import Parts, open_parts
from distrace.selected import selected_responses
from distrace.settings import ModelSettings, Training
from distrace.training.examples import write_examples
from distrace.versions import NODE_VERSIONS

log = logging.getLogger(__name__)


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
) -> None:
    """Fine-tune `base` and write weights, tokenizer, model card and training log beside the card at `out`.

    With `selection`, the model learns what it chose of these `rollouts` (those of several teachers, if it is from their
    pooled candidates), without it the solutions of `questions`. Examples that cannot be tokenised or are too long are
    rejected, with the reason, in `training.rejects.arrow`. So many `threads` tokenise. Raises DistraceError if no
    example is left.
    """
    card = read_card(base)
    identity = {
        "version": NODE_VERSIONS["finetune"],
        "base": card.fingerprint,
        "data": _content(_wanted(name, questions, rollouts, selection)),
        "settings": asdict(settings),
        "training": asdict(training),
    }
    fingerprint = digest(identity)
    if put_back(out, fingerprint):
        rename_card(out, name, str(out.parent / "weights"))
        return
    from distrace.training.trainer import train  # takes seconds, and not where the result is there already

    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    with _emptied(out.parent / ".examples") as folder:
        examples, wanted = folder / "examples.arrow", _wanted(name, questions, rollouts, selection)
        count, rejects = write_examples(examples, wanted, tokenizer, settings, training.max_length, threads)
        if not count:
            raise DistraceError(f"model {name!r}: no example is left to learn from; first reason: {rejects[:1]}")
        log.info("%d examples, %d rejected", count, len(rejects))
        history = train(card, settings, training, tokenizer, examples, out.parent, fingerprint)
    write_rejects(out.parent / "training.arrow", rejects, identity)
    write(out.parent / "training.arrow", kinds.TRAINING, history, identity)
    _write_readme(card, training, count, out.parent / "README.md")
    write_card(out, folder_card(name, str(out.parent / "weights")))
    keep(out, fingerprint, beside=("weights", "README.md", "training.arrow", "training.rejects.arrow"))


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


def _wanted(name: str, questions: Path, rollouts: list[Path] | None, selection: Path | None) -> Iterator[pl.DataFrame]:
    """Return an iterator over the rows to learn from, in their order; it holds those of one part at a time."""
    asked = open_parts(questions, kinds.QUESTIONS)
    if selection and rollouts:
        written = [open_parts(path, kinds.ROLLOUTS) for path in rollouts]
        return selected_responses(asked, written, open_artifact(selection, kinds.SELECTION))
    if selection or rollouts:
        raise DistraceError(f"model {name!r}: a selection and the rollouts it is from need each other")
    return _solutions(asked)


def _solutions(questions: Parts) -> Iterator[pl.DataFrame]:
    for part in questions:
        yield part.read("question_id", "question", "solution").select(
            pl.col("question_id").alias("source"),
            "question",
            pl.col("solution").alias("text"),
            answer_start=pl.lit(0),
        )


def _write_readme(base: Card, training: Training, examples: int, path: Path) -> None:
    """Write what the model learned, without names: another project may know it and its base by others."""
    settings = "\n".join(f"- {key}: {value}" for key, value in asdict(training).items())
    write_text(
        path,
        f"# A fine-tuned model\n\nFine-tuned by distrace from the model `{base.fingerprint[:16]}` on {examples} "
        f"responses, loss on the response only.\n\n{settings}\n",
    )


if __name__ == "__main__":
    command.run(write_finetuned, alone=True)
