"""The evidence node: what of each sentence stands word for word in the responses that its author was trained on?

Run by the workflow as `python -m distrace.nodes.evidence --rollouts PARTS --sentences PARTS --training PARTS...
--training-sentences PARTS... --selections FILE... --control PARTS --control-sentences PARTS --out PARTS`; the search is
in `measures/evidence.py`, and docs/evidence.md says how to read the result.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write
from distrace.errors import DistraceError
from distrace.measures.evidence import Index, build_index, find_evidence
from distrace.parts import fingerprints, open_parts
from distrace.sources import source_digest

log = logging.getLogger(__name__)

Paths = tuple[Path, ...]


def write_evidence(
    rollouts: Path,
    sentences: Path,
    training: list[Path],
    training_sentences: list[Path],
    selections: list[Path],
    control: list[Path],
    control_sentences: list[Path],
    out: Path,
) -> None:
    """Write the evidence of the sentences of a part.

    `training` are the candidates from which `selections` chose what the author of `rollouts` learned; `control` are the
    answers of its student to the same questions, of which as many words are read as the chosen responses have. Raises
    DistraceError if a chosen response is among no candidates.
    """
    written = open_artifact(rollouts, kinds.ROLLOUTS)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    searched = {
        "training": tuple(training),
        "training_sentences": tuple(training_sentences),
        "selections": tuple(selections),
        "control": tuple(control),
        "control_sentences": tuple(control_sentences),
    }
    found = {name: tuple(fingerprints(map(open_artifact, paths))) for name, paths in searched.items()}
    identity = {
        "version": source_digest("nodes.evidence"),
        "rollouts": written.fingerprint,
        "sentences": cut.fingerprint,
        "searched": found,
    }
    if is_written(out, kinds.EVIDENCE, identity):
        return
    indexes = _indexes(*searched.values(), tuple(found.values()))
    table = cut.read().join(written.read("rollout_id", "text"), on="rollout_id", maintain_order="left")
    texts = table.select(pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")))["text"]
    learned, answers = (_evidence(index, texts, table["start"]) for index in indexes)
    answers = answers.drop("sentence_words").rename(lambda name: f"control_{name}")
    write(out, kinds.EVIDENCE, pl.concat([table.drop("text"), learned, answers], how="horizontal"), identity)


def _evidence(index: Index, texts: pl.Series, starts: pl.Series) -> pl.DataFrame:
    """Return the evidence of sentences in an index, with their stretches' places in the text of the response."""
    return find_evidence(index, texts).with_columns(
        pl.col("stretch_start", "stretch_end") + starts,
        searched_responses=pl.lit(len(index.responses)),
        searched_words=pl.lit(index.words),
    )


# All parts of a set are searched for in the same responses; a process makes them ready once.
@lru_cache(maxsize=1)
def _indexes(
    training: Paths,
    training_sentences: Paths,
    selections: Paths,
    control: Paths,
    control_sentences: Paths,
    found: tuple[tuple[str, ...], ...],  # the fingerprints of them all: other ones are other responses
) -> tuple[Index, Index]:
    """Return the index of the responses that were learned, and that of the student's answers."""
    chosen = _chosen(selections)
    learned = build_index(_responses(training, training_sentences, chosen))
    if len(learned.responses) != len(chosen):
        raise DistraceError(
            f"{selections[0]} and what else was learned chose {len(chosen)} responses; "
            f"the rollouts hold only {len(learned.responses)} of them"
        )
    answers = build_index(_responses(control, control_sentences), most_words=learned.words)
    for name, index in (("learned", learned), ("the student's own", answers)):
        log.info("%d responses %s, %d words", len(index.responses), name, index.words)
    return learned, answers


def _chosen(selections: Paths) -> pl.Series:
    """Return the responses that were chosen, each once."""
    rows = [open_artifact(path, kinds.SELECTION).read("rollout_id", "rank") for path in selections]
    return pl.concat(rows).filter(pl.col("rank").is_not_null())["rollout_id"].unique()


def _responses(rollouts: Paths, sentences: Paths, chosen: pl.Series | None = None) -> Iterator[pl.DataFrame]:
    """Yield the responses of each part with the places of their sentences, or those of them that were chosen."""
    for path, cut_path in zip(rollouts, sentences, strict=True):
        for part, cut in zip(open_parts(path, kinds.ROLLOUTS), open_parts(cut_path, kinds.SENTENCES), strict=True):
            cut.require_made_from(part)
            responses = part.read("rollout_id", "question_id", "text")
            if chosen is not None:
                responses = responses.filter(pl.col("rollout_id").is_in(chosen.implode()))
            spans = cut.read("rollout_id", "start", "end").group_by("rollout_id").agg(starts="start", ends="end")
            yield responses.join(spans, on="rollout_id", how="left", maintain_order="left")


if __name__ == "__main__":
    command.run_each_part(write_evidence)
