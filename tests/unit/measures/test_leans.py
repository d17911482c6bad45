import polars as pl

from distrace.measures.leans import attributed_to, lean


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
