from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from distrace.pages.texts import (
    counted,
    explorer_link,
    file_name,
    interval_text,
    linked,
    listed,
    points_text,
    signed_text,
)


@pytest.mark.parametrize(
    ("interval", "text"),
    [(None, "-"), ({"mean": None}, "-"), ({"mean": 0.62, "low": 0.551, "high": 0.687, "n": 3}, "62.0 % (55.1-68.7)")],
)
def test_an_interval_is_written_in_percent(interval, text):
    assert interval_text(interval) == text


def test_a_difference_has_its_sign_and_zero_a_plus():
    difference = {"mean": -0.0001, "low": -0.25, "high": 0.0312}
    assert signed_text(difference) == "+0.000 (-0.250 to +0.031)"
    assert points_text(difference) == "+0.0 (-25.0 to +3.1)"
    assert signed_text(None) == "-"


def test_one_thing_is_singular_and_thousands_are_apart():
    assert [counted(number, "row") for number in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


def test_a_list_is_written_out_and_what_is_not_markup_is_escaped():
    assert listed([]) == "none"
    assert listed(["a"]) == "a"
    assert listed(["a", "<b>", Markup("<i>c</i>")]) == "a, &lt;b&gt; and <i>c</i>"


@given(st.text(min_size=1))
def test_the_explorer_reads_what_the_link_was_made_with(value):
    page, _, state = explorer_link(trace="run/teacher/a.0/test/answer", search=value).partition("#")
    assert page == "explorer.html"
    # As URLSearchParams does, where a plus is a space.
    assert parse_qs(state, keep_blank_values=True) == {"trace": ["run/teacher/a.0/test/answer"], "search": [value]}
    assert not set(state) & set(" \"<>+&'") - {"&"}


def test_a_link_leaves_out_what_is_not_given_and_writes_spaces_as_percent_20():
    assert explorer_link(trace="r/t", label=None, search="so, wait") == "explorer.html#trace=r/t&search=so%2C%20wait"
    assert linked("<2>", response="a b") == '<a href="explorer.html#response=a%20b">&lt;2&gt;</a>'


def test_files_of_different_places_have_different_names():
    assert file_name("labels", "main/teacher/main.teacher.longest.0/test/answer") == (
        "labels.main.teacher.main.teacher.longest.0.test.answer"
    )
