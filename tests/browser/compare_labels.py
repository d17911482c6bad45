"""Compare the labels that the explorer of a finished run gives, at five settings, with the provenance rule.

    python tests/browser/compare_labels.py --folder .

`--folder` holds config.yaml and results/. It exits with status 1 if a label differs.
"""

import argparse
import csv
import sys
from pathlib import Path

import yaml
from playwright.sync_api import Page, sync_playwright

from distrace import kinds
from distrace.measures.labels import Thresholds, label_of
from distrace.parts import open_parts
from distrace.plan import Plan, Trace, load_plan

SETTINGS = [(0.05, 0.1), (0.0, 0.0), (0.01, 0.02), (0.2, 0.05), (0.5, 0.5)]


def main() -> None:
    """Print how many labels of each trace differ, at each setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path())
    folder = parser.parse_args().folder.resolve()
    plan = load_plan(yaml.safe_load((folder / "config.yaml").read_text("utf-8")))
    compared = differ = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_context(offline=True, accept_downloads=True).new_page()
        for trace in (trace for run in plan.config["runs"] for trace in plan.traces(run)):
            for thresholds in (Thresholds(*setting) for setting in SETTINGS):
                expected = expected_labels(folder, plan, trace, thresholds)
                found = shown_labels(page, folder, trace, thresholds)
                wrong = sum(found.get(sentence) != label for sentence, label in expected.items())
                print(trace.folder, thresholds, f"{len(expected)} sentences, {wrong} differ")
                compared, differ = compared + len(expected), differ + wrong + len(found.keys() - expected.keys())
        browser.close()
    print(f"{compared} labels compared, {differ} differ")
    sys.exit(1 if differ else 0)


def expected_labels(folder: Path, plan: Plan, trace: Trace, thresholds: Thresholds) -> dict[tuple[str, str], str]:
    """Return the label of each sentence at these thresholds, by response and number."""
    table = open_parts(folder / plan.trace_parts(trace), kinds.PROVENANCE).read()
    labelled = table.select("rollout_id", "sentence", label_of(thresholds).alias("label"))
    return {(response, str(number)): label for response, number, label in labelled.iter_rows()}


def shown_labels(page: Page, folder: Path, trace: Trace, thresholds: Thresholds) -> dict[tuple[str, str], str]:
    """Return the labels that the explorer exports at these thresholds, by response and number."""
    page.goto("about:blank")
    address = f"#trace={trace.folder}&alpha={thresholds.alpha}&beta={thresholds.beta}"
    page.goto((folder / "results/report/explorer.html").as_uri() + address)
    page.wait_for_selector("#text .sentence")
    page.wait_for_function("!document.getElementById('changed').textContent.includes('still reading')")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        return {(row["rollout_id"], row["sentence"]): row["label"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    main()
