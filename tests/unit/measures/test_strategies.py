import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import RANKED, ranking
from distrace.identity import short_id
from distrace.measures.strategies import Equal, Strategy, select

COUNT, GRAPE = Strategy("teacher_count"), Strategy("grape")
KNOWN = {
    "teacher_count": COUNT,
    "grape": GRAPE,
    "random": Strategy("random"),
    "longest": Strategy("longest"),
    "lowest": Strategy("grape", pick="lowest"),
    "best_two": Strategy("teacher_count", per_question=2),
    "five_responses": Strategy("grape", responses=5),
    "nine_tokens": Strategy("teacher_count", tokens=9),
    "right": Strategy("teacher_count", only_right=True),
    "right_in_pool": Strategy("grape", pick="lowest", tokens=12, only_right=True),
}
TWINS = {
    f"twin_of_{name}": Strategy(length_matched_to=name, only_right=strategy.only_right)
    for name, strategy in KNOWN.items()
}
ALL = KNOWN | TWINS


def chosen(candidates: pl.DataFrame, name: str, equal: Equal | None = None, seed: int = 0) -> pl.DataFrame:
    """Return the candidates that a strategy chooses."""
    candidates = candidates.with_columns(teacher=pl.lit("big"))
    return select(candidates, ALL, name, equal, seed).filter(pl.col("rank").is_not_null())


@pytest.mark.parametrize(
    ("strategy", "best"),
    [
        ("teacher_count", ["0", "1"]),
        ("random", ["2", "4"]),
        ("longest", ["2", "4"]),
        ("grape", ["3", "1"]),
        ("lowest", ["0", "4"]),
    ],
)
def test_the_best_candidate_of_each_question_is_chosen_in_the_order_of_the_ranking(strategy, best):
    found = chosen(RANKED, strategy)
    assert found["rollout_id"].to_list() == best
    assert found["question_id"].to_list() == ["x", "y"]
    assert found["rank"].to_list() == [1, 1]


def test_a_length_match_is_the_candidate_nearest_in_length_to_the_one_that_the_other_takes():
    ranked = ranking(
        ("x", 3, 0.1, 50, -0.9),
        ("x", 2, 0.9, 90, -0.2),
        ("x", 1, 0.5, 44, -0.1),
        ("x", 0, 0.2, 56, -0.1),
        ("alone", 1, 0.2, 10, -0.1),
    )
    assert chosen(ranked, "twin_of_teacher_count")["rollout_id"].to_list() == ["2", "4"]


def test_ties_go_to_the_larger_random_number_then_to_the_first():
    tied = ranking(("x", 2, 0.1, 9, -1), ("x", 2, 0.8, 1, -3), ("x", 2, 0.3, 99, -2), ("x", 1, 0.9, 5, -1))
    assert chosen(tied, "teacher_count")["rollout_id"].to_list() == ["1"]
    same = ranking(("x", 2, 0.8, 9, -1), ("x", 2, 0.8, 1, -3))
    assert chosen(same, "teacher_count")["rollout_id"].to_list() == ["0"]


def reasons(candidates: pl.DataFrame, name: str, equal: Equal | None = None) -> dict[str, str]:
    found = select(candidates.with_columns(teacher=pl.lit("big")), ALL, name, equal)
    return dict(found.select("rollout_id", "reason").iter_rows())


def test_every_candidate_has_the_reason_why_it_was_chosen_or_passed_over():
    assert reasons(RANKED, "grape") == {
        "3": "grape -0.1 is number 1 of 3, highest first",
        "0": "grape -0.9 is number 3 of 3, highest first; beyond the first 1 of the question",
        "2": "grape -0.2 is number 2 of 3, highest first; beyond the first 1 of the question",
        "1": "grape -0.1 is number 1 of 2, highest first",
        "4": "grape -0.3 is number 2 of 2, highest first; beyond the first 1 of the question",
    }
    graded = ranking(("x", 3, 0.1, 5, None), ("x", 2, 0.2, 6, -1.0), ("x", 1, 0.3, 7, -2.0))
    graded = graded.with_columns(correct=pl.Series([True, False, None]))
    assert reasons(graded, "right_in_pool") == {
        "0": "no value of grape: a model did not score it",
        "1": "the answer is wrong",
        "2": "whether the answer is right cannot be judged",
    }
    assert reasons(graded, "nine_tokens") == {
        "0": "teacher_count 3.0 is number 1 of 3, highest first",
        "1": "teacher_count 2.0 is number 2 of 3, highest first; beyond 9 tokens",
        "2": "teacher_count 1.0 is number 3 of 3, highest first; beyond 9 tokens",
    }


