"""The oracle node: the labels that follow from the exact probability of each sentence, in the world.

The rules are the paper's, with p_teacher and p_student from the grammar (`distrace.oracle`): the exact probability of
the sentence given those before it, to the power of 1 / the number of its tokens under that author's tokenizer.
p_distilled is that of the distilled model itself, which needs no estimate: it is the model that is asked about.
Run by the workflow as `python -m distrace.nodes.oracle --questions PARTS --rollouts PARTS --sentences PARTS
--provenance PARTS --pair JSON --dials JSON --thresholds JSON --out PARTS`.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, is_written, open_artifact, write
from distrace.measures.labels import Thresholds, label_of
from distrace.measures.validation import Pair, origin_of
from distrace.oracle import follows, sentence_probabilities
from distrace.settings import as_identity
from distrace.sources import source_digest
from distrace.world import Author, Dials, authors, form_of, sentences_of


def write_oracle(
    questions: Path,
    rollouts: Path,
    sentences: Path,
    provenance: Path,
    pair: Pair,
    dials: Dials,
    thresholds: Thresholds,
    out: Path,
) -> None:
    """Write the oracle's label of each labelled sentence of a part; `pair` names the authors of teacher and student."""
    asked = open_artifact(questions, kinds.QUESTIONS)
    written = open_artifact(rollouts, kinds.ROLLOUTS, made_from=asked)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    labelled = open_artifact(provenance, kinds.PROVENANCE, made_from=cut)
    identity = {
        "version": source_digest("nodes.oracle"),
        "questions": asked.fingerprint,
        "provenance": labelled.fingerprint,
        "pair": asdict(pair),
        "dials": asdict(dials),
        "thresholds": as_identity(thresholds),
    }
    if is_written(out, kinds.ORACLE, identity):
        return
    exact = pl.DataFrame(list(_rows(asked, written, cut, pair, dials)), schema=_SCHEMA, orient="row")
    styles = Pair(sentences_of(pair.teacher), sentences_of(pair.student))
    table = (
        labelled.read()
        .drop("label")
        .join(exact, on=["rollout_id", "sentence"], how="left", maintain_order="left")
        .with_columns(origin_of(styles), *(_geometric_mean(role) for role in asdict(pair)))
        .with_columns(label_of(thresholds).alias("label"))
    )
    write(out, kinds.ORACLE, table.select(kinds.ORACLE.schema.names), identity)


_SCHEMA = {"rollout_id": pl.String, "sentence": pl.Int32, "form": pl.String, "origin": pl.String} | {
    "follows": pl.Boolean,
    "exact_teacher": pl.Float64,
    "exact_student": pl.Float64,
}


def _rows(
    asked: Artifact, written: Artifact, cut: Artifact, pair: Pair, dials: Dials
) -> Iterator[tuple[str | int | bool | float | None, ...]]:
    """Yield for each sentence of a part what `_SCHEMA` names."""
    questions = dict(asked.read("question_id", "question").iter_rows())
    texts = {name: (of, text) for name, of, text in written.read("rollout_id", "question_id", "text").iter_rows()}
    for (rollout_id,), rows in cut.read().group_by("rollout_id", maintain_order=True):
        question_id, text = texts[rollout_id]
        question = questions[question_id]
        sentences = [text[start:end] for start, end in rows.select("start", "end").iter_rows()]
        exact = [sentence_probabilities(Author(style, dials), question, sentences) for style in asdict(pair).values()]
        origins = ["+".join(authors(sentence, dials)) for sentence in sentences]
        found = zip(
            rows["sentence"], map(form_of, sentences), origins, follows(question, sentences), *exact, strict=True
        )
        yield from ((rollout_id, *values) for values in found)


def _geometric_mean(role: str) -> pl.Expr:
    return pl.col(f"exact_{role}").pow(1 / pl.col(f"tokens_{role}")).alias(f"p_{role}")


if __name__ == "__main__":
    command.run_each_part(write_oracle)
