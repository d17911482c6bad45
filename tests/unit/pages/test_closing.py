"""What a run says at its end, from contrived numbers."""

import json
import os

import pytest

from distrace.pages.closing import closing_lines, say_closing


def share(mean):
    return {"mean": mean, "low": mean, "high": mean, "n": 9}


@pytest.fixture
def numbers():
    trace = {
        "distilled": "d",
        "questions": "test",
        "sentences": 2096,
        "labels": {"Teacher": share(0.75), "Boosted": None},
    }
    accuracy = {"t": share(0.9), "s": share(0.1), "worse": share(0.2), "better": share(0.4), "unknown": {"mean": None}}
    run = {"teachers": ["t"], "student": "s", "traces": [trace], "accuracy": {"test": accuracy}}
    return {"runs": {"main": run}, "warnings": [], "accounting": [{"artifact": "a", "rejected": 0, "reasons": {}}]}


def test_the_lines_hold_labels_and_answers_of_student_and_best_distilled_model(numbers):
    found = list(closing_lines(numbers))
    assert found[0].startswith("the report: results/report/index.html")
    assert found[1] == "main, d on test: 2,096 sentences: Teacher 75.0 % (75.0-75.0), Boosted -"
    assert found[2] == (
        "main, right answers on test: t 90.0 % (90.0-90.0), s 10.0 % (10.0-10.0), better 40.0 % (40.0-40.0)"
    )
    assert found[3:] == ["no row was rejected"]


def test_rejects_and_warnings_are_counted_and_the_most_frequent_reason_is_named(numbers):
    numbers["warnings"] = [{}, {}]
    numbers["accounting"] += [
        {"artifact": "b", "rejected": 3, "reasons": {"long": 1, "empty": 2}},
        {"artifact": "c", "rejected": 1, "reasons": {"gone": 1}},
    ]
    *_, asked, rejected = closing_lines(numbers)
    assert asked.startswith("2 questions that a reviewer would ask")
    assert rejected.startswith("4 rows rejected, most of them in b (2 times: empty)")


def test_a_run_that_traces_nothing_still_ends_with_words(numbers):
    numbers["runs"] = {"main": numbers["runs"]["main"] | {"traces": [], "accuracy": {}}}
    assert len(list(closing_lines(numbers))) == 2


def test_a_report_of_an_earlier_run_is_not_told_again(numbers, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps(numbers))
    os.utime(path, (100, 100))
    say_closing(since=101, folder=tmp_path)
    assert capsys.readouterr().out == ""
    say_closing(since=99, folder=tmp_path)
    assert "2,096 sentences" in capsys.readouterr().out


def test_notes_are_said_again_at_the_end_with_a_report_or_without(tmp_path, capsys):
    say_closing(since=0, notes=["no GPU is found"], folder=tmp_path)
    assert capsys.readouterr().out == "note: no GPU is found\n"
    say_closing(since=0, folder=tmp_path)
    assert capsys.readouterr().out == ""
