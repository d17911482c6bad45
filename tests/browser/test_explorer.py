"""The explorer, used by mouse and by keyboard."""

import copy
import csv
import json
from pathlib import Path

import polars as pl
import pytest

import results
from distrace import kinds
from distrace.measures.labels import LABELS, Thresholds, label_of
from distrace.nodes.explorer import write_explorer
from distrace.parts import open_parts

AXE = Path(__file__).with_name("axe.min.js")
SETTINGS = [(0.05, 0.1), (0.0, 0.0), (0.0625, 0.125), (0.25, 0.05), (1.0, 0.5)]


def labelled(plan, folder: Path) -> pl.DataFrame:
    """Return the labelled sentences of the study's trace, as the provenance node wrote them."""
    [trace] = plan.traces("main")
    return open_parts(folder / plan.trace_parts(trace), kinds.PROVENANCE).read()


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(60)


def state(page) -> dict[str, str]:
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def chosen_text(page) -> str:
    return page.inner_text(".sentence.chosen")


def exported(page, kind: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Export {kind.upper()}").click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def go(page, **wanted: str) -> None:
    page.evaluate("wanted => { location.hash = new URLSearchParams(wanted) }", wanted)
    page.wait_for_timeout(150)


def list_length(page) -> int:
    return int(page.inner_text("#list-count").split(" of ")[0])


@pytest.mark.parametrize(("alpha", "beta"), SETTINGS)
def test_the_thresholds_give_every_sentence_the_label_of_the_provenance_rule(page, study, alpha, beta):
    folder, plan = study
    page.fill("#alpha-number", str(alpha))
    page.fill("#beta-number", str(beta))
    found = list(csv.DictReader(exported(page, "csv").splitlines(keepends=True)))
    expected = labelled(plan, folder).with_columns(label_of(Thresholds(alpha, beta)).alias("moved"))
    wanted = {(r["rollout_id"], str(r["sentence"])): (r["moved"], r["label"]) for r in expected.iter_rows(named=True)}
    assert {(row["rollout_id"], row["sentence"]): (row["label"], row["label_of_run"]) for row in found} == wanted
    changed = expected.filter(pl.col("moved") != pl.col("label"))
    assert page.inner_text("#changed").startswith(f"{len(changed)} of {len(expected)} labels changed")


def test_a_run_labelled_by_the_rule_raised_is_labelled_so_here(page, study, tmp_path, monkeypatch):
    folder, plan = study
    config = copy.deepcopy(results.CONFIG)
    config["runs"]["main"]["label_rule"] = "raised"
    monkeypatch.chdir(folder)
    write_explorer(config, tmp_path)
    page.goto((tmp_path / "explorer.html").as_uri())
    found = list(csv.DictReader(exported(page, "csv").splitlines(keepends=True)))
    expected = labelled(plan, folder).with_columns(label_of(Thresholds(0.05, 0.1, "raised")).alias("moved"))
    wanted = {(r["rollout_id"], str(r["sentence"])): r["moved"] for r in expected.iter_rows(named=True)}
    assert {(row["rollout_id"], row["sentence"]): row["label"] for row in found} == wanted
    go(page, response="d11", sentence="3")
    page.wait_for_selector("#panel-body table")
    assert "distilled − student" in page.inner_text("#panel-body")
    assert page.inner_text("#changed").endswith("; labels by the rule raised")


def test_an_export_holds_the_artifact_to_the_last_digit_and_its_fingerprint(page, study):
    folder, plan = study
    [trace] = plan.traces("main")
    artifact = open_parts(folder / plan.trace_parts(trace), kinds.PROVENANCE)
    texts = dict(
        open_parts(folder / plan.rollouts_parts("rollouts", trace.rollouts)).read("rollout_id", "text").iter_rows()
    )
    found = json.loads(exported(page, "json"))
    columns = list(kinds.PROVENANCE.schema.names)
    assert [{name: row[name] for name in columns} for row in found["rows"]] == artifact.read().to_dicts()
    assert all(row["text"] == texts[row["rollout_id"]][row["start"] : row["end"]] for row in found["rows"])
    assert {row["fingerprint"] for row in found["rows"]} == {artifact.fingerprint}


def test_the_sliders_and_their_buttons_move_the_thresholds_and_the_way_back_is_one_step(page):
    page.locator("#alpha").fill("0.3")
    assert state(page)["alpha"] == "0.3"
    page.get_by_role("button", name="Raise beta").click()
    assert state(page)["beta"] == "0.11"
    press(page, "[", "{")
    assert (state(page)["alpha"], state(page)["beta"]) == ("0.29", "0.1")
    press(page, "0")
    assert not {"alpha", "beta"} & state(page).keys()
    assert page.input_value("#alpha-number") == "0.05"


def test_j_k_g_and_their_buttons_walk_through_the_list(page):
    press(page, "j")
    second = state(page)["response"]
    press(page, "k")
    first = state(page)["response"]
    page.get_by_role("button", name="Next response").click()
    assert first != state(page)["response"] == second
    press(page, "G")
    assert page.get_attribute(".row[aria-selected=true]", "aria-posinset") == "24"
    page.get_by_role("button", name="First response").click()
    assert state(page)["response"] == first
    page.locator(".row").nth(3).click()
    assert page.get_attribute(".row[aria-selected=true]", "aria-posinset") == "4"
    page.focus("#list")
    press(page, "ArrowDown", "Home", "End", "ArrowUp")
    assert page.get_attribute(".row[aria-selected=true]", "aria-posinset") == "23"


def test_n_p_a_click_and_the_strip_bring_a_sentence_into_focus(page):
    go(page, response="d11")
    press(page, "n", "n")
    assert state(page)["sentence"] == "1"
    assert "step 1 of 11" in chosen_text(page)
    assert "step 1 of 11" in page.inner_text("#panel-body blockquote")
    page.get_by_role("button", name="Sentence before").click()
    assert state(page)["sentence"] == "0"
    page.locator(".sentence").nth(4).click()
    assert state(page)["sentence"] == "4"
    box = page.locator("#strip").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 7.5 / 12, box["y"] + 20)
    assert state(page)["sentence"] == "7"


