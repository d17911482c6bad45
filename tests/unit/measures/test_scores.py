import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.measures.scores import ALWAYS, SCORES, candidates_of, casl, compared, rsr_of_all, scored
from distrace.text.splitting import split

Token = tuple[int, int, float]  # first character, character after the last, natural log-prob

TEXTS = {"a": "One.\nTwo.\nThree.\n", "b": "Four.\n", "c": "Five.\nSix.\n"}
TEACHER = {"a": [0.9, 0.5, 0.3], "b": [0.2], "c": [0.8, 0.8]}
STUDENT = {"a": [0.5, 0.45, 0.6], "b": [0.8], "c": [0.1, 0.1]}


def bounds(text: str) -> list[tuple[int, int]]:
    return list(pairwise(split(text, "lines")))


def one_token_each(values: dict[str, list[float]]) -> dict[str, list[Token]]:
    """Return a token for each sentence of the responses, by its probability."""
    return {
        name: [(*span, math.log(p)) for span, p in zip(bounds(TEXTS[name]), found, strict=True)]
        for name, found in values.items()
    }


def logprobs(tokens: dict[str, list[Token]]) -> pl.DataFrame:
    rows = [(name, *([token[column] for token in found] for column in range(3))) for name, found in tokens.items()]
    types = (pl.String, pl.List(pl.Int32), pl.List(pl.Int32), pl.List(pl.Float32))
    names = ("rollout_id", "starts", "ends", "logprobs")
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


@dataclass(frozen=True)
class Candidates:
    """The responses of `teacher`, and the tokens of both scorers."""

    teacher: dict[str, list[Token]]
    student: dict[str, list[Token]]

    def rank(self, beta: float = 0.1, seed: int = 0) -> dict[str, dict]:
        """Return the scores by rollout id."""
        sentences = [(name, n, *span) for name in self.teacher for n, span in enumerate(bounds(TEXTS[name]))]
        candidates = candidates_of(
            pl.DataFrame({"rollout_id": list(self.teacher), "text": [TEXTS[name] for name in self.teacher]}),
            pl.DataFrame(sentences, schema=["rollout_id", "sentence", "start", "end"], orient="row"),
            logprobs(self.teacher),
            logprobs(self.student),
            beta,
            seed,
        )
        found = scored(
            candidates,
            {name: SCORES[name] for name in ("teacher_count", "teacher_ratio", "random", "longest", "grape")},
        )
        return {row["rollout_id"]: row for row in found.iter_rows(named=True)}


@pytest.fixture
def candidates():
    return Candidates(one_token_each(TEACHER), one_token_each(STUDENT))


def test_sentences_count_as_the_teachers_where_the_student_is_further_below_than_beta(candidates):
    ranked = candidates.rank(beta=0.1)
    assert {name: row["teacher_count"] for name, row in ranked.items()} == {"a": 1, "b": 0, "c": 2}
    assert {name: row["teacher_ratio"] for name, row in ranked.items()} == {"a": pytest.approx(1 / 3), "b": 0, "c": 1}
    assert {name: row["sentences"] for name, row in ranked.items()} == {"a": 3, "b": 1, "c": 2}
    assert candidates.rank(beta=0.04)["a"]["teacher_count"] == 2
    assert candidates.rank(beta=0.5)["a"]["teacher_count"] == 0


def test_grape_and_length_go_by_the_tokens_of_the_student(candidates):
    student = {
        "a": [(0, 5, -0.5), (5, 7, -1.0), (7, 10, -3.0), (10, 17, -0.25)],
        "b": [(0, 6, -2.0)],
        "c": [(0, 6, -0.1), (6, 11, -0.2)],
    }
    ranked = replace(candidates, student=student).rank()
    assert ranked["a"]["grape"] == pytest.approx((-0.5 - 1.0 - 3.0 - 0.25) / 4)
    assert ranked["b"]["grape"] == -2
    assert ranked["c"]["grape"] == pytest.approx(-0.15)
    assert {name: row["longest"] for name, row in ranked.items()} == {"a": 4, "b": 1, "c": 2}
    assert ranked["a"]["characters"] == 17
    # p_student of the first sentence of a is exp(-0.5) = 0.61, of the second exp(-2) = 0.14, of the third 0.78.
    assert ranked["a"]["teacher_count"] == 2


