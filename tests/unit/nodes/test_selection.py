from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from builders import RANKED, rejects_of, write_grades, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.measures.strategies import Equal, Strategy
from distrace.nodes.selection import write_selection

KNOWN = {
    "grape": Strategy("grape"),
    "longest": Strategy("longest"),
    "one": Strategy("grape", responses=1),
    "two": Strategy("grape", responses=2),
    "right": Strategy("grape", only_right=True),
    "twin": Strategy(length_matched_to="grape"),
}


def selected(folder: Path, strategy: str, rankings: list[Path], **options) -> pl.DataFrame:
    """Write a selection from rankings of teachers a, b, ..; return its rows."""
    teachers = list("abc"[: len(rankings)])
    strategies = {name: asdict(settings) for name, settings in KNOWN.items()}
    write_selection(rankings, teachers, strategy, strategies, folder / "s.arrow", **options)
    return open_artifact(folder / "s.arrow", kinds.SELECTION).read()


def chosen(folder: Path, strategy: str, rankings: list[Path], **options) -> list[str]:
    found = selected(folder, strategy, rankings, **options)
    return found.filter(pl.col("rank").is_not_null())["rollout_id"].to_list()


@pytest.fixture
def ranked(tmp_path) -> Path:
    write(tmp_path / "ranking.arrow", kinds.RANKING, RANKED, {"of": 1})
    return tmp_path / "ranking.arrow"


@pytest.fixture
def of_another_teacher(tmp_path) -> Path:
    table = RANKED.with_columns(rollout_id="b" + pl.col("rollout_id"), grape=pl.col("grape") + 0.05)
    write(tmp_path / "other.arrow", kinds.RANKING, table, {"of": 2})
    return tmp_path / "other.arrow"


def write_grades_of_ranked(folder: Path, right: dict[str, bool | None]) -> Path:
    """Write the list of the grades of the candidates of `RANKED`."""
    texts = {row["rollout_id"]: (row["question_id"], "so") for row in RANKED.to_dicts()}
    questions = write_questions(folder / "q.arrow", {"x": "1", "y": "2"})
    rollouts = write_rollouts(folder / "r.arrow", questions, texts)
    return write_parts(folder / "graded", write_grades(folder / "g.arrow", rollouts, right))


def test_a_selection_holds_every_candidate_with_its_rank_and_reason(ranked, tmp_path):
    found = selected(tmp_path, "grape", [ranked])
    assert found["rollout_id"].to_list() == ["3", "0", "2", "1", "4"]
    assert found["rank"].to_list() == [1, None, None, 1, None]
    assert found.schema["rank"] == pl.Int32
    assert found["reason"][0] == "grape -0.1 is number 1 of 3, highest first"
    assert found["tokens"].to_list() == [20, 50, 90, 10, 20]
    assert set(found["teacher"]) == {"a"}
    assert rejects_of(tmp_path / "s.arrow") == []


def test_the_fingerprint_follows_the_strategies_the_inputs_and_the_seed(ranked, of_another_teacher, tmp_path):
    found = set()
    for strategy, rankings, options in (
        ("grape", [ranked], {}),
        ("longest", [ranked], {}),
        ("grape", [of_another_teacher], {}),
        ("grape", [ranked, of_another_teacher], {}),
        ("grape", [ranked], {"seed": 1}),
        ("grape", [ranked], {"equal": Equal("tokens", ["grape", "longest"])}),
        ("grape", [ranked], {"equal": Equal("responses", ["grape", "longest"])}),
    ):
        selected(tmp_path, strategy, rankings, **options)
        found.add(open_artifact(tmp_path / "s.arrow").fingerprint)
    assert len(found) == 7


def test_the_candidates_of_several_teachers_are_one_pool(ranked, of_another_teacher, tmp_path):
    found = selected(tmp_path, "grape", [ranked, of_another_teacher])
    best = found.filter(pl.col("rank").is_not_null())
    assert best.select("rollout_id", "teacher").rows() == [("b3", "b"), ("b1", "b")]
    assert len(found) == 2 * len(RANKED)
    assert chosen(tmp_path, "two", [ranked, of_another_teacher]) == ["b3", "b1"]


def test_only_right_candidates_are_chosen_and_a_question_without_one_is_counted(ranked, tmp_path, caplog):
    grades = write_grades_of_ranked(tmp_path, {"0": True, "1": False, "2": False, "3": None, "4": False})
    assert chosen(tmp_path, "right", [ranked], grades=[grades]) == ["0"]
    assert rejects_of(tmp_path / "s.arrow") == [
        {"source": "y", "row": 1, "reason": "no candidate is eligible: the answer is wrong"}
    ]
    assert "1 questions have no eligible candidate, such as y" in caplog.text


def test_grades_of_other_candidates_are_refused(ranked, tmp_path):
    grades = write_grades_of_ranked(tmp_path, {"0": True, "1": False})
    with pytest.raises(DistraceError, match=r"parts\.arrow holds grades of 2 of the 5 candidates in .*ranking\.arrow"):
        chosen(tmp_path, "right", [ranked], grades=[grades])


def test_strategies_get_as_much_as_the_one_that_chooses_least(ranked, tmp_path):
    equal = Equal("responses", ["grape", "one", "twin"])
    assert [len(chosen(tmp_path, name, [ranked], equal=equal, seed=4)) for name in equal.strategies] == [1, 1, 1]
    assert len(chosen(tmp_path, "grape", [ranked], equal=Equal("responses", ["grape", "twin"]))) == 2


def test_where_no_candidate_is_left_the_error_says_where_to_look(tmp_path):
    write(tmp_path / "ranking.arrow", kinds.RANKING, RANKED.clear(), {})
    with pytest.raises(DistraceError, match=r"no candidate is left to select from; .*ranking\.rejects\.arrow says why"):
        selected(tmp_path, "grape", [tmp_path / "ranking.arrow"])


def test_a_strategy_that_chooses_nothing_is_an_error_that_says_why(ranked, tmp_path):
    grades = write_grades_of_ranked(tmp_path, dict.fromkeys("01234", False))
    with pytest.raises(DistraceError, match=r"'right' chooses none of 5 candidates; .*: the answer is wrong"):
        selected(tmp_path, "right", [ranked], grades=[grades])
    with pytest.raises(DistraceError, match="all of grape, right get as many responses as the one that chooses least"):
        selected(tmp_path, "grape", [ranked], grades=[grades], equal=Equal("responses", ["grape", "right"]))
