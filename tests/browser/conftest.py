"""The explorer of a hand-made study, in a headless Chromium without a network.

Without a Chromium these tests are skipped, and say so; with DISTRACE_BROWSER=required, as in CI, they fail.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import results
from distrace.nodes.explorer import write_explorer
from distrace.nodes.report import write_report
from distrace.plan import Plan

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# What a model may write, each a sentence of its own.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</style><script>window.hacked = 1</script>",
    "{{ 7 * 7 }} ${7 * 7} <%= 7 * 7 %>",
    "data </script><script>window.hacked = 1</script>",
    "<!-- <script> ]]>",
    "turned \u202eevil\u202c \u2067round\u2069 \u2028",
    "\x1b[31mred\x1b[0m \x07",
    "$\\href{javascript:window.hacked=1}{x}$",
    "مرحبا بالعالم 你好 👩‍👩‍👧 e\u0301",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("DISTRACE_BROWSER") == "required":
            pytest.fail("no Chromium is here: install Debian's package chromium")
        pytest.skip("no Chromium is here: the explorer is not tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


def traced() -> dict[str, tuple]:
    """Return 24 responses of up to 12 sentences with probabilities of all kinds; hostile sentences in each."""
    random.seed(0)
    questions = [f"{n}+{n}?" for n in range(1, 13)]
    return {
        f"d{i}": (
            questions[i % 12],
            [True, False, None][i % 3],
            [
                (f"{HOSTILE[(i + k) % len(HOSTILE)]} step {k} of {i}\n", tuple(random.choice(LEVELS) for _ in range(3)))
                for k in range(1 + i % 12)
            ],
        )
        for i in range(24)
    }


# Some of their differences lie on the thresholds that the tests choose.
LEVELS = (0.0625, 0.125, 0.1875, 0.25, 0.3, 0.5, 0.55, 0.6, 0.75, 0.9)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> tuple[Path, Plan]:
    """A folder with results, their report and their explorer, and the plan of its config."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(results, "TRACED", traced())
        patch.setattr(results, "ANSWERS", {f"{n}+{n}? {HOSTILE[n % 10]}": str(2 * n) for n in range(1, 13)})
        plan = results.write_results()
        write_report(results.CONFIG, Path("results/report"))
        write_explorer(results.CONFIG, Path("results/report"))
    return folder, plan


@pytest.fixture
def page(browser, study) -> Iterator[Page]:
    """The explorer, opened from disk; at the end it must have asked for nothing, and have had no error."""
    folder, _ = study
    context = browser.new_context(offline=True, viewport={"width": 1500, "height": 900}, accept_downloads=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto((folder / "results/report/explorer.html").as_uri())
    page.wait_for_selector("#text .sentence")
    yield page
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert errors == []
    assert page.evaluate("window.hacked") is None
    context.close()
