"""Strategies: which candidate responses a student is trained on.

A strategy orders candidates by a score of the ranking. It takes the first ones of each question, or the first ones of
the whole pool within a budget. A twin takes, for each response of another strategy, another one of about its length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from distrace.identity import short_id
from distrace.measures.scores import SCORES

LENGTH_MATCHED = "length_matched"  # a strategy that every config knows: the twin of `teacher_count`
# Columns that are beside those of the ranking while candidates are selected: no score can have such a name.
SELECTING = ("row", "drawn", "teacher", "correct", "score", "place", "of", "within", "wanted", "turn", "reason")


@dataclass(frozen=True)
class Strategy:
    """How responses are selected: from the `highest` or the `lowest` (`pick`) value of a score on.

    Taken are the first `per_question` of each question (None: one), or of the whole pool so many `responses`, or so
    many `tokens` at most. A twin has the name of another strategy in `length_matched_to`, and no score.
    """

    score: str | None = None
    pick: str = "highest"
    per_question: int | None = None
    responses: int | None = None
    tokens: int | None = None
    only_right: bool = False
    length_matched_to: str | None = None


@dataclass(frozen=True)
class Equal:
    """What these `strategies` get as much of: `unit` is `responses` or `tokens`."""

    unit: str
    strategies: list[str]


def select(
    candidates: pl.DataFrame, strategies: Mapping[str, Strategy], name: str, equal: Equal | None = None, seed: int = 0
) -> pl.DataFrame:
    """Return every candidate with its `rank` and the `reason` for it, question by question, the chosen ones first.

    `candidates` is a ranking with the further column `teacher` and, for strategies with `only_right`, `correct`; its
    `tokens` are those of the student. `strategies` holds the one with this name and each that it depends on. `rank`
    counts from 1 among the chosen of a question, and is null if a candidate is passed over; `eligible` says whether
    the strategy could have chosen it. `score` is that of the strategy; of a twin, the tokens between a chosen response
    and the one that it is matched to.

    Ties go to the larger seeded random number, so that they favour neither short nor early candidates. With `equal`,
    every strategy of it gets as much as the one that chooses least: questions come in an order drawn by `seed`, the
    same for all, and what no longer fits is passed over. A budget for the pool is filled from the best on.
    """
    drawn = _drawn(candidates["question_id"], seed)
    ordered = candidates.with_row_index("row").with_columns(drawn, pl.col("tokens").cast(pl.Int64))
    choice = _choice(ordered, strategies, name)
    if equal:
        sizes = [_size(_choice(ordered, strategies, other), equal.unit) for other in equal.strategies]
        choice = _cut(choice, equal.unit, min(sizes))
    rank = pl.col("turn").rank("ordinal").over("question_id").cast(pl.Int32)
    first = pl.col("row").min().over("question_id")
    judged = choice.with_columns(rank.alias("rank"), first.alias("first")).join(
        ordered.select("row", "rollout_id", "teacher"), on="row"
    )
    return judged.sort("first", "rank", "row", nulls_last=True).select(
        "rollout_id", "question_id", "rank", "reason", "eligible", "score", "tokens", "teacher"
    )


def _drawn(question_ids: pl.Series, seed: int) -> pl.Series:
    """Return what a question's turn goes by, for each candidate."""
    drawn = {question_id: short_id("turn", seed, question_id) for question_id in question_ids.unique()}
    return question_ids.replace_strict(drawn, return_dtype=pl.String).alias("drawn")


def _choice(candidates: pl.DataFrame, strategies: Mapping[str, Strategy], name: str) -> pl.DataFrame:
    """Return every candidate with its `turn` in a strategy's choice, null if it is passed over."""
    strategy = strategies[name]
    score = pl.col(strategy.score).cast(pl.Float64).fill_nan(None) if strategy.score else pl.lit(None, pl.Float64)
    judged = candidates.with_columns(score.alias("score")).with_columns(_not_eligible(strategy).alias("reason"))
    eligible = judged.filter(pl.col("reason").is_null())
    if strategy.length_matched_to:
        theirs = _choice(candidates, strategies, strategy.length_matched_to)
        chosen = _matched(eligible, theirs, strategy.length_matched_to)
    else:
        chosen = _best(eligible, strategy)
    columns = ("row", "question_id", "tokens", "score", "turn", "reason")
    left_out = judged.filter(pl.col("reason").is_not_null()).with_columns(turn=pl.lit(None, pl.Int64))
    both = ((chosen, True), (left_out, False))
    return pl.concat([frame.select(*columns, eligible=pl.lit(may)) for frame, may in both])


def _not_eligible(strategy: Strategy) -> pl.Expr:
    """Return why a candidate cannot be chosen, null if it can."""
    reasons = []
    if strategy.score:
        why = f": {SCORES[strategy.score].why_null}" if strategy.score in SCORES else ""
        reasons.append((pl.col("score").is_null(), f"no value of {strategy.score}{why}"))
    if strategy.only_right:
        reasons.append((pl.col("correct").is_null(), "whether the answer is right cannot be judged"))
        reasons.append((~pl.col("correct"), "the answer is wrong"))
    return pl.coalesce(pl.lit(None, pl.String), *(pl.when(holds).then(pl.lit(reason)) for holds, reason in reasons))


