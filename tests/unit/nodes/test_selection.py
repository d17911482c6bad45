import pytest

from builders import RANKED
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.measures.strategies import STRATEGIES
from distrace.nodes.selection import write_selection


@pytest.fixture
def ranked(tmp_path):
    write(tmp_path / "ranking.arrow", kinds.RANKING, RANKED, {"of": 1})
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
    write(tmp_path / "ranking.arrow", kinds.RANKING, RANKED.clear(), {})
    with pytest.raises(DistraceError, match=r"no candidate is left to select from; .*ranking\.rejects\.arrow says why"):
        write_selection(tmp_path / "ranking.arrow", "grape", tmp_path / "s.arrow")
