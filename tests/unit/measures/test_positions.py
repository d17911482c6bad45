import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from builders import position_counts
from distrace.measures.labels import LABELS
from distrace.measures.positions import (
    MOST_POSITIONS,
    area_between_curves,
    label_positions,
    places_of,
    positions_by_question,
    summed_positions,
    without_empty_sections,
)


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


# For each question: of one response after the other, the characters and labels of its sentences.


def by_question(*responses: tuple) -> pl.DataFrame:
    """Return the counts by question of responses: question, right or wrong, characters of reasoning, sentences.

    A sentence is the number of its characters and its label.
    """
    rows, places, grades = [], [], []
    for name, (question, correct, answer_start, sentences) in enumerate(responses):
        start = 0
        for number, (length, label) in enumerate(sentences):
            rows.append((str(name), number, start, start + length, label))
            start += length
        places.append((str(name), question, answer_start))
        grades.append((str(name), correct))
    bounds = {"rollout_id": pl.String, "sentence": pl.Int32, "start": pl.Int32, "end": pl.Int32, "label": pl.String}
    cut = pl.DataFrame(rows, schema=bounds, orient="row")
    asked = pl.DataFrame(places, schema=["rollout_id", "question_id", "answer_start"], orient="row")
    schema = {"rollout_id": pl.String, "correct": pl.Boolean}
    graded = pl.DataFrame(grades, schema=schema, orient="row")
    labelled = cut.filter(pl.col("label").is_not_null())
    return positions_by_question(labelled, places_of(cut, asked), graded)


def lists(table: pl.DataFrame, section: str, scale: str) -> dict:
    """Return by question and correctness the counts of responses, and of Teacher sentences."""
    rows = table.filter(section=section, scale=scale).select("question_id", "correct", "responses", "Teacher").rows()
    return {(question, correct): (responses, teacher) for question, correct, responses, teacher in rows}


def test_counts_are_kept_for_each_question_and_right_and_wrong_responses_apart():
    table = by_question(
        ("x", True, 0, [(4, "Teacher"), (4, "Shared")]),
        ("x", True, 0, [(4, "Teacher")]),
        ("x", False, 0, [(4, "Boosted"), (4, "Boosted"), (4, "Teacher")]),
        ("y", None, 0, [(4, "Student")]),
    )
    assert lists(table, "all", "sentence") == {
        ("x", True): ([2, 1], [2, 0]),
        ("x", False): ([1, 1, 1], [0, 0, 1]),
        ("y", None): ([1], [0]),
    }


def test_a_tenth_is_that_of_the_middle_of_the_sentence():
    # 100 characters: the middles are at 10, 30, 65 and 95.
    table = by_question(("x", True, 0, [(20, "Teacher"), (20, "Shared"), (50, "Teacher"), (10, "Teacher")]))
    responses, teacher = lists(table, "all", "tenth")["x", True]
    assert responses == [0, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert teacher == [0, 1, 0, 0, 0, 0, 1, 0, 0, 1]


def test_reasoning_and_answer_have_positions_of_their_own():
    table = by_question(("x", True, 30, [(10, "Teacher"), (20, "Shared"), (10, "Shared"), (10, "Teacher")]))
    assert lists(table, "reasoning", "sentence") == {("x", True): ([1, 1], [1, 0])}
    assert lists(table, "answer", "sentence") == {("x", True): ([1, 1], [0, 1])}
    assert lists(table, "reasoning", "tenth")["x", True][0] == [0, 1, 0, 0, 0, 0, 1]
    assert lists(table, "answer", "tenth")["x", True][1] == [0, 0, 0, 0, 0, 0, 0, 1]


def test_a_sentence_without_a_label_leaves_the_others_where_they_are():
    table = by_question(("x", True, 0, [(10, None), (10, "Teacher"), (10, None)]))
    assert lists(table, "all", "sentence") == {("x", True): ([0, 1], [0, 1])}
    assert lists(table, "all", "tenth")["x", True][1] == [0, 0, 0, 0, 0, 1]


def test_sentences_beyond_a_bound_are_counted_by_tenth_alone():
    table = by_question(("x", True, 0, [(1, "Teacher")] * (MOST_POSITIONS + 10)))
    assert lists(table, "all", "sentence")["x", True][1] == [1] * MOST_POSITIONS
    assert sum(lists(table, "all", "tenth")["x", True][1]) == MOST_POSITIONS + 10


def test_without_reasoning_there_are_no_sections():
    plain = by_question(("x", True, 0, [(4, "Teacher")]))
    assert set(plain["section"]) == {"all", "answer"}
    assert set(without_empty_sections(plain)["section"]) == {"all"}
    thought = by_question(("x", True, 4, [(4, "Teacher")]))
    assert set(without_empty_sections(thought)["section"]) == {"all", "reasoning"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xy"), JUDGED, SHORT), min_size=1, max_size=5))
def test_the_counts_of_the_questions_add_up_to_the_positions_of_all(responses):
    names = {label[:2]: label for label in LABELS}
    table = by_question(
        *((question, correct, 0, [(3, names[short]) for short in row]) for question, correct, row in responses)
    ).filter(section="all", scale="sentence")
    sums = positions({f"{n}": (row, correct) for n, (_, correct, row) in enumerate(responses)})
    columns = ("position", "correct", "label", "sentences", "responses")
    for position, correct, label, sentences, reached in sums.select(columns).iter_rows():
        mine = table.filter(pl.col("correct").eq_missing(correct))
        counted = [row[position : position + 1] for row in mine[label].to_list()]
        assert sum(map(sum, counted)) == sentences
        assert sum(sum(row[position : position + 1]) for row in mine["responses"].to_list()) == reached
