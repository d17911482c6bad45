"""The documents: every link within the project leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]


def anchors(document: Path) -> set[str]:
    """Return what the headings of a document are linked by, as code hosts derive it."""
    headings = re.findall(r"^#+ (.*)", document.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_a_file_and_to_a_heading_in_it(document):
    links = re.findall(r"\]\((?!https?://)([^)\s#]*)#?([^)\s]*)\)", document.read_text("utf-8"))
    targets = [((document.parent / path) if path else document, anchor) for path, anchor in links]
    assert [str(target) for target, _ in targets if not target.exists()] == []
    of_documents = [(target, anchor) for target, anchor in targets if anchor and target.suffix == ".md"]
    assert [(target.name, anchor) for target, anchor in of_documents if anchor not in anchors(target)] == []
