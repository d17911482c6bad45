import base64
import hashlib
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import explored
import results
from distrace import __version__, kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.measures.labels import LABELS
from distrace.pages import explorer
from distrace.pages.explorer import SCRIPTS, STYLES, in_element, page_of, script_of, style_of, write_page
from distrace.pages.texts import LETTERS

FOLDER = Path(explorer.__file__).parent
EVIL = "</script><script>alert(1)</script><!-- <script> \u2028 \u2029 ]]> {{ 7 * 7 }} \u202e \x1b[31m"
INDEX = {"inline": True, "version": EVIL, "runs": [{"name": EVIL}]}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """The plan of a study whose models and questions are hostile; the tests run in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        patch.setattr(results, "TRACED", results.TRACED | {"d3": ("4+4?", None, [(EVIL + "\n", results.STUDENT)])})
        patch.setattr(results, "ANSWERS", results.ANSWERS | {f"4+4? {EVIL}": "8"})
        results.ANSWERS.pop("4+4?")
        yield results.write_results()


def test_the_data_are_the_same_in_the_page_and_in_a_folder_beside_it(plan):
    write_page(plan, Path("small/explorer.html"))
    write_page(plan, Path("large/explorer.html"), max_inline=0)
    (one, in_page), (other, beside) = (explored.read(Path(name, "explorer.html")) for name in ("small", "large"))
    assert in_page == beside
    assert (one.pop("inline"), other.pop("inline")) == (True, False)
    assert one == other
    assert [path.name for path in Path("small").iterdir()] == ["explorer.html"]
    assert sorted(path.name for path in Path("large").iterdir()) == ["explorer", "explorer.html"]


KINDS = ("sentences", "tokens", "evidence")


def test_every_chunk_that_the_index_speaks_of_is_there_and_no_other(plan):
    write_page(plan, Path("all/explorer.html"))
    index, chunks = explored.read(Path("all/explorer.html"))
    spans = [range(len(about["bounds"]) - 1) for about in index["rollout_sets"]]
    wanted = [f"questions-{i}" for i in range(len(index["questions"]))]
    for number, span in enumerate(spans):
        wanted += [f"responses-{number}", *(f"texts-{number}-{k}" for k in span)]
    for number, trace in enumerate(index["traces"]):
        wanted += [f"{kind}-{number}-{k}" for kind in KINDS for k in spans[trace["rollouts"]]]
    for number, pool in enumerate(index["candidates"]):
        sets = enumerate(pool["rollouts"])
        wanted += [f"candidates-{number}", *(f"leans-{number}-{s}-{k}" for s, of in sets for k in spans[of])]
    assert sorted(chunks) == sorted(wanted)


def test_the_page_and_its_folder_are_the_same_each_time(plan):
    for name in ("once", "again"):
        write_page(plan, Path(name, "explorer.html"), max_inline=0)
    once, again = ({p.relative_to(name): p.read_bytes() for p in Path(name).rglob("*.*")} for name in ("once", "again"))
    assert once == again
    assert len(once) > 10


def test_data_of_an_earlier_explorer_do_not_stay_beside_a_page_that_holds_its_own(plan):
    write_page(plan, Path("was/explorer.html"), max_inline=0)
    write_page(plan, Path("was/explorer.html"))
    assert [path.name for path in Path("was").iterdir()] == ["explorer.html"]


def test_an_explorer_that_cannot_be_built_leaves_the_earlier_one(plan, monkeypatch):
    write_page(plan, Path("kept/explorer.html"), max_inline=0)
    before = {path: path.read_bytes() for path in Path("kept").rglob("*.*")}

    def fail(*_):
        raise DistraceError("broken")

    monkeypatch.setattr(explorer, "write_candidates", fail)
    with pytest.raises(DistraceError, match="broken"):
        write_page(plan, Path("kept/explorer.html"), max_inline=0)
    assert {path: path.read_bytes() for path in Path("kept").rglob("*.*")} == before


def test_the_size_is_said(plan, caplog):
    with caplog.at_level(logging.INFO):
        write_page(plan, Path("said/explorer.html"), max_inline=0)
    assert re.search(r"\d+\.\d MB in \d+ chunks: beside explorer.html, in the folder explorer$", caplog.messages[-1])
    assert f"trace main/teacher/{results.DISTILLED}/test/answer" in " ".join(caplog.messages)


def test_the_index_says_what_the_study_consists_of(plan):
    write_page(plan, Path("index/explorer.html"))
    index, _ = explored.read(Path("index/explorer.html"))
    assert (index["version"], index["seed"]) == (__version__, 0)
    assert index["labels"] == [{"name": label, "letter": LETTERS[label]} for label in LABELS]
    assert index["runs"] == [{"name": "main", "student": "student", "teachers": ["teacher"], "strategies": ["longest"]}]
    [trace] = index["traces"]
    [planned] = plan.traces("main")
    assert (trace["run"], trace["teacher"], trace["student"]) == ("main", "teacher", "student")
    assert (trace["distilled"], trace["folder"]) == (results.DISTILLED, planned.folder)
    assert (trace["alpha"], trace["beta"]) == (0.05, 0.1)
    assert trace["fingerprint"] == open_artifact(plan.trace_parts(planned), kinds.PARTS).fingerprint
    assert index["rollout_sets"][trace["rollouts"]]["author"] == results.DISTILLED
    [pool] = index["candidates"]
    assert (pool["run"], pool["teacher"], pool["models"]) == ("main", "teacher", {"longest": [results.DISTILLED]})


def test_nothing_that_a_model_or_a_config_says_is_markup(plan):
    write_page(plan, Path("evil/explorer.html"))
    page = Path("evil/explorer.html").read_text("utf-8")
    assert "alert(1)" not in page
    _, chunks = explored.read(Path("evil/explorer.html"))
    held = [explored.decoded(text)[0] for text in chunks.values()]
    assert json.dumps(EVIL)[1:-1] in json.dumps(held)
    empty = explored.Scripts(page_of({}, "")).tags
    hostile = explored.Scripts(page_of(INDEX, "")).tags
    assert hostile == empty


@given(st.text())
def test_the_index_ends_no_script_element_and_is_read_as_it_was_written(text):
    written = in_element({text: [text, 1.5, None]})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {text: [text, 1.5, None]}


def test_the_page_runs_its_own_script_and_no_other():
    tags = explored.Scripts(page_of(INDEX, "")).tags
    [policy] = [about["content"] for tag, about in tags if about.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    own = base64.b64encode(hashlib.sha256(script_of().encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{own}' 'self' file:"
    style = base64.b64encode(hashlib.sha256(style_of().encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{style}'"
    scripts = [text for about, text in explored.Scripts(page_of(INDEX, "")).found if not about]
    assert scripts == [script_of()]
    assert not [about for tag, about in tags if about.get("src") or about.get("style")]
    assert not [name for _, about in tags for name in about if name.startswith("on")]


def test_every_file_of_the_page_is_in_it():
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*")}
    assert set(SCRIPTS) == {name for name in found if name.endswith(".js")}
    assert set(STYLES) == {name for name in found if name.endswith(".css")}


def test_the_script_is_one_function_that_leaves_no_names():
    script = script_of()
    assert script.startswith('(() => {\n"use strict";\n')
    assert script.endswith("})();\n")


def test_a_file_that_would_end_its_element_is_an_error(monkeypatch):
    monkeypatch.setattr(explorer, "STYLES", ("explorer.html",))
    with pytest.raises(DistraceError, match=r"explorer.html: holds '</script'"):
        style_of()
