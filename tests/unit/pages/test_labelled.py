import pytest

import results
from distrace.pages.labelled import habit_sentences, labelled_sentences


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        yield results.write_results()


def test_sentences_come_part_by_part_with_the_verdict_on_their_response(plan):
    [trace] = plan.traces("main")
    parts = list(labelled_sentences(plan, trace))
    assert [len(part) for part in parts] == [5, 3]
    verdicts = {row["rollout_id"]: row["correct"] for part in parts for row in part.iter_rows(named=True)}
    assert len({name for name, correct in verdicts.items() if correct}) == 2


def test_the_sentences_of_a_habit_are_those_that_its_expression_matches(plan):
    [trace] = plan.traces("main")
    shown = [part["notes"] for part in habit_sentences(plan, trace)]
    assert [part["label"].to_list() for part in shown] == [["Teacher", "Shared"], ["Teacher"]]
    assert [part["sentence"].to_list() for part in shown] == [[0, 2], [0]]