def test_the_panel_tells_the_numbers_of_the_sentence_in_focus(page, study):
    folder, plan = study
    row = labelled(plan, folder).filter(rollout_id="d11", sentence=3).to_dicts()[0]
    go(page, response="d11", sentence="3")
    page.wait_for_selector("#panel-body table")
    panel = page.inner_text("#panel-body")
    assert all(f"{row[f'p_{role}']:.4f}" in panel for role in ("teacher", "student", "distilled"))
    assert row["label"] in panel
    assert "from alpha" in panel
    assert "from beta" in panel


def test_tokens_are_shown_under_each_model_on_demand(page):
    go(page, response="d11", sentence="3")
    assert page.locator(".token").count() == 0
    press(page, "t")
    page.wait_for_selector(".token")
    assert page.locator(".tokens").count() == 3
    page.get_by_role("button", name="Tokens").click()
    page.wait_for_selector(".token", state="detached")


@pytest.mark.parametrize("number", range(4))
def test_the_number_of_a_label_leads_to_its_next_sentence(page, number):
    go(page, response="d11")
    press(page, str(number + 1))
    if page.locator(f".sentence[data-label={LABELS[number]}]").count():
        assert page.get_attribute(".sentence.chosen", "data-label") == LABELS[number]
    else:
        assert "no further sentence" in page.inner_text("#status")


