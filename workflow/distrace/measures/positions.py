"""Labels by position in a response, separately for right and wrong responses (arXiv 2512.20908, section 4)."""

from collections.abc import Iterable, Iterator

import polars as pl

from distrace.measures.labels import LABELS

SECTIONS = ("all", "reasoning", "answer")  # of a response; the last two where some response has reasoning
SENTENCE, TENTH = "sentence", "tenth"
_COUNTS = [(pl.col("label") == label).sum().alias(label) for label in LABELS]
MOST_POSITIONS = 500  # sentences of a response that are counted for each question apart, so that memory is bounded


def label_positions(labelled: pl.DataFrame, graded: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each position (from 0), correctness and label.

    `sentences` counts the sentences with the label, `responses` the responses that reach the position. `correct` is
    null if the grades leave it open.
    """
    table = labelled.join(graded, on="rollout_id", how="left").rename({"sentence": "position"})
    long = table.group_by("position", "correct").agg(pl.len().alias("responses"))
    counts = table.group_by("position", "correct", "label").agg(pl.len().alias("sentences"))
    labels = pl.DataFrame({"label": LABELS})
    return (
        long.join(labels, how="cross")
        .join(counts, on=["position", "correct", "label"], how="left", nulls_equal=True)
        .with_columns(pl.col("sentences").fill_null(0))
        .sort("position", "correct", "label", nulls_last=True)
    )


def places_of(sentences: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Return for each response where its answer begins and where it ends, to place sentences by.

    That is `rollout_id`, `question_id`, `answer_start`, `characters` and `first_answer`, the number of the first
    sentence of the answer. `sentences` are all those of the responses; `responses` has the first three columns.
    """
    bounds = (
        sentences.join(responses, on="rollout_id")
        .group_by("rollout_id")
        .agg(
            pl.col("end").max().alias("characters"),
            (pl.col("start") < pl.col("answer_start")).sum().alias("first_answer"),
        )
    )
    return responses.join(bounds, on="rollout_id", maintain_order="left")


def positions_by_question(labelled: pl.DataFrame, places: pl.DataFrame, graded: pl.DataFrame) -> pl.DataFrame:
    """Return how often each question's responses have each label, by position: the columns of POSITIONS_BY_QUESTION.

    A position is, with the scale `sentence`, the number of the sentence in its section; with `tenth`, the tenth of the
    section's characters that the middle of the sentence lies in. `responses` counts those with a sentence there.
    """
    keys = ("question_id", "correct", "section", "scale")
    table = labelled.join(places, on="rollout_id").join(graded, on="rollout_id", how="left")
    counts = (
        pl.concat(_placed(table))
        .group_by(*keys, "position")
        .agg(pl.col("rollout_id").n_unique().alias("responses"), *_COUNTS)
    )
    reached = counts.group_by(keys).agg(pl.int_range(pl.col("position").max() + 1).alias("position"))
    return (
        reached.explode("position")
        .join(counts, on=[*keys, "position"], how="left", nulls_equal=True)
        .sort(*keys, "position", nulls_last=True)
        .group_by(keys, maintain_order=True)
        .agg(pl.col("responses", *LABELS).fill_null(0).cast(pl.Int32))
    )


def without_empty_sections(counts: pl.DataFrame) -> pl.DataFrame:
    """Return the counts of the whole responses alone where none has reasoning, since the answer is then all of it."""
    return counts if (counts["section"] == "reasoning").any() else counts.filter(pl.col("section") == "all")


def _placed(table: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the labelled sentences of each section with their `position` on each scale."""
    start, end, answer_start, characters = map(pl.col, ("start", "end", "answer_start", "characters"))
    in_reasoning, nothing = start < answer_start, pl.lit(0)
    sections = {
        "all": (pl.lit(True), nothing, nothing, characters),
        "reasoning": (in_reasoning, nothing, nothing, answer_start),
        "answer": (~in_reasoning, pl.col("first_answer"), answer_start, characters),
    }
    for section, (within, sentences_before, begin, stop) in sections.items():
        rows = table.filter(within)
        # Twice the middle, in whole numbers; it lies before the end of the section, so that there are ten tenths.
        tenth = 10 * (start + end - 2 * begin) // (2 * (stop - begin))
        for scale, position in ((SENTENCE, pl.col("sentence") - sentences_before), (TENTH, tenth.clip(0, 9))):
            placed = rows.select(
                "rollout_id",
                "question_id",
                "correct",
                "label",
                pl.lit(section).alias("section"),
                pl.lit(scale).alias("scale"),
                position.cast(pl.Int64).alias("position"),
            )
            yield placed.filter(pl.col("position") < MOST_POSITIONS)


def summed_positions(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the positions of all parts together, from those of each; parts hold different responses."""
    return (
        pl.concat(parts)
        .group_by("position", "correct", "label")
        .agg(pl.col("sentences").sum(), pl.col("responses").sum())
        .sort("position", "correct", "label", nulls_last=True)
    )


def area_between_curves(positions: pl.DataFrame) -> dict[str, float]:
    """Return for each label its share in right responses minus its share in wrong ones, the mean over positions.

    Positions that only right or only wrong responses reach are left out (arXiv 2512.20908, section 4).
    """
    shares = positions.with_columns((pl.col("sentences") / pl.col("responses")).alias("share"))
    wide = shares.filter(pl.col("correct")).join(
        shares.filter(~pl.col("correct")), on=["position", "label"], suffix="_wrong"
    )
    areas = wide.group_by("label").agg((pl.col("share") - pl.col("share_wrong")).mean().alias("area"))
    return dict(sorted(areas.iter_rows()))
