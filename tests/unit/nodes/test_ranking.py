import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from builders import (
    rejects_of,
    write_lines,
    write_logprobs,
    write_parts,
    write_probabilities,
    write_questions,
    write_rollouts,
)
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.measures.scores import ALWAYS
from distrace.nodes.ranking import write_ranking

TEXTS = {"a": ("Why?", "One.\nTwo.\nThree.\n"), "b": ("Why?", "Four.\n"), "c": ("How?", "Five.\nSix.\n")}
TEACHER = {"a": [0.9, 0.5, 0.3], "b": [0.2], "c": [0.8, 0.8]}
STUDENT = {"a": [0.5, 0.45, 0.6], "b": [0.8], "c": [0.1, 0.1]}


class Candidates:
    """The artifacts of one part of candidate responses, and its ranking."""

    def __init__(self, folder, texts=TEXTS, teacher=TEACHER, student=STUDENT, **columns):
        self.folder = folder
        questions = write_questions(folder / "q.arrow", {"Why?": "so", "How?": "thus"})
        self.rollouts = write_rollouts(folder / "r.arrow", questions, texts, **columns)
        self.sentences = write_lines(folder / "s.arrow", self.rollouts)
        self.teacher = write_probabilities(folder / "t.arrow", self.sentences, self.rollouts, teacher)
        self.student = write_probabilities(folder / "u.arrow", self.sentences, self.rollouts, student)
        self.out = folder / "ranking.arrow"

    def paths(self) -> dict[str, Path]:
        return {name: getattr(self, name) for name in ("rollouts", "sentences", "teacher", "student", "out")}

    def rank(self, beta: float = 0.1, seed: int = 0) -> dict[str, dict]:
        return rank(**self.paths(), beta=beta, seed=seed)


def rank(rollouts, sentences, teacher, student, out, beta: float = 0.1, seed: int = 0, **options) -> dict[str, dict]:
    """Write the ranking; return its rows by rollout id."""
    write_ranking(rollouts, sentences, teacher, student, beta, seed, out, **options)
    return {row["rollout_id"]: row for row in open_artifact(out, kinds.RANKING).read().iter_rows(named=True)}


@pytest.fixture
def candidates(tmp_path):
    return Candidates(tmp_path)


def test_every_candidate_gets_the_scores_of_its_teacher_and_its_student(candidates):
    ranked = candidates.rank()
    assert {name: row["teacher_count"] for name, row in ranked.items()} == {"a": 1, "b": 0, "c": 2}
    assert {name: row["grape"] for name, row in ranked.items()} == {
        name: pytest.approx(sum(map(math.log, values)) / len(values)) for name, values in STUDENT.items()
    }
    assert {name: row["longest"] for name, row in ranked.items()} == {"a": 3, "b": 1, "c": 2}


def test_candidates_keep_their_order_question_and_sample(candidates):
    ranked = candidates.rank()
    responses = open_artifact(candidates.rollouts, kinds.ROLLOUTS).read()
    assert list(ranked) == responses["rollout_id"].to_list()
    assert [row["question_id"] for row in ranked.values()] == responses["question_id"].to_list()
    assert [row["sample"] for row in ranked.values()] == [0, 1, 2]
    assert rejects_of(candidates.out) == []


@pytest.mark.parametrize(
    ("columns", "reason"), [({"finish_reason": "length"}, "cut off at max_tokens: a student would learn not to end")]
)
def test_responses_that_were_cut_off_are_rejected(tmp_path, columns, reason):
    candidates = Candidates(tmp_path, **columns)
    assert candidates.rank() == {}
    assert rejects_of(candidates.out) == [
        {"source": name, "row": row, "reason": reason} for row, name in enumerate("abc")
    ]


def test_imported_responses_are_ranked(tmp_path):
    assert len(Candidates(tmp_path, finish_reason="imported").rank()) == 3