def test_filters_and_sorting_choose_what_is_listed(page, study):
    folder, plan = study
    table = labelled(plan, folder)
    page.select_option("#correct", "right")
    assert list_length(page) == 8
    page.select_option("#correct", "")
    page.fill("#find", r"step 11 of \d+$|step 7 of 7")
    page.wait_for_timeout(400)
    assert list_length(page) == 3
    press(page, "Escape", "z")
    page.select_option("#label", "Teacher")
    with_teacher = table.filter(label="Teacher")["rollout_id"].n_unique()
    assert list_length(page) == with_teacher
    page.fill("#share", "50")
    page.wait_for_timeout(400)
    shares = table.group_by("rollout_id").agg((pl.col("label") == "Teacher").mean())
    assert list_length(page) == len(shares.filter(pl.col("label") >= 0.5, pl.col("label") > 0))
    page.get_by_role("button", name="No filters").click()
    assert list_length(page) == 24
    page.select_option("#sort", "sentences")
    press(page, "Escape", "v", "g")
    assert page.locator(".sentence").count() == 12


def test_distilled_right_and_student_wrong_is_a_filter_of_its_own(page):
    press(page, "w")
    assert list_length(page) == 8  # the student of the study is always wrong
    page.get_by_role("button", name="Distilled right, student wrong").click()
    assert list_length(page) == 24


def test_a_wrong_pattern_is_said_and_breaks_nothing(page):
    page.fill("#find", "(")
    page.wait_for_timeout(400)
    assert "not a regular expression" in page.inner_text("#status")
    page.fill("#find", "")
    page.wait_for_timeout(400)
    assert list_length(page) == 24


def test_a_link_brings_the_view_back(page, browser):
    go(page, response="d11", sentence="3", alpha="0.2", label="Boosted", sort="Teacher", down="1", tokens="1")
    page.wait_for_selector(".token")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".token")
    for selector in ("#text", "#panel-body", "#list-count", "#shares", "#changed"):
        assert other.inner_text(selector) == page.inner_text(selector)
    assert other.input_value("#label") == "Boosted"


def test_a_link_can_be_copied(page):
    press(page, "j", "y")
    assert "copied" in page.inner_text("#status")


def test_one_question_shows_the_answers_of_all_models_side_by_side(page):
    press(page, "j", "o")
    page.wait_for_selector(".card")
    headings = page.locator(".card h3").all_inner_texts()
    assert [heading.split()[0] for heading in headings] == ["teacher", "student", "distilled"]
    assert page.locator(".card .sentence[data-label]").count() > 0
    first = page.inner_text("#question-body h2")
    page.get_by_role("button", name="Next question").click()
    page.wait_for_timeout(150)
    assert page.inner_text("#question-body h2") != first
    press(page, "h")
    page.wait_for_timeout(150)
    assert page.inner_text("#question-body h2") == first


def test_candidates_show_scores_strategies_reasons_and_teacher_sentences(page):
    press(page, "c")
    page.wait_for_selector("#candidates-body table")
    shown = page.inner_text("#candidates-body")
    assert "teacher_count" in shown
    assert "took it, rank" in shown
    assert page.locator("#candidates-body .sentence[data-label=Teacher]").count() == 1
    page.locator("#candidates-body tbody button").nth(1).click()
    page.wait_for_timeout(150)
    assert "passed it over" in page.inner_text("#candidates-body")
    assert page.locator("#candidates-body .sentence[data-label=Teacher]").count() == 0
    assert "rollout_id" in exported(page, "csv").splitlines()[0]


def test_search_finds_sentences_with_the_shares_of_their_labels(page, study):
    folder, plan = study
    table = labelled(plan, folder)
    press(page, "s")
    page.keyboard.type("step 0 of")
    page.wait_for_selector("#hits li")
    assert page.inner_text("#search-count").startswith("24 sentences found")
    share = (table.filter(sentence=0)["label"] == "Teacher").mean()
    assert f"{100 * share:.1f} %" in page.inner_text("#search-shares")
    page.select_option("#search-label", "Teacher")
    page.wait_for_timeout(150)
    assert page.locator("#hits li").count() == len(table.filter(sentence=0, label="Teacher"))
    page.locator("#hits a").first.click()
    page.wait_for_selector(".sentence.chosen")
    assert "step 0 of" in chosen_text(page)