def test_random_scores_follow_from_the_seed_and_the_response_alone(candidates):
    def drawn(ranked: dict) -> dict:
        return {name: row["random"] for name, row in ranked.items()}

    first = drawn(candidates.rank(seed=1))
    assert drawn(candidates.rank(seed=1, beta=0.3)) == first
    assert all(0 <= value < 1 for value in first.values())
    assert len(set(first.values())) == 3
    assert set(drawn(candidates.rank(seed=2)).values()).isdisjoint(first.values())
    alone = Candidates(one_token_each({"b": [0.2]}), one_token_each({"b": [0.8]}))
    assert drawn(alone.rank(seed=1)) == {"b": first["b"]}


def test_a_sentence_without_a_token_counts_neither_for_nor_against_a_response(candidates):
    teacher = {
        "a": [(0, 5, math.log(0.9)), (5, 17, math.log(0.9))],
        "b": [(0, 6, -1.0)],
        "c": [(0, 6, -1.0), (6, 11, -1.0)],
    }
    row = replace(candidates, teacher=teacher).rank()["a"]
    # The second token lies mostly in the third sentence, and leaves the second without one.
    assert (row["teacher_count"], row["sentences"], row["unscored_sentences"]) == (2, 2, 1)
    assert row["teacher_ratio"] == 1


# Each score against its formula, written out with loops over plain lists


@dataclass(frozen=True)
class Response:
    """A candidate of question `question`: tokens of one character each, by sentence, and what models say of them."""

    question: str
    teacher: list[list[float]]
    student: list[list[float]]
    nearer: list[list[float]]  # the student's log-probs in context window-1, and 0.1 more in window-4
    alone: list[list[float]]
    ranks: list[list[int]]
    masses: list[list[float]]
    squares: list[list[float]]


def flat(values: list[list]) -> list:
    return [value for sentence in values for value in sentence]


def a_response(lengths: list[int], rng: np.random.Generator) -> Response:
    def numbers(draw) -> list[list]:
        return [draw(size).tolist() for size in lengths]

    return Response(
        str(rng.integers(0, 2)),
        *(numbers(lambda size: -rng.exponential(1, size)) for _ in range(4)),
        numbers(lambda size: rng.integers(1, 101, size)),
        numbers(lambda size: rng.uniform(0.9, 1, size)),
        numbers(lambda size: rng.uniform(0.02, 1, size)),
    )


def table(responses: list[Response], **columns: list[list[list]]) -> pl.DataFrame:
    """Return log-probs in reverse order, since artifacts are joined by id."""
    rows = []
    for number, response in enumerate(responses):
        count = len(flat(response.student))
        spans = {"starts": list(range(count)), "ends": list(range(1, count + 1))}
        rows.append({"rollout_id": str(number)} | spans | {name: flat(of[number]) for name, of in columns.items()})
    floats = {name: pl.List(pl.Float64) for name in columns} | {"ranks": pl.List(pl.Int16)}
    types = {"rollout_id": pl.String, "starts": pl.List(pl.Int32), "ends": pl.List(pl.Int32)}
    return pl.DataFrame(rows[::-1], schema=types | {name: floats[name] for name in columns})


def frames(responses: list[Response]) -> dict[str, pl.DataFrame]:
    """Return what `candidates_of` is given, by the name of its parameter."""
    bounds = [
        (str(number), sentence, start, end)
        for number, response in enumerate(responses)
        for sentence, (start, end) in enumerate(pairwise(np.cumsum([0, *map(len, response.student)]).tolist()))
    ]
    texts = ["x" * len(flat(response.student)) for response in responses]
    student = table(
        responses,
        logprobs=[r.student for r in responses],
        ranks=[r.ranks for r in responses],
        top_masses=[r.masses for r in responses],
        top_squares=[r.squares for r in responses],
    )
    names = {"rollout_id": [str(n) for n in range(len(responses))], "question_id": [r.question for r in responses]}
    contexts = {
        "window-1": [r.nearer for r in responses],
        "window-4": [[[value + 0.1 for value in s] for s in r.nearer] for r in responses],
        "alone": [r.alone for r in responses],
    }
    return {
        "responses": pl.DataFrame(names | {"text": texts}),
        "sentences": pl.DataFrame(bounds, schema=["rollout_id", "sentence", "start", "end"], orient="row"),
        "teacher": table(responses, logprobs=[r.teacher for r in responses]),
        "student": student,
        "contexts": {name: table(responses, logprobs=values) for name, values in contexts.items()},
    }