@pytest.mark.parametrize("scorer", ["teacher", "student"])
def test_a_response_that_a_model_did_not_score_is_rejected(tmp_path, scorer):
    scores = {"teacher": TEACHER, "student": STUDENT}
    scores[scorer] = {name: values for name, values in scores[scorer].items() if name != "b"}
    candidates = Candidates(tmp_path, **scores)
    assert list(candidates.rank()) == ["a", "c"]
    assert rejects_of(candidates.out) == [{"source": "b", "row": 1, "reason": f"the {scorer} did not score it"}]


def test_an_empty_response_is_rejected(tmp_path):
    candidates = Candidates(
        tmp_path, {"a": ("Why?", ""), "b": TEXTS["b"]}, {"a": [], "b": [0.2]}, {"a": [], "b": [0.1]}
    )
    assert list(candidates.rank()) == ["b"]
    assert rejects_of(candidates.out) == [{"source": "a", "row": 0, "reason": "an empty response"}]


def test_a_response_without_a_sentence_that_both_models_read_is_rejected(tmp_path):
    candidates = Candidates(tmp_path, {"a": ("Why?", "One.\nTwo.\n")}, {"a": [0.5, 0.5]}, {"a": [0.5, 0.5]})
    candidates.teacher = write_logprobs(tmp_path / "x.arrow", candidates.rollouts, {"a": [(0, 5, -1.0)]})
    candidates.student = write_logprobs(tmp_path / "y.arrow", candidates.rollouts, {"a": [(5, 10, -1.0)]})
    assert candidates.rank() == {}
    reason = "no sentence has tokens of both teacher and student"
    assert rejects_of(candidates.out) == [{"source": "a", "row": 0, "reason": reason}]


def test_parts_are_ranked_in_order_and_rejects_numbered_through(tmp_path):
    parts = [
        Candidates(tmp_path / "0", {"a": TEXTS["a"]}, {"a": TEACHER["a"]}, {"a": STUDENT["a"]}),
        Candidates(tmp_path / "1", {}, {}, {}),
        Candidates(tmp_path / "2", {"b": TEXTS["b"], "c": TEXTS["c"]}, {"b": [0.2]}, {"b": [0.8], "c": [0.1, 0.1]}),
    ]
    lists = [
        write_parts(tmp_path / name, *(getattr(part, name) for part in parts))
        for name in ("rollouts", "sentences", "teacher", "student")
    ]
    assert list(rank(*lists, tmp_path / "out.arrow")) == ["a", "b"]
    assert [(reject["source"], reject["row"]) for reject in rejects_of(tmp_path / "out.arrow")] == [("c", 2)]


@pytest.mark.parametrize("name", ["sentences", "teacher", "student"])
def test_what_was_made_from_other_rollouts_is_refused(candidates, tmp_path, name):
    other = Candidates(tmp_path / "other", {"b": TEXTS["b"]}, {"b": [0.2]}, {"b": [0.8]})
    setattr(candidates, name, getattr(other, name))
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        candidates.rank()


def test_the_fingerprint_follows_beta_seed_and_inputs(candidates):
    found = set()
    for beta, seed in ((0.1, 0), (0.2, 0), (0.1, 1)):
        candidates.rank(beta, seed)
        found.add(open_artifact(candidates.out).fingerprint)
    candidates.teacher, candidates.student = candidates.student, candidates.teacher
    candidates.rank()
    found.add(open_artifact(candidates.out).fingerprint)
    assert len(found) == 4


def test_columns_that_the_ranking_adds_are_plain_arrow(candidates):
    candidates.rank()
    assert pl.read_ipc(candidates.out).schema["finish_reason"] == pl.String


# What scores need beyond log-probs in context `full`


def write_context(candidates, context: str, tokens: dict | None = None, name: str = "", **columns) -> Path:
    """Write log-probs of the student in a context, by default those of `STUDENT`."""
    path = candidates.folder / f"{name or context}.arrow"
    made = open_artifact(candidates.student, kinds.LOGPROBS)
    frame = made.read() if tokens is None else open_artifact(write_logprobs(path, candidates.rollouts, tokens)).read()
    write(path, kinds.LOGPROBS, frame.with_columns(**columns), made.identity | {"context": context})
    return path


