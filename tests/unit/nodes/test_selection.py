import polars as pl
import pytest

from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.measures.strategies import STRATEGIES
from distrace.nodes.selection import write_selection

SCORES = ("teacher_count", "random", "longest", "grape")


def ranking(*rows: tuple) -> pl.DataFrame:
    """Return a ranking from rows of question and scores; a response is named by its row."""
    frame = pl.DataFrame(rows, schema=["question_id", *SCORES], orient="row")
    return frame.select(
        pl.int_range(pl.len()).cast(pl.String).alias("rollout_id"),
        "question_id",
        pl.lit(0).alias("sample"),
        *(pl.col(score).cast(pl.Float64) for score in SCORES),
    )


EXAMPLE = ranking(
    ("x", 3, 0.1, 50, -0.9),
    ("y", 1, 0.2, 10, -0.1),
    ("x", 2, 0.9, 90, -0.2),
    ("x", 1, 0.5, 20, -0.1),
    ("y", 0, 0.3, 20, -0.3),
)


@pytest.fixture
def ranked(tmp_path):
    write(tmp_path / "ranking.arrow", kinds.RANKING, EXAMPLE, {"of": 1})
    return tmp_path / "ranking.arrow"


def test_a_selection_is_an_artifact_made_from_its_ranking(ranked, tmp_path):
    found = set()
    for strategy in STRATEGIES:
        write_selection(ranked, strategy, tmp_path / "s.arrow")
        open_artifact(tmp_path / "s.arrow").require_made_from(open_artifact(ranked, kinds.RANKING))
        assert open_artifact(tmp_path / "s.arrow", kinds.SELECTION).rows == 2
        found.add(open_artifact(tmp_path / "s.arrow").fingerprint)
    assert len(found) == len(STRATEGIES)


def test_where_no_candidate_is_left_the_error_says_where_to_look(tmp_path):
    write(tmp_path / "ranking.arrow", kinds.RANKING, EXAMPLE.clear(), {})
    with pytest.raises(DistraceError, match=r"no candidate is left to select from; .*ranking\.rejects\.arrow says why"):
        write_selection(tmp_path / "ranking.arrow", "grape", tmp_path / "s.arrow")
