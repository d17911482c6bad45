"""Paths lead to values inside of rows, and say where they end if they do not."""

import json
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.errors import BadRow, DistraceError
from distrace.paths import leads_to_list, one_of, path_reader

CHAT = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant"}]}
BATCH = {"body": {"choices": [{"text": "a", "ids": [1, 2]}, {"text": "b", "ids": []}]}, "none": None}


@pytest.mark.parametrize(
    ("path", "row", "value"),
    [
        ("messages[1].content", CHAT, "q"),
        ("messages[-2].content", CHAT, "q"),
        ("messages[role=user].content", CHAT, ["q"]),
        ("messages[role=tool].content", CHAT, []),
        ("body.choices[*].text", BATCH, ["a", "b"]),
        ("body.choices[*].ids[*]", BATCH, [[1, 2], []]),
        ("body.choices[0].ids", BATCH, [1, 2]),
        ("none", BATCH, None),
        ("x | none", BATCH, None),
        ("body.x | body.choices[0].text | none", BATCH, "a"),
        ("doc.question", {"doc": json.dumps({"question": "q"})}, "q"),
        ("6b tuned.is right", {"6b tuned": {"is right": False}}, False),
        ("a.b", {"a.b": 1, "a": {"b": 2}}, 1),
        ("a[", {"a[": 1}, 1),
    ],
)
def test_a_path_leads_to_a_value(path, row, value):
    assert path_reader(path)(row) == value


@pytest.mark.parametrize(
    ("path", "row", "reason"),
    [
        ("x", {"a": 1}, r"the row has no 'x', but \['a'\]"),
        ("a.b", {"a": None}, "'a' has no 'b', but None"),
        ("a.b.c", {"a": {"b": "text"}}, "'b' has no 'c', but 'text'"),
        ("a[2]", {"a": [1]}, "'a' has no item 2, but 1"),
        ("a[*].b", {"a": [{"b": 1}, {}]}, "an item of 'a' has no 'b'"),
        ("a[*]", {"a": "[1"}, "'a' is no list, but '\\[1'"),
        ("x | y", {"a": 1}, "the row has no 'x'.*; the row has no 'y'"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_bad_row_that_says_where_it_ends(path, row, reason):
    with pytest.raises(BadRow, match=reason):
        path_reader(path)(row)


@pytest.mark.parametrize("path", ["a[", "a[x]", "a..b", ".a", "", "a]"])
def test_what_is_no_path_is_an_error_that_shows_it(path):
    with pytest.raises(DistraceError, match="is no path to a column"):
        path_reader(path)({"b": 1})


def test_a_list_that_a_path_makes_stands_for_its_only_value():
    assert one_of(["q"], "m[role=user].content") == "q"
    assert one_of(["q"], "column") == ["q"]
    for values in ([], ["q", "r"]):
        with pytest.raises(BadRow, match=f"leads to {len(values)} values, not to one"):
            one_of(values, "m[*].content")
    assert leads_to_list("a[*].b")
    assert not leads_to_list("a[0].b")


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers(),
        lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from("abc"), inside),
        max_leaves=12,
    ),
    st.lists(st.sampled_from("abc") | st.integers(-2, 2), min_size=1, max_size=4),
)
def test_a_path_of_names_and_items_is_what_python_would_look_up(value, steps):
    path = "top" + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in steps)
    row = {"top": value}
    try:
        expected = reduce(lambda inside, step: inside[step], steps, value)
    except (KeyError, IndexError, TypeError):
        with pytest.raises(BadRow):
            path_reader(path)(row)
    else:
        assert path_reader(path)(row) == expected
