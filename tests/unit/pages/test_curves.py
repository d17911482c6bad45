import polars as pl
import pytest

import results
from builders import position_counts
from distrace.measures.positions import label_positions
from distrace.pages.curves import curve_numbers, reach


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        [trace] = results.write_results().traces("main")
        yield curve_numbers(trace)


def test_curves_are_by_sentence_and_by_tenth_and_without_reasoning_of_whole_responses_alone(found):
    assert {section: list(scales) for section, scales in found.items()} == {"all": ["sentence", "tenth"]}


def test_a_curve_holds_the_share_of_each_label_at_each_sentence(found):
    curves = found["all"]["sentence"]
    assert (curves["n"], curves["positions"]) == (4, 3)
    assert curves["right"]["responses"] == [2, 2, 1]
    assert curves["right"]["labels"]["Teacher"]["mean"] == [1, 0.5, 0]
    assert curves["wrong"]["labels"]["Boosted"]["mean"] == [1, 0, None]
    assert curves["all"]["responses"] == [4, 3, 1]
    assert curves["all"]["labels"]["Student"]["mean"] == [0.25, 0, 0]


def test_the_area_is_the_one_between_the_curves_and_has_an_interval(found):
    # As in test_numbers: first sentence Teacher 2/2 - 0, second 1/2 - 1.
    area = found["all"]["sentence"]["area"]["Teacher"]
    assert (area["mean"], area["n"], area["positions"]) == (0.25, 4, 2)
    assert area["low"] <= 0.25 <= area["high"]


def test_tenths_are_of_the_characters(found):
    # d1 is "Guess.\n5\n", 9 characters: the middles are at 3.5 and 8. d2 is "<<6>>\n6\n": at 3 and 7 of 8.
    wrong = found["all"]["tenth"]["wrong"]
    assert wrong["responses"][:9] == [0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert wrong["labels"]["Boosted"]["mean"][3] == 1
    assert wrong["labels"]["Teacher"]["mean"][8] == 1
    assert found["all"]["tenth"]["right"]["responses"][8] == 1


def test_reach_counts_how_many_sentences_responses_have():
    labels = pl.DataFrame(
        [(str(n), sentence, "Shared") for n, length in enumerate([1, 2, 2, 5]) for sentence in range(length)],
        schema=["rollout_id", "sentence", "label"],
        orient="row",
    )
    graded = pl.DataFrame({"rollout_id": list("0123"), "correct": [True, False, None, True]})
    positions = label_positions(labels, graded)
    assert position_counts(positions)
    assert reach(positions) == {"responses": 4, "half": 2, "tenth": 5, "most": 5}
    assert reach(positions.clear()) == {"responses": 0, "half": 0, "tenth": 0, "most": 0}