def scores_of(found: dict[str, Any], beta: float = 0.1) -> pl.DataFrame:
    return compared(scored(candidates_of(**found, beta=beta, seed=3), SCORES), SCORES)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def direct(responses: list[Response], beta: float) -> dict[str, list[float | None]]:
    """Return every score of every response, from its formula."""
    found: dict[str, list] = {name: [] for name in SCORES}
    for r in responses:
        own = flat(r.student)
        p_t, p_s = ([math.exp(mean(sentence)) for sentence in of] for of in (r.teacher, r.student))
        margins = [t - s for t, s in zip(p_t, p_s, strict=True)]
        count = sum(margin > beta for margin in margins)
        rest = flat([sentence[2:] for sentence in r.student])
        alone = mean(own) / mean(flat(r.alone))
        for name, value in {
            "teacher_count": count,
            "fewest_teacher": count,
            "teacher_ratio": count / len(margins),
            "teacher_margin": mean(margins),
            "longest": len(own),
            "shortest": len(own),
            "grape": mean(own),
            "perplexity": math.exp(-mean(own)),
            "rsr": sum(flat(r.ranks)) / -sum(own),
            "drop": mean(rest) if rest else None,
            "lalp_1": mean([mean(sentence) for sentence in r.nearer]),
            "lalp_4": mean([mean(sentence) + 0.1 for sentence in r.nearer]),
            "ifd": alone if alone <= 1 else None,
        }.items():
            found[name].append(value)
    return found | {"casl": direct_casl(responses), "lark": direct_lark(responses)}


def direct_casl(responses: list[Response]) -> list[float | None]:
    terms = []
    for r in responses:
        heads, rest = (flat([s[part] for s in r.student]) for part in (slice(2), slice(2, None)))
        share = len(heads) / len(flat(r.student))
        terms.append((mean(flat(r.student)), share, mean(heads), mean(rest) if rest else None))
    whole = np.array([term for term in terms if term[3] is not None])
    design = np.column_stack([whole[:, 1:], np.ones(len(whole))]) if len(whole) else np.zeros((0, 4))
    if len(design) < 4 or np.linalg.svd(design, compute_uv=False)[-1] < 1e-9:
        return [None] * len(terms)
    effect = (np.linalg.pinv(design) @ whole[:, 0])[0]
    return [None if rest is None else value - effect * share for value, share, _, rest in terms]


def direct_lark(responses: list[Response]) -> list[float]:
    losses = [-mean(flat(r.student)) for r in responses]
    briers = []
    for r in responses:
        tokens = zip(*map(flat, (r.student, r.ranks, r.masses, r.squares)), strict=True)
        own = [(math.exp(value) / mass if rank <= 50 else 0, square) for value, rank, mass, square in tokens]
        briers.append(mean([1 - 2 * q + square for q, square in own]))
    found = []
    for r, loss, brier in zip(responses, losses, briers, strict=True):
        mates = [i for i, other in enumerate(responses) if other.question == r.question]
        total = sum(losses[i] for i in mates)
        rho = {i: briers[i] / losses[i] for i in mates}
        found.append(loss / total * (2 * brier / loss - sum(rho[i] * losses[i] for i in mates) / total))
    return found


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=9),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_every_score_equals_its_formula(lengths, seed, beta):
    rng = np.random.default_rng(seed)
    responses = [a_response(of, rng) for of in lengths]
    found, expected = scores_of(frames(responses), beta), direct(responses, beta)
    assert found["rollout_id"].to_list() == [str(n) for n in range(len(responses))]
    for name in SCORES.keys() - {"random"}:
        for value, wanted in zip(found[name], expected[name], strict=True):
            assert value == (None if wanted is None else pytest.approx(wanted, rel=1e-6, abs=1e-9)), name


def test_every_score_has_its_formula_its_source_and_what_it_takes_in_its_docstring():
    for name, score in SCORES.items():
        function = score.over_pool or getattr(score.compute, "func", score.compute)
        for word in ("Source:", "Needs"):
            assert word in function.__doc__, name


RNG = np.random.default_rng(0)
POOL = [a_response([int(n) for n in RNG.integers(3, 7, 3)], RNG) for _ in range(8)]


def test_equal_candidates_have_equal_scores():
    found = scores_of(frames([*POOL, POOL[0]]))
    for name in SCORES.keys() - {"random"}:
        assert found[name][0] == found[name][-1], name