def test_scores_of_other_contexts_are_columns_where_they_are_asked_for(candidates):
    alone = write_context(candidates, "alone", {name: [(0, 4, -2.0)] for name in TEXTS})
    near = write_context(candidates, "window-1")
    options = {"scores": ["lalp_1", "ifd", *ALWAYS], "contexts": [near, alone]}
    ranked = rank(**candidates.paths(), **options)
    assert [row["lalp_1"] for row in ranked.values()] == pytest.approx(
        [sum(map(math.log, values)) / len(values) for values in STUDENT.values()]
    )
    assert ranked["b"]["ifd"] == pytest.approx(-math.log(0.8) / 2)
    assert (ranked["c"]["ifd"], ranked["c"]["grape"]) == (None, pytest.approx(math.log(0.1)))
    assert "ifd: likelier alone than after its question" in ranked["c"]["missing"]
    assert "lalp_1" not in candidates.rank()["a"]


def test_a_context_that_a_score_needs_must_be_there(candidates):
    with pytest.raises(DistraceError, match="needs the student's log-probs in context 'window-4'"):
        rank(**candidates.paths(), scores=["lalp_4"], contexts=[write_context(candidates, "window-1")])


def test_sums_over_the_most_probable_tokens_must_be_there(candidates):
    with pytest.raises(DistraceError, match="holds no sums over the 50 most probable tokens"):
        rank(**candidates.paths(), scores=["lark", *ALWAYS])
    made = open_artifact(candidates.student, kinds.LOGPROBS)
    ones = pl.col("logprobs").list.eval(pl.lit(1.0) + 0 * pl.element()).cast(pl.List(pl.Float32))
    frame = made.read().with_columns(top_masses=ones, top_squares=ones)
    write(candidates.student, kinds.LOGPROBS, frame, made.identity | {"top_probabilities": 50})
    row = rank(**candidates.paths(), scores=["lark", *ALWAYS])["c"]  # alone for its question, so lark is brier / loss
    assert row["lark"] == pytest.approx((1 - 2 * 0.1 + 1) / -math.log(0.1))


def test_scores_that_compare_candidates_do_so_over_all_parts(tmp_path):
    texts = dict.fromkeys("abcdefgh", ("Why?", "One two.\nThree.\n"))
    rng = np.random.default_rng(0)

    def tokens() -> list[tuple[int, int, float]]:
        ends = sorted(rng.choice(np.arange(1, 16), int(rng.integers(7, 12)), replace=False).tolist())
        return [(a, b, -float(rng.exponential())) for a, b in pairwise([0, *ends])]

    by_student = {name: tokens() for name in texts}

    def part(folder: Path, names: str) -> Candidates:
        values = {name: [0.5, 0.5] for name in names}
        made = Candidates(folder, {name: texts[name] for name in names}, values, values)
        write_logprobs(made.student, made.rollouts, {name: by_student[name] for name in names})
        return made

    whole = part(tmp_path / "all", "abcdefgh").rank()
    parts = [part(tmp_path / names, names) for names in ("abc", "defgh")]
    lists = {
        name: write_parts(tmp_path / name, *(getattr(part, name) for part in parts))
        for name in ("rollouts", "sentences", "teacher", "student")
    }
    in_parts = rank(**lists, out=tmp_path / "out.arrow")
    for name in texts:
        assert whole[name]["casl"] is not None
        assert in_parts[name]["casl"] == pytest.approx(whole[name]["casl"], abs=1e-12)


def test_a_score_of_the_users_is_a_column_and_its_content_part_of_the_fingerprint(candidates, tmp_path):
    file = tmp_path / "mine.py"
    found = set()
    for factor in (1, 2):
        file.write_text(f"def score(candidates):\n    return {factor} * candidates.responses['text'].str.len_chars()\n")
        ranked = rank(**candidates.paths(), own_scores={"mine": {"file": str(file), "pick": "lowest", "needs": []}})
        assert [row["mine"] for row in ranked.values()] == [factor * len(text) for _, text in TEXTS.values()]
        found.add(open_artifact(candidates.out).fingerprint)
    assert len(found) == 2
