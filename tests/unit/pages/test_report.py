import re
from html.parser import HTMLParser

import pytest

import results
from distrace.measures.labels import LABELS
from distrace.pages.figure_files import report_figures
from distrace.pages.numbers import numbers_of
from distrace.pages.report import report_page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        plan = results.write_results()
        numbers = numbers_of(plan)
        yield report_page(plan, numbers, report_figures(numbers))


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
    shown = [written for _, _, written in results.TRACED.values() if written]
    for written in shown:
        assert "".join(sentence for sentence, _ in written) in Page(page).text
    titles = [attributes["title"] for _, attributes in Page(page).tags if attributes.get("class") == "sentence"]
    assert len(titles) == sum(map(len, shown))
    assert all(title.startswith(LABELS) for title in titles)
