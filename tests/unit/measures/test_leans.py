import numpy as np
import polars as pl

from distrace.measures.leans import KIN, attributed_to, lean, nearness_differences, not_excluded


def test_three_teachers_are_compared_two_by_two():
    table = pl.DataFrame({"rollout_id": ["r"], "p_a": [0.9], "p_b": [0.5], "p_c": [0.1]})
    assert [lean(table, *pair, 0.1)["lean"][0] for pair in ("ab", "ac", "cb")] == [1, 1, -1]


def pair(teacher, other, difference, p):
    return {"teacher": teacher, "other": other, "difference": {"mean": difference}, "p_adjusted": p}


def test_the_teacher_that_beats_all_others_is_named():
    assert attributed_to([pair("a", "b", -0.5, 0.001)], ["a", "b"]) == "b"
    assert attributed_to([pair("a", "b", -0.5, 0.2)], ["a", "b"]) is None
    three = [pair("a", "b", 0.4, 0.001), pair("a", "c", -0.1, 0.3), pair("b", "c", -0.5, 0.001)]
    assert attributed_to(three, ["a", "b", "c"]) is None
    three[1]["p_adjusted"] = 0.01
    assert attributed_to(three, ["a", "b", "c"]) == "c"


def came(**means: float) -> list[dict]:
    return [{"teacher": name, "difference": {"mean": mean}, "p_adjusted": 0.001} for name, mean in means.items()]


def test_a_teacher_is_excluded_that_the_model_left_for_another_one_to_which_it_came_much_nearer():
    assert not_excluded([pair("a", "b", 0.5, 0.001)], came(a=0.8, b=0.1)) == ["a"]
    assert not_excluded([pair("a", "b", -0.5, 0.001)], came(a=0.1, b=0.8)) == ["b"]
    assert not_excluded([pair("a", "b", 0.5, 0.2)], came(a=0.8, b=0.1)) == ["a", "b"]


def test_siblings_stay_together_and_exclude_the_others_together():
    kin = came(a=0.8, b=0.8 / KIN, c=0.1)
    moves = [pair("a", "b", 0.5, 0.001), pair("a", "c", 0.9, 0.001), pair("b", "c", 0.9, 0.001)]
    assert not_excluded(moves, kin) == ["a", "b"]


def test_nothing_is_left_where_the_model_came_nearer_to_none():
    still = [{"teacher": "a", "difference": {"mean": 0.2}, "p_adjusted": 0.2}, *came(b=-0.5)]
    assert not_excluded([pair("a", "b", 0.5, 0.001)], still) == []


def test_a_model_came_as_near_to_a_teacher_as_its_sentences_became_likelier_under_it():
    rows = [
        ("q", "distilled", "a", "b", 0.75, 0.5),
        ("q", "student", "a", "b", 0.25, 0.5),
        ("q", "reference", "a", "b", 0.9, 0.9),
        ("r", "distilled", "a", "b", 0.75, 0.25),  # the student did not answer it
    ]
    columns = ["question_id", "role", "teacher", "other", "p_teacher", "p_other"]
    leans = pl.DataFrame(rows, schema=columns, orient="row")
    found = {teacher: nearness_differences(leans, teacher) for teacher in "ab"}
    assert {name: values[~np.isnan(values)].tolist() for name, values in found.items()} == {"a": [0.5], "b": [0.0]}


def test_only_sentences_that_both_teachers_scored_count():
    table = pl.DataFrame({"rollout_id": ["r", "r"], "p_a": [0.8, 0.2], "p_b": [0.4, None]})
    assert lean(table, "a", "b", 0.1).to_dicts() == [
        {"rollout_id": "r", "lean": 1.0, "sentences": 1, "p_teacher": 0.8, "p_other": 0.4}
    ]
