import copy
import re
from html.parser import HTMLParser
from urllib.parse import parse_qsl

import pytest

import results
from distrace.identity import short_id
from distrace.measures.labels import LABELS
from distrace.measures.positions import SECTIONS
from distrace.pages.figure_files import report_figures
from distrace.pages.numbers import numbers_of
from distrace.pages.report import report_page
from distrace.pages.texts import LETTERS


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
    assert "teacher100.0 % (51.0-100.0)" in text
    assert f"{results.DISTILLED}66.7 %" in text


def test_what_a_model_or_a_question_says_is_text_and_no_tag(page):
    parsed = Page(page)
    assert results.EVIL not in page
    assert parsed.text.count(results.EVIL) == 2  # in a response and in a question
    assert not [attributes for tag, attributes in parsed.tags if tag == "script" and "src" in attributes]
    assert "<<1+1>>" in parsed.text


def test_marks_of_direction_in_what_a_model_or_a_row_says_turn_nothing_else_round(page):
    assert re.search(r"\.sentence \{[^}]*unicode-bidi: isolate", page)
    parsed = Page(page)
    shown = [data for tag, data in parsed.tags if tag == "bdi"]
    assert len(shown) >= len(results.TRACED)  # the questions of the examples


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


def explorer_states(page: str) -> list[dict]:
    """Return the states of the explorer that the page's links lead to, as URLSearchParams reads them."""
    links = [attributes["href"] for tag, attributes in Page(page).tags if tag == "a"]
    return [dict(parse_qsl(link.partition("#")[2])) for link in links if link.startswith("explorer.html#")]


FOLDER = f"main/teacher/{results.DISTILLED}/test/answer"


def test_every_number_of_labels_leads_to_its_sentences(page):
    states = explorer_states(page)
    for label in LABELS:
        assert {"trace": FOLDER, "label": label} in states
    assert {"trace": FOLDER, "label": "Teacher", "correct": "right"} in states
    assert {"trace": FOLDER, "label": "Boosted", "correct": "wrong"} in states
    assert {"trace": FOLDER, "view": "search", "search": "<<"} in states
    assert {"trace": FOLDER, "view": "search", "search": "<<", "label": "Shared"} in states
    assert {"trace": FOLDER, "label": "Teacher", "alpha": "0.05", "beta": "0.1"} in states
    assert {"trace": FOLDER, "response": "d0"} in states
    assert {"trace": FOLDER, "view": "question", "question": short_id("1+1?")} in states
    assert {"view": "candidates", "pool": "main/teacher", "strategy": "longest"} in states


def test_a_number_that_does_not_exist_leads_nowhere(page):
    # No right response has a Boosted sentence, and there is a share of 0 %; no dash is a link.
    assert not re.search(r"<a [^>]*>\s*-\s*</a>", page)


def test_a_habit_with_spaces_and_signs_is_read_back_from_its_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pattern = 'so & so, 100% + <b> "it\'s" #1'
    config = copy.deepcopy(results.CONFIG)
    config["runs"]["main"]["habits"] = {"odd": pattern}
    plan = results.write_results(config)
    numbers = numbers_of(plan)
    page = report_page(plan, numbers, report_figures(numbers))
    assert {"trace": FOLDER, "view": "search", "search": pattern} in explorer_states(page)


def test_the_contents_lead_to_all_sections_and_every_link_within_the_page_has_its_place(page):
    tags = Page(page).tags
    places = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert len(places) == len([1 for _, attributes in tags if "id" in attributes])
    linked = {attributes["href"][1:] for tag, attributes in tags if attributes.get("href", "").startswith("#")}
    assert linked <= places
    headings = {attributes["id"] for tag, attributes in tags if tag in ("h2", "h3") and "id" in attributes}
    assert headings == linked
    assert {"found", "warnings", FOLDER, "accuracy-main", "accounting"} <= headings


def test_every_figure_has_links_to_its_files(page):
    links = {attributes["href"] for tag, attributes in Page(page).tags if tag == "a"}
    files = {link for link in links if link.startswith("figures/")}
    name = FOLDER.replace("/", ".")
    assert {f"figures/curves-all-tenth.{name}.{suffix}" for suffix in ("svg", "csv")} <= files
    assert len(files) == 2 * page.count("<svg")


def test_a_sentence_has_a_letter_beside_its_colour(page):
    letters = {
        (attributes["title"].partition(":")[0], attributes["data-letter"])
        for _, attributes in Page(page).tags
        if attributes.get("class") == "sentence"
    }
    assert letters == set(LETTERS.items())


def test_the_page_opens_with_what_was_found_and_what_a_reviewer_would_ask(page):
    text = Page(page).text
    assert text.index("What was found") < text.index("What a reviewer would ask") < text.index("Accuracy of each model")
    assert "Of 8 sentences (teacher teacher) Teacher 50.0 %" in text
    assert "test has 3 questions with judged answers, fewer than 100" in text
    assert "Half of the" in text
    assert "responses have at least 2 sentences, a tenth at least 3, the longest 3." in text


def test_reasoning_and_answer_have_curves_of_their_own_where_there_is_reasoning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = results.write_results()
    numbers = numbers_of(plan)
    [trace] = numbers["runs"]["main"]["traces"]
    trace["curves"] |= dict.fromkeys(("reasoning", "answer"), trace["curves"]["all"])
    figures = report_figures(numbers)
    page = report_page(plan, numbers, figures)
    assert {f"curves-{section}-sentence.{FOLDER.replace('/', '.')}" for section in SECTIONS} <= set(figures)
    summaries = [f"By {scale} of the {where}" for where in ("reasoning", "answer") for scale in ("sentence", "tenth")]
    assert all(summary in Page(page).text for summary in summaries)


def test_a_trace_without_any_sentence_has_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(results.CONFIG)
    monkeypatch.setattr(results, "TRACED", {name: (q, right, []) for name, (q, right, _) in results.TRACED.items()})
    plan = results.write_results(config)
    numbers = numbers_of(plan)
    page = report_page(plan, numbers, report_figures(numbers))
    assert "There is no labelled sentence." in Page(page).text