def test_every_key_has_a_button_and_a_line_on_the_page_of_keys(page):
    press(page, "?")
    keys = page.locator("#keys-body kbd").all_inner_texts()
    buttons = page.locator("button[aria-keyshortcuts]").evaluate_all("all => all.map(b => b.ariaKeyShortcuts)")
    assert sorted(keys) == sorted(buttons)
    assert len(keys) == len(set(keys))


def test_every_key_does_what_its_button_does(page):
    start = {"view": "question", "response": "d11", "sentence": "3", "alpha": "0.2", "beta": "0.3", "find": "step"}

    def outcome(act) -> tuple:
        for view in (start["view"], "responses"):
            go(page, **start | {"view": view})
            page.evaluate("document.activeElement.blur()")
            if act():
                page.wait_for_timeout(60)
                return state(page), page.inner_text("#status")
        raise AssertionError("no such button in these views")

    def clicked(key: str) -> bool:
        button = page.locator(f"button[aria-keyshortcuts={json.dumps(key)}]")
        if not button.is_visible():
            return False
        button.click()
        return True

    def pressed(key: str) -> bool:
        if not page.locator(f"button[aria-keyshortcuts={json.dumps(key)}]").is_visible():
            return False
        page.keyboard.press(key)
        return True

    keys = page.locator("button[aria-keyshortcuts]").evaluate_all("all => all.map(b => b.ariaKeyShortcuts)")
    assert len(keys) > 30
    for key in keys:
        by_button, by_key = outcome(lambda key=key: clicked(key)), outcome(lambda key=key: pressed(key))
        assert by_button == by_key, key


def test_what_a_model_writes_is_shown_as_text_and_runs_nowhere(page):
    for view in ("responses", "question", "candidates", "search"):
        for math in ("", "1"):
            go(page, view=view, response="d11", math=math, search="step", tokens="1", sentence="2")
            assert page.locator("main img, main script, main iframe, main form").count() == 0
    go(page, response="d11")
    text = page.inner_text("#text")
    assert "<script>window.hacked = 1</script>" in text
    assert "<img src=x onerror='window.hacked = 1'>" in text
    assert "{{ 7 * 7 }} ${7 * 7}" in text
    assert "[U+202E]evil[U+202C]" in text
    assert "␛[31mred" in text
    assert page.evaluate("window.hacked") is None


def test_formulas_are_rendered_on_demand_and_text_comes_back(page):
    go(page, response="d11")
    before = page.inner_text("#text")
    press(page, "m")
    page.wait_for_selector("#text math")
    assert page.locator("#text a").count() == 0
    press(page, "m")
    page.wait_for_selector("#text math", state="detached")
    assert page.inner_text("#text") == before


def test_labels_can_be_told_apart_without_colour(page):
    go(page, response="d11")
    letters = page.locator(".sentence").evaluate_all("all => all.map(s => [s.dataset.label, s.dataset.letter])")
    assert len({letter for _, letter in letters}) == len({label for label, _ in letters})


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["responses", "question", "candidates", "search", "keys"])
def test_axe_finds_no_serious_issue(page, theme, view):
    go(page, view=view, theme=theme, response="d11", sentence="2", search="step", tokens="1")
    page.wait_for_timeout(300)
    assert serious_issues(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_issue_in_the_report(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(page.url.replace("explorer.html", "index.html").partition("#")[0])
    assert serious_issues(page) == []
    assert page.evaluate("window.hacked") is None


def test_a_number_of_the_report_leads_to_its_sentences(page):
    page.goto(page.url.replace("explorer.html", "index.html").partition("#")[0])
    page.locator("a[href*='label=Teacher']").first.click()
    page.wait_for_selector("#text .sentence")
    assert page.input_value("#label") == "Teacher"


def serious_issues(page) -> list[tuple]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    serious = [issue for issue in found if issue["impact"] in ("serious", "critical")]
    return [(issue["id"], [node["html"][:200] for node in issue["nodes"]][:3]) for issue in serious]
