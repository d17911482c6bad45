"""How far scores agree about candidates, and strategies about what to select."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl


def rank_correlations(ranked: pl.DataFrame, scores: Sequence[str]) -> list[dict[str, Any]]:
    """Return Spearman's rank correlation of each two scores, ties with their mean rank, over candidates that have both.

    `within` is the mean over questions of the correlation among a question's candidates, all that a choice within
    questions depends on; `questions` counts those in which both scores vary. `over_all` is the correlation over all
    candidates, `candidates` their number. A correlation that is not defined is None.
    """
    ranked = ranked.with_columns(pl.col(scores).fill_nan(None)).select("question_id", *scores)
    pairs = list(combinations(scores, 2))
    correlations = [_correlation(*pair).alias(str(number)) for number, pair in enumerate(pairs)]
    by_question = ranked.group_by("question_id", maintain_order=True).agg(*correlations)
    over_all = ranked.select(*correlations)
    return [
        {
            "scores": list(pair),
            "within": by_question[str(number)].fill_nan(None).mean(),
            "questions": int(by_question[str(number)].fill_nan(None).count()),
            "over_all": over_all[str(number)].fill_nan(None)[0],
            "candidates": len(ranked.select(pair).drop_nulls()),
        }
        for number, pair in enumerate(pairs)
    ]


def _correlation(one: str, other: str) -> pl.Expr:
    both = pl.col(one).is_not_null() & pl.col(other).is_not_null()
    return pl.corr(pl.col(one).filter(both), pl.col(other).filter(both), method="spearman")


def without_doubles(ranked: pl.DataFrame, scores: Sequence[str]) -> list[str]:
    """Return the scores without those whose values are those of an earlier one, picked the other way (`shortest`)."""
    kept: list[str] = []
    for score in scores:
        if not any(ranked[score].equals(ranked[other]) for other in kept):
            kept.append(score)
    return kept


def overlaps(chosen: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    """Return for each two strategies the Jaccard index of the responses they chose: shared by both / chosen by either.

    None if neither chose any.
    """
    return [
        {
            "strategies": [one, other],
            "shared": len(chosen[one] & chosen[other]),
            "jaccard": _ratio(len(chosen[one] & chosen[other]), len(chosen[one] | chosen[other])),
        }
        for one, other in combinations(chosen, 2)
    ]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
