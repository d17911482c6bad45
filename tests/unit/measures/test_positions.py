import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from builders import position_counts
from distrace.measures.labels import LABELS
from distrace.measures.positions import area_between_curves, label_positions, summed_positions


def labelled(**labels: str) -> pl.DataFrame:
    """Return the labels of the sentences of responses, each as the first letters of its labels."""
    names = {label[:2]: label for label in LABELS}
    rows = [
        (response, number, names[short]) for response, row in labels.items() for number, short in enumerate(row.split())
    ]
    schema = {"rollout_id": pl.String, "sentence": pl.Int32, "label": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def graded(**correct: bool | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"rollout_id": list(correct), "correct": list(correct.values())},
        schema={"rollout_id": pl.String, "correct": pl.Boolean},
    )


def test_labels_are_counted_by_position_for_right_and_wrong_responses_apart():
    table = label_positions(labelled(a="Te Sh", b="Te", c="St Te Bo", d="Bo"), graded(a=True, b=True, c=False, d=True))
    assert position_counts(table) == {
        (0, True): {"Teacher": (2, 3), "Boosted": (1, 3)},
        (1, True): {"Shared": (1, 1)},
        (0, False): {"Student": (1, 1)},
        (1, False): {"Teacher": (1, 1)},
        (2, False): {"Boosted": (1, 1)},
    }


def test_every_label_has_a_row_at_every_position_that_is_reached():
    table = label_positions(labelled(a="Te Te"), graded(a=True))
    assert table.select("position", "label").rows() == [(p, label) for p in (0, 1) for label in sorted(LABELS)]


def test_responses_that_were_not_judged_stand_apart():
    table = label_positions(labelled(a="Te", b="Te", c="St"), graded(a=None, b=True))
    assert position_counts(table) == {(0, True): {"Teacher": (1, 1)}, (0, None): {"Teacher": (1, 2), "Student": (1, 2)}}


def test_a_rejected_sentence_leaves_the_others_at_their_positions():
    table = label_positions(labelled(a="Te Sh Bo").filter(pl.col("sentence") != 1), graded(a=True))
    assert set(table["position"]) == {0, 2}


SHORT = st.lists(st.sampled_from(["Te", "St", "Sh", "Bo"]), max_size=4)
JUDGED = st.sampled_from([True, False, None])


def positions(responses: dict[str, tuple[list[str], bool | None]]) -> pl.DataFrame:
    """Return the positions of responses, each given by its labels and whether it is right."""
    labels = {name: " ".join(row) for name, (row, _) in responses.items()}
    return label_positions(labelled(**labels), graded(**{name: correct for name, (_, correct) in responses.items()}))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.tuples(SHORT, JUDGED)))
def test_no_sentence_is_lost(responses):
    table = positions(responses)
    assert table["sentences"].sum() == sum(len(row) for row, _ in responses.values())
    for _, rows in table.group_by("position", "correct"):
        assert rows["sentences"].sum() == rows["responses"].first()
        assert len(rows) == len(LABELS)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(SHORT, JUDGED), max_size=3), min_size=1, max_size=4))
def test_the_sums_over_parts_are_the_positions_of_all_responses_together(parts):
    named = [{f"{n}_{m}": response for m, response in enumerate(part)} for n, part in enumerate(parts)]
    together = positions({name: response for part in named for name, response in part.items()})
    assert_frame_equal(summed_positions(map(positions, named)), together, check_column_order=False)


def test_without_wrong_responses_there_is_no_area_between_curves():
    positions = pl.DataFrame(
        {"position": [0], "correct": [True], "label": ["Teacher"], "sentences": [1], "responses": [1]}
    )
    assert area_between_curves(positions) == {}