def _best(eligible: pl.DataFrame, strategy: Strategy) -> pl.DataFrame:
    """Return the eligible candidates by place, with the `turn` of those that are within the strategy's amount."""
    by_question = not (strategy.responses or strategy.tokens)
    place, of = pl.int_range(1, pl.len() + 1), pl.len()
    if by_question:
        place, of = place.over("question_id"), of.over("question_id")
    # Of two equal scores, the one with the larger random number, then the one that was ranked first.
    descending = [strategy.pick == "highest", True]
    placed = eligible.sort("score", "random", descending=descending, maintain_order=True)
    placed = placed.with_columns(place.alias("place"), of.alias("of"))
    within, amount = _within(strategy)
    value = pl.col("score").round_sig_figs(6)
    reason = pl.format(f"{strategy.score} {{}} is number {{}} of {{}}, {strategy.pick} first", value, "place", "of")
    placed = placed.with_columns(within.alias("within")).sort(["drawn", "place"] if by_question else "place")
    return placed.with_columns(
        pl.when("within").then(pl.col("within").cum_sum()).cast(pl.Int64).alias("turn"),
        pl.when("within").then(reason).otherwise(pl.format("{}; beyond {}", reason, pl.lit(amount))).alias("reason"),
    )


def _within(strategy: Strategy) -> tuple[pl.Expr, str]:
    """Return whether a candidate is within the strategy's amount, of candidates in order of place; and the amount."""
    if strategy.tokens:
        return pl.col("tokens").cum_sum() <= strategy.tokens, f"{strategy.tokens} tokens"
    if strategy.responses:
        return pl.col("place") <= strategy.responses, f"{strategy.responses} responses"
    wanted = strategy.per_question or 1
    return pl.col("place") <= wanted, f"the first {wanted} of the question"


def _matched(eligible: pl.DataFrame, theirs: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the eligible candidates with the `turn` of those that are nearest in length to what `name` chose."""
    taken = theirs.filter(pl.col("turn").is_not_null()).sort("turn")
    judged = eligible.join(_nearest(eligible, taken), on="row", how="left", maintain_order="left")
    itself, matched = pl.col("row").is_in(taken["row"].implode()), pl.col("turn").is_not_null()
    reason = (
        pl.when(itself & matched)
        .then(pl.lit(f"{name} chose it, and no other is left of its question"))
        .when(itself)
        .then(pl.lit(f"{name} chose it"))
        .when(matched)
        .then(pl.format("{} tokens are nearest to the {} of what {} chose", "tokens", "wanted", pl.lit(name)))
        .when(pl.col("question_id").is_in(taken["question_id"].implode()))
        .then(pl.lit(f"others are nearer in length to what {name} chose"))
        .otherwise(pl.lit(f"{name} chose nothing of its question"))
    )
    distance = (pl.col("tokens") - pl.col("wanted")).abs().cast(pl.Float64)
    return judged.with_columns(distance.alias("score"), reason.alias("reason"))


def _nearest(eligible: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Return the `row` of the match of each response in `taken`, in turn, with its `turn` and the tokens `wanted`.

    The match is the nearest in tokens, of the candidates of the same question that are neither in `taken` nor matched
    yet; the response itself, if there is none.
    """
    others: dict[str, list[tuple[int, float, int]]] = {}
    passed_over = eligible.join(taken, on="row", how="anti").select("question_id", "tokens", "random", "row")
    for question_id, tokens, drawn, row in passed_over.iter_rows():
        others.setdefault(question_id, []).append((tokens, drawn, row))
    matches = []
    for turn, (question_id, wanted, row) in enumerate(
        taken.select("question_id", "tokens", "row").iter_rows(), start=1
    ):
        left = others.get(question_id, [])
        nearest = min(left, key=lambda other: (abs(other[0] - wanted), -other[1], other[2]), default=None)
        if nearest:
            left.remove(nearest)
        matches.append((nearest[2] if nearest else row, turn, wanted))
    schema = {"row": pl.Int64, "turn": pl.Int64, "wanted": pl.Int64}
    return pl.DataFrame(matches, schema, orient="row").cast({"row": eligible.schema["row"]})


def _size(choice: pl.DataFrame, unit: str) -> int:
    """Return how many responses, or tokens, a choice has."""
    taken = choice.filter(pl.col("turn").is_not_null())
    return len(taken) if unit == "responses" else int(taken["tokens"].sum())


def _cut(choice: pl.DataFrame, unit: str, amount: int) -> pl.DataFrame:
    """Return a choice without the turns that go beyond an amount."""
    so_far = pl.int_range(1, pl.len() + 1) if unit == "responses" else pl.col("tokens").cum_sum()
    in_turn = choice.sort("turn", nulls_last=True).with_columns(beyond=so_far > amount)
    cut = pl.col("turn").is_not_null() & pl.col("beyond")
    reason = pl.format("{}; beyond the {} {} that every strategy gets", "reason", pl.lit(amount), pl.lit(unit))
    return in_turn.with_columns(
        pl.when(~cut).then("turn").alias("turn"), pl.when(cut).then(reason).otherwise("reason").alias("reason")
    ).drop("beyond")
