"""An explorer in pieces, which are loaded as they are needed; and very long sentences."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import results
from distrace.pages.explorer import write_page

LONG = "".join(f"word{n} " for n in range(25_000))  # 238,890 characters without a full stop


@pytest.fixture
def pieces(tmp_path, monkeypatch) -> Path:
    """The explorer of a study with a very long sentence, with its chunks in a folder beside it."""
    monkeypatch.chdir(tmp_path)
    long = {"d0": ("1+1?", True, [(LONG + "\n", results.TEACHER)])}
    monkeypatch.setattr(results, "TRACED", results.TRACED | long)
    plan = results.write_results()
    write_page(plan, tmp_path / "explorer.html", max_inline=0)
    assert len(list((tmp_path / "explorer").glob("*.js"))) > 10
    return tmp_path / "explorer.html"


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.errors = errors
    yield page
    context.close()


@pytest.fixture
def server(pieces):
    handler = partial(SimpleHTTPRequestHandler, directory=str(pieces.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{pieces.name}"
        server.shutdown()


def test_pieces_are_loaded_from_disk(page, pieces):
    page.context.set_offline(True)
    page.goto(pieces.as_uri() + "#response=d1")
    page.wait_for_selector("#text .sentence")
    assert "Guess." in page.inner_text("#text")
    assert page.errors == []


def test_pieces_are_loaded_from_a_web_server(page, server):
    page.goto(server + "#response=d1")
    page.wait_for_selector("#text .sentence")
    assert "Guess." in page.inner_text("#text")
    assert page.errors == []


def test_a_piece_that_is_gone_is_said_and_the_page_is_not_white(page, pieces):
    for path in (pieces.parent / "explorer").glob("texts-*.js"):
        path.unlink()
    page.goto(pieces.as_uri() + "#response=d1")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "could not be read: the folder" in page.inner_text("#trouble")
    assert page.locator(".row").count() > 0


def test_a_sentence_of_200_000_characters_is_shown(page, pieces):
    page.goto(pieces.as_uri() + "#response=d0&sentence=0&math=1")
    page.wait_for_selector("#text .sentence")
    assert len(page.inner_text("#text")) >= len(LONG.rstrip())
    assert page.errors == []
