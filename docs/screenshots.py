"""Take the screenshots of the documentation.

    python docs/screenshots.py --explorer results/report/explorer.html --name default

It writes docs/images/explorer-NAME.png, and -VIEW for other views, in a headless Chromium without a network.
`--address` is what stands after the # of the page.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "images"
VIEWS = ("responses", "question", "candidates", "search")


def main() -> None:
    """Write an image of each view."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--explorer", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", default="")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["responses"])
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(offline=True, viewport={"width": 1400, "height": 860}).new_page()
        for view in options.views:
            address = f"#view={view}&theme={options.theme}&{options.address}"
            page.goto("about:blank")
            page.goto(options.explorer.resolve().as_uri() + address)
            page.wait_for_timeout(2000)
            suffix = "" if view == "responses" else f"-{view}"
            page.screenshot(path=options.out / f"explorer-{options.name}{suffix}.png")
        browser.close()


if __name__ == "__main__":
    main()