def test_what_the_student_did_not_score_has_no_scores_and_takes_none_from_the_others():
    whole = frames(POOL)
    lacking = whole | {"student": whole["student"].filter(pl.col("rollout_id") != "3")}
    found, expected = scores_of(lacking), scores_of(frames([r for n, r in enumerate(POOL) if n != 3]))
    random_alone = {"random", "lalp_1", "lalp_4"}
    assert [name for name in SCORES if found[name][3] is not None] == [n for n in SCORES if n in random_alone]
    others = found.filter(pl.col("rollout_id") != "3")
    for name in SCORES.keys() - random_alone:
        assert others[name].to_list() == pytest.approx(expected[name].to_list(), abs=1e-12), name


def test_a_score_that_is_missing_says_why_and_leaves_the_others():
    likelier_alone = replace(POOL[0], alone=[[value / 9 for value in s] for s in POOL[0].student])
    short = replace(POOL[1], **{n: [s[:2] for s in getattr(POOL[1], n)] for n in vars(POOL[1]) if n != "question"})
    found = scores_of(frames([likelier_alone, short, *POOL[2:]]))
    assert found["ifd"][0] is None
    assert "ifd: likelier alone than after its question, or not scored alone" in found["missing"][0]
    assert found["missing"][1].startswith("drop: no sentence has more than two tokens; casl: no sentence")
    assert found["grape"].null_count() == found["lark"].null_count() == found["casl"].null_count() - 1 == 0


def test_ranks_that_an_engine_does_not_tell_leave_rsr_null():
    found = frames(POOL)
    found["student"] = found["student"].with_columns(ranks=pl.lit(None, pl.List(pl.Int16)))
    table = scores_of(found)
    assert table["rsr"].null_count() == len(POOL)
    assert "rsr: the student's engine does not tell ranks" in table["missing"][0]


def test_too_few_candidates_or_all_alike_determine_no_fit():
    assert scores_of(frames(POOL[:3]))["casl"].null_count() == 3
    assert scores_of(frames([POOL[0]] * 6))["casl"].null_count() == 6


def test_casl_takes_away_the_effect_of_the_share_of_first_tokens():
    terms = RNG.normal(size=(9, 3))
    means = pl.DataFrame(dict(zip(("head_share", "head_mean", "rest_mean"), terms.T, strict=True)))
    means = means.with_columns(
        mean=0.5 * pl.col("rest_mean") + 0.3 * pl.col("head_mean") - 2 * pl.col("head_share") + 0.1
    )
    without = means["mean"] + 2 * means["head_share"]
    assert casl(means).to_list() == pytest.approx(without.to_list(), abs=1e-9)


def test_a_loss_of_zero_has_no_lark():
    sure = replace(POOL[0], student=[[0.0] * len(s) for s in POOL[0].student])
    found = scores_of(frames([sure, *POOL[1:]]))
    assert found["lark"][0] is None
    assert found["lark"][1:].null_count() == 0
    assert found["rsr"][0] == pytest.approx(sum(flat(sure.ranks)) / 1e-12)


def test_the_ratio_of_a_data_set_is_that_of_its_means():
    found = scores_of(frames(POOL))
    ranks = [mean(flat(r.ranks)) for r in POOL]
    surprisals = [-mean(flat(r.student)) for r in POOL]
    assert rsr_of_all(found) == pytest.approx(mean(ranks) / mean(surprisals))
    assert rsr_of_all(found.with_columns(rsr=pl.lit(None, pl.Float64))) is None


def test_scores_that_cost_no_model_are_those_that_need_nothing():
    assert set(SCORES) - set(ALWAYS) == {"lalp_1", "lalp_4", "ifd", "lark"}


def test_the_docs_name_every_score_and_every_ranking_has_those_that_it_says(request):
    docs = request.config.rootpath / "docs"
    assert [name for name in SCORES if f"`{name}`" not in (docs / "scores.md").read_text("utf-8")] == []
    [row] = [line for line in (docs / "artifacts.md").read_text("utf-8").splitlines() if line.startswith("| ranking |")]
    always, named = row.partition("always ")[2].split("; where the run names them ")
    assert re.findall(r"`(\w+)`", always) == ALWAYS
    assert set(re.findall(r"`(\w+)`", named.partition(" and the config's own")[0])) == set(SCORES) - set(ALWAYS)