def test_a_twin_says_what_it_was_matched_to():
    ranked = ranking(("x", 3, 0, 50, 0), ("x", 2, 0, 90, 0), ("x", 1, 0, 44, 0), ("y", 1, 0, 10, None))
    assert reasons(ranked, "twin_of_grape") == {
        "2": "44 tokens are nearest to the 50 of what grape chose",
        "0": "grape chose it",
        "1": "others are nearer in length to what grape chose",
        "3": "grape chose nothing of its question",
    }
    assert reasons(ranked, "twin_of_teacher_count")["3"] == (
        "teacher_count chose it, and no other is left of its question"
    )


def test_what_goes_beyond_the_amount_of_every_strategy_says_so():
    equal = Equal("tokens", ["best_two", "nine_tokens"])
    found = reasons(ranking(("x", 3, 0.1, 5, 0), ("x", 2, 0.2, 6, 0), ("x", 1, 0.3, 7, 0)), "best_two", equal)
    assert (
        found["1"] == "teacher_count 2.0 is number 2 of 3, highest first; beyond the 5 tokens that every strategy gets"
    )


small = st.integers(0, 3)
CANDIDATE = st.tuples(
    st.sampled_from("xyz"),
    st.none() | small.map(float),  # teacher_count
    small.map(float),  # random
    st.integers(1, 6).map(float),  # longest
    st.none() | small.map(float) | st.just(float("nan")),  # grape
)
POOLS = st.lists(st.tuples(CANDIDATE, st.none() | st.booleans()), min_size=1, max_size=12)


def pool_of(rows: list) -> pl.DataFrame:
    return ranking(*(row for row, _ in rows)).with_columns(
        correct=pl.Series([right for _, right in rows], dtype=pl.Boolean)
    )


def beats(pool: list[dict], strategy: Strategy, one: int, other: int) -> bool:
    """Return whether one candidate comes before another."""
    a, b = pool[one][strategy.score], pool[other][strategy.score]
    if a != b:
        return a > b if strategy.pick == "highest" else a < b
    if pool[one]["random"] != pool[other]["random"]:
        return pool[one]["random"] > pool[other]["random"]
    return one < other


def by_brute_force(pool: list[dict], name: str, seed: int) -> list[int]:
    """Return the rows that a strategy chooses, in turn: each candidate is compared with each other."""
    strategy = ALL[name]
    if strategy.length_matched_to:
        return matched_by_brute_force(pool, strategy.length_matched_to, seed)
    fit = [
        row
        for row, candidate in enumerate(pool)
        if candidate[strategy.score] is not None
        and candidate[strategy.score] == candidate[strategy.score]
        and (candidate["correct"] or not strategy.only_right)
    ]
    before = {row: [other for other in fit if beats(pool, strategy, other, row)] for row in fit}
    if strategy.responses:
        return sorted((r for r in fit if len(before[r]) < strategy.responses), key=lambda r: len(before[r]))
    if strategy.tokens:
        within = [r for r in fit if sum(pool[o]["tokens"] for o in [*before[r], r]) <= strategy.tokens]
        return sorted(within, key=lambda r: len(before[r]))
    asked = {r: [o for o in before[r] if pool[o]["question_id"] == pool[r]["question_id"]] for r in fit}
    within = [r for r in fit if len(asked[r]) < (strategy.per_question or 1)]
    return sorted(within, key=lambda r: (short_id("turn", seed, pool[r]["question_id"]), len(asked[r])))


