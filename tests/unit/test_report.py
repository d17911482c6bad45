import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import results

from distrace import report
from distrace.provenance import LABELS
from distrace.summary import numbers_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("results")
        patch.chdir(folder)
        plan = results.write_results()
        report.write_report(plan.config, Path("report"))
        yield folder / "report"


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "index.html").read_text("utf-8")


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_numbers_of_the_page_are_there_for_programs(folder):
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers == json.loads(json.dumps(numbers_of(report.load_plan(dict(results.CONFIG)))))
    assert set(numbers["runs"]["main"]["accuracy"]["test"]["teacher"]) >= {"mean", "low", "high", "n"}


def test_the_page_shows_the_accuracies(page):
    text = Page(page).text
    assert "teacher100.0 % (100.0-100.0)" in text
    assert f"{results.DISTILLED}66.7 %" in text


def test_what_a_model_or_a_question_says_is_text_and_no_tag(page):
    parsed = Page(page)
    assert results.EVIL not in page
    assert parsed.text.count(results.EVIL) == 2  # in a response and in a question
    assert not [attributes for tag, attributes in parsed.tags if tag == "script" and "src" in attributes]
    assert "<<1+1>>" in parsed.text


def test_the_page_needs_nothing_from_elsewhere(page):
    for _, attributes in Page(page).tags:
        for name in ("src", "href", "action", "data"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or "")
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page)


def test_the_first_responses_are_shown_whole_and_each_sentence_with_its_label(page):
    shown = [written for _, _, _, written in results.TRACED.values() if written]
    for written in shown:
        assert "".join(sentence for sentence, _ in written) in Page(page).text
    titles = [attributes["title"] for _, attributes in Page(page).tags if attributes.get("class") == "sentence"]
    assert len(titles) == sum(map(len, shown))
    assert all(title.startswith(LABELS) for title in titles)


def test_the_page_is_the_same_each_time(folder, page):
    report.write_report(dict(results.CONFIG), Path("again"))
    assert Path("again/index.html").read_text("utf-8") == page


@pytest.mark.parametrize(
    ("interval", "text"),
    [(None, "-"), ({"mean": 0.62, "low": 0.551, "high": 0.687, "n": 3}, "62.0 % (55.1-68.7)")],
)
def test_an_interval_is_written_in_percent(interval, text):
    assert report.interval_text(interval) == text


def test_positions_that_few_responses_reach_are_not_drawn():
    positions = pl.DataFrame(
        {
            "position": [0, 1, 2],
            "correct": [True, False, None],
            "label": ["Teacher"] * 3,
            "sentences": [3, 1, 9],
            "responses": [report.MIN_RESPONSES, report.MIN_RESPONSES - 1, 99],
        }
    )
    drawn = report.position_figure(positions).to_dict()["data"]["values"]
    assert drawn == [{"position": 1, "label": "Teacher", "answer": "right", "share": 3 / report.MIN_RESPONSES}]
