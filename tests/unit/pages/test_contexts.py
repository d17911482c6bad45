import copy

import pytest

import results
from distrace.pages.contexts import context_numbers
from distrace.pages.figure_files import report_figures
from distrace.pages.figures import context_figure, rows_of
from distrace.pages.findings import findings
from distrace.pages.numbers import numbers_of
from distrace.pages.report import report_page

CONTEXTS = ["window-1", "alone"]


def config() -> dict:
    found = copy.deepcopy(results.CONFIG)
    found["runs"]["main"]["contexts"] = CONTEXTS
    return found


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        yield results.write_results(config())


@pytest.fixture(scope="module")
def numbers(plan):
    return numbers_of(plan)


@pytest.fixture(scope="module")
def found(numbers):
    [trace] = numbers["runs"]["main"]["traces"]
    return trace["contexts"]


def mean(interval: dict | None) -> float | None:
    return interval and interval["mean"]


def test_a_run_that_names_no_context_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = results.write_results()
    [trace] = plan.traces("main")
    assert context_numbers(plan, trace) == {}


def test_labels_are_those_of_sentences_that_every_context_labels(found):
    assert list(found) == ["full", *CONTEXTS]
    assert [(row["sentences"], row["left_out"]) for row in found.values()] == [(7, 1), (7, 0), (7, 0)]
    assert [mean(row["labels"]["Teacher"]) for row in found.values()] == pytest.approx([4 / 7, 5 / 7, 5 / 7])
    assert [mean(row["changed"]) for row in found.values()] == pytest.approx([0, 1 / 7, 1 / 7])
    assert found["alone"]["became"]["Shared"] == {"Teacher": 1, "Student": 0, "Shared": 1, "Boosted": 0}


def test_the_fall_along_the_response_is_told_for_all_sentences_and_for_each_habit(found):
    # First sentences of d0, d1 and d2: two of three Teacher; of the four later ones two, where models see less three.
    along = {context: row["along"] for context, row in found.items()}
    assert [mean(row["first"]) for row in along.values()] == pytest.approx([2 / 3] * 3)
    assert [mean(row["later"]) for row in along.values()] == pytest.approx([2 / 4, 3 / 4, 3 / 4])
    assert mean(along["window-1"]["gone"]) == pytest.approx(1 / 4)
    # Notes: the first ones of d0 and d2 are Teacher, the second of d0 only where models see less.
    notes = {context: row["habits"]["notes"]["along"] for context, row in found.items()}
    assert [mean(row["first"]) for row in notes.values()] == [1, 1, 1]
    assert [mean(row["later"]) for row in notes.values()] == [0, 1, 1]
    assert (mean(notes["full"]["fall"]), mean(notes["window-1"]["fall"])) == (1, 0)
    assert mean(notes["window-1"]["gone_share"]) == 1


def test_the_whole_context_keeps_its_numbers(numbers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [alone], [beside] = (n["runs"]["main"]["traces"] for n in (numbers_of(results.write_results()), numbers))
    assert alone | {"contexts": None} == beside | {"contexts": None}


def test_the_figure_has_a_line_for_each_context(found):
    many = copy.deepcopy(found)
    for row in many.values():
        row["curve"]["all"]["responses"] = [9] * len(row["curve"]["all"]["responses"])
    rows = rows_of(context_figure(many))
    assert {row["context"] for row in rows} == set(found)
    assert [row["share"] for row in rows if row["context"] == "full"] == found["full"]["curve"]["all"]["labels"][
        "Teacher"
    ]["mean"]


def test_the_page_shows_each_context(plan, numbers):
    figures = report_figures(numbers)
    page = report_page(plan, numbers, figures)
    assert "In other contexts" in page
    assert page.count("<td>window-1</td>") == 3  # labels, all sentences, the habit
    assert f"contexts.main.teacher.{results.DISTILLED}.test.answer" in figures


def first_screen(numbers: dict, **full: dict) -> str:
    """Return what is said of the trace if its notes fall as `full` says in the whole context."""
    run = copy.deepcopy(numbers["runs"]["main"])
    run["traces"][0]["contexts"]["full"]["habits"]["notes"]["along"] |= full
    return findings(run)[0].striptags()


def test_the_first_screen_says_what_of_the_fall_of_a_habit_is_gone(numbers):
    said = first_screen(numbers)
    assert (
        "From first to later sentences with the habit notes Teacher falls by +100.0 (+100.0 to +100.0) points" in said
    )
    gone = "+100.0 (+100.0 to +100.0) in {} (100.0 % of it)"
    assert f"; gone where the models see less: {gone.format('window-1')} and {gone.format('alone')}." in said


def test_a_fall_that_may_be_none_is_said_to_be_so(numbers):
    said = first_screen(numbers, fall={"mean": 0.1, "low": 0.0, "high": 0.2, "n": 3})
    assert (
        "Teacher does not clearly fall from first to later sentences with the habit notes (+10.0 (+0.0 to +20.0)"
        in said
    )
    assert "From first to later" not in said


def test_a_fall_of_which_nothing_is_gone_is_said_to_stay(numbers):
    run = copy.deepcopy(numbers["runs"]["main"])
    for found in run["traces"][0]["contexts"].values():
        found["habits"] = {}
        found["along"]["fall"] = {"mean": 0.3, "low": 0.2, "high": 0.4, "n": 3}
        found["along"]["gone"] = {"mean": -0.1, "low": -0.2, "high": 0.0, "n": 3}
    said = findings(run)[0].striptags()
    assert (
        "From first to later sentences Teacher falls by +30.0 (+20.0 to +40.0) points; no less where the models" in said
    )