def matched_by_brute_force(pool: list[dict], name: str, seed: int) -> list[int]:
    theirs, found = by_brute_force(pool, name, seed), []
    for row in theirs:
        best = None
        for other, candidate in enumerate(pool):
            if other in theirs or other in found or candidate["question_id"] != pool[row]["question_id"]:
                continue
            if ALL[name].only_right and not candidate["correct"]:
                continue
            distance = abs(candidate["tokens"] - pool[row]["tokens"]), -candidate["random"]
            if best is None or distance < best[0]:
                best = distance, other
        found.append(row if best is None else best[1])
    return found


def in_pool(found: pl.DataFrame) -> list[int]:
    return [int(rollout_id) for rollout_id in found["rollout_id"]]


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=40)
@given(POOLS, st.integers(0, 3))
def test_a_strategy_chooses_what_brute_force_chooses(name, rows, seed):
    candidates = pool_of(rows)
    pool = candidates.to_dicts()
    expected = by_brute_force(pool, name, seed)
    found = chosen(candidates, name, seed=seed)
    assert sorted(in_pool(found)) == sorted(expected)
    ranks = {
        row: sum(pool[o]["question_id"] == pool[row]["question_id"] for o in expected[: n + 1])
        for n, row in enumerate(expected)
    }
    assert dict(zip(in_pool(found), found["rank"], strict=True)) == ranks


@settings(deadline=None)
@given(POOLS, st.sampled_from(sorted(ALL)))
def test_every_candidate_is_there_once_with_a_reason_grouped_by_question_in_the_order_of_the_ranking(rows, name):
    candidates = pool_of(rows).with_columns(teacher=pl.lit("big"))
    found = select(candidates, ALL, name)
    assert sorted(in_pool(found)) == list(range(len(rows)))
    assert found["reason"].null_count() == 0
    questions = found["question_id"].rle().struct.field("value").to_list()
    assert questions == candidates["question_id"].unique(maintain_order=True).to_list()
    assert found.filter(pl.col("rank").is_not_null() & ~pl.col("eligible")).is_empty()


@settings(deadline=None)
@given(
    POOLS,
    st.lists(st.sampled_from(sorted(ALL)), min_size=1, max_size=4, unique=True),
    st.sampled_from(["responses", "tokens"]),
    st.integers(0, 3),
)
def test_equal_strategies_get_as_much_as_the_smallest_within_one_response(rows, names, unit, seed):
    candidates = pool_of(rows)
    pool = candidates.to_dicts()

    def size(chosen_rows: list[int]) -> float:
        return len(chosen_rows) if unit == "responses" else sum(pool[row]["tokens"] for row in chosen_rows)

    turns = {name: by_brute_force(pool, name, seed) for name in names}
    amount = min(map(size, turns.values()))
    for name, turn in turns.items():
        found = in_pool(chosen(candidates, name, Equal(unit, names), seed))
        assert sorted(found) == sorted(turn[: len(found)])
        left = [size([row]) for row in turn[len(found) :]]
        assert size(found) == amount or (size(found) < amount < size(found) + left[0])
    if unit == "responses":
        assert len({len(chosen(candidates, name, Equal(unit, names), seed)) for name in names}) == 1


@settings(deadline=None)
@given(POOLS, st.integers(0, 3))
def test_strategies_that_get_as_much_answer_the_same_questions_where_they_can(rows, seed):
    candidates = pool_of(rows).with_columns(pl.col("teacher_count", "grape").fill_nan(None).fill_null(0.0))
    equal = Equal("responses", ["teacher_count", "grape", "five_responses"])
    first, second = (
        chosen(candidates, name, equal, seed)["question_id"].to_list() for name in ("teacher_count", "grape")
    )
    assert first == second


def test_the_order_of_the_questions_follows_the_seed():
    candidates = ranking(*((question, 0, 0, 1, 0) for question in "abcdefgh"))
    equal = Equal("tokens", ["grape", "five_responses"])
    drawn = {tuple(chosen(candidates, "grape", equal, seed)["question_id"]) for seed in range(8)}
    assert len(drawn) > 4
