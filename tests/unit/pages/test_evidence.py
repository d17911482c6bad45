"""The shares of verbatim sentences in the report, on hand-made results."""

import copy

import pytest

import results
from distrace.pages.evidence import evidence_numbers
from distrace.pages.figure_files import report_figures
from distrace.pages.numbers import numbers_of
from distrace.pages.report import report_page


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return results.write_results()


def test_of_each_label_the_sentences_that_were_learned_word_for_word_are_counted(plan):
    [trace] = plan.traces("main")
    found = evidence_numbers(plan, trace)
    assert (found["verbatim_words"], found["training"]) == (8, {"responses": 1, "words": 3})
    assert found["control"] == {"responses": 2, "words": 4}
    counts = {label: row["sentences"] for label, row in found["shares"].items()}
    assert counts == {"Teacher": 4, "Student": 1, "Shared": 2, "Boosted": 1, "all": 8}
    assert found["shares"]["all"]["training"]["mean"] == 0
    assert found["shares"]["all"]["training"]["n"] == 4
    assert found["shares"]["Student"]["training"]["n"] == 1
    assert found["shares"]["Student"]["words"] == 2


def test_the_learned_answer_is_verbatim_and_its_label_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traced = copy.deepcopy(results.TRACED)
    traced["d1"][2][1] = ("10\n", results.TEACHER)
    monkeypatch.setattr(results, "TRACED", traced)
    plan = results.write_results()
    shares = evidence_numbers(plan, plan.traces("main")[0])["shares"]
    assert shares["Teacher"]["training"]["mean"] == shares["Teacher"]["difference"]["mean"] == 1 / 4
    assert shares["all"]["training"]["mean"] == 1 / 8
    assert shares["Teacher"]["control"]["mean"] == 0


def test_a_label_that_no_sentence_has_is_shown_without_shares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shared = [(text, results.SHARED) for text in ("One.\n", "Two.\n")]
    monkeypatch.setattr(results, "TRACED", {name: (*found[:2], shared) for name, found in results.TRACED.items()})
    plan = results.write_results()
    numbers = numbers_of(plan)
    shares = numbers["runs"]["main"]["traces"][0]["evidence"]["shares"]
    assert (shares["Shared"]["sentences"], shares["Shared"]["control"]["mean"]) == (8, 0)
    assert shares["Boosted"] == {"sentences": 0} | dict.fromkeys(("words", "training", "control", "difference"))
    assert "In the training data word for word" in report_page(plan, numbers, report_figures(numbers))


def test_the_page_shows_the_table_and_a_model_that_no_run_trained_has_none(plan):
    numbers = numbers_of(plan)
    page = report_page(plan, numbers, report_figures(numbers))
    assert "In the training data word for word" in page
    assert "1 responses\n  (3 words)" in page
    numbers["runs"]["main"]["traces"][0]["evidence"] = None
    assert "word for word" not in report_page(plan, numbers, report_figures(numbers))
