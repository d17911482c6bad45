"""The explorer: every response and sentence of all runs, to read, sort, filter and search; one page, from disk.

`explorer.html`, `*.css` and `js/*.js` are the page; `chunks.py` says how data stand in it, and `responses.py`,
`traces.py` and `candidates.py` which. `docs/explorer.md` describes both.
"""

import json
import logging
import shutil
import tempfile
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from distrace import __version__
from distrace.artifacts import write_text
from distrace.errors import DistraceError
from distrace.measures.labels import LABELS
from distrace.measures.validation import ORIGINS
from distrace.pages.explorer.candidates import shown_pools, write_candidates
from distrace.pages.explorer.chunks import MAX_INLINE, Chunks
from distrace.pages.explorer.responses import shown_questions, write_questions, write_responses
from distrace.pages.explorer.traces import write_trace
from distrace.pages.texts import LETTERS
from distrace.plan import Plan

log = logging.getLogger(__name__)

# What the page is put together from, in this order.
STYLES = ("explorer.css",)
SCRIPTS = (
    "vendor/temml.min.js",
    *(
        f"js/{name}.js"
        for name in (
            "chunks",
            "dom",
            "labels",
            "state",
            "trace",
            "strip",
            "list",
            "response",
            "panel",
            "question",
            "candidates",
            "search",
            "exports",
            "commands",
            "main",
        )
    ),
)
# What JSON may hold, but a script element, or a line of a script, ends at.
_ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def write_page(plan: Plan, page: Path, max_inline: int = MAX_INLINE) -> None:
    """Write the explorer of a plan as `page`, and beside it, if they are more than `max_inline` bytes, its chunks.

    The chunks' folder has the page's name without its ending; one of an earlier explorer is removed.
    """
    folder = page.with_suffix("")
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=page.parent, prefix=f".{folder.name}.") as temporary:
        chunks = Chunks(Path(temporary, folder.name))
        chunks.folder.mkdir()
        index = write_chunks(plan, chunks)
        is_inline = chunks.total <= max_inline
        size = f"{chunks.total / 1e6:.1f} MB in {len(chunks.size)} chunks"
        log.info("%s: %s", size, f"in {page.name}" if is_inline else f"beside {page.name}, in the folder {folder.name}")
        text = page_of(index | {"inline": is_inline}, _elements(chunks) if is_inline else "")
        shutil.rmtree(folder, ignore_errors=True)
        if not is_inline:
            chunks.folder.rename(folder)
    write_text(page, text)


def write_chunks(plan: Plan, chunks: Chunks) -> dict[str, Any]:
    """Write all chunks of a plan; return the index, which says what there is."""
    pools = shown_pools(plan)
    shown_of = shown_questions(plan, [rollouts for pool in pools for rollouts in pool.sets])
    questions, asked = write_questions(plan, shown_of, chunks)
    numbers = {about["name"]: number for number, about in enumerate(questions)}
    index: dict[str, Any] = {
        "version": __version__,
        "seed": plan.config["seed"],
        "labels": [{"name": label, "letter": LETTERS[label]} for label in LABELS],
        "origins": list(ORIGINS),
        "runs": [
            {"name": run, **{key: settings[key] for key in ("student", "teachers", "strategies")}}
            for run, settings in plan.config["runs"].items()
        ],
        "questions": questions,
        "rollout_sets": [],
        "traces": [],
        "candidates": [],
    }
    shown = {}
    for number, (rollouts, most) in enumerate(shown_of.items()):
        of = numbers[rollouts.questions]
        shown[rollouts], about = write_responses(plan, number, rollouts, of, asked[of], most, chunks)
        index["rollout_sets"].append(about)
    log.info("responses: %.1f MB", chunks.total / 1e6)
    for number, trace in enumerate(trace for run in plan.config["runs"] for trace in plan.traces(run)):
        index["traces"].append(write_trace(plan, number, trace, shown[trace.rollouts], chunks))
        log.info("trace %s: %.1f MB with it", trace.folder, chunks.total / 1e6)
    for number, pool in enumerate(pools):
        ids = asked[numbers[pool.sets[0].questions]].head(plan.config["explorer"]["candidate_questions"])
        sets = [shown[rollouts] for rollouts in pool.sets]
        index["candidates"].append(write_candidates(plan, number, pool, sets, ids, chunks))
        log.info("candidates of %s, %s: %.1f MB with them", pool.run, pool.name, chunks.total / 1e6)
    return index


def page_of(index: dict[str, Any], chunks: str) -> str:
    """Return the page with its index and, if they stand in it, the elements of its chunks."""
    script, style = script_of(), style_of()
    environment = Environment(
        loader=PackageLoader("distrace", "pages/explorer"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("explorer.html").render(
        policy=policy_of(script, style),
        style=Markup(style),
        script=Markup(script),
        index=Markup(in_element(index)),
        chunks=Markup(chunks),
    )


def script_of() -> str:
    """Return the page's script: all of its files, in one function, so that no name of theirs is a global one."""
    return "\n".join(['(() => {\n"use strict";', *map(_source, SCRIPTS), "})();\n"])


def style_of() -> str:
    """Return the page's style sheet."""
    return "\n".join(map(_source, STYLES))


def policy_of(script: str, style: str) -> str:
    """Return what the page may load, as a Content-Security-Policy: its own script and style, and its chunks.

    Its script alone can ask for these, which lie beside the page: on a server ('self') or on a disk (file:, for
    browsers to which a file is no part of 'self').
    """
    hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (script, style)]
    return (
        f"default-src 'none'; script-src {hashes[0]} 'self' file:; style-src {hashes[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def in_element(value: object) -> str:
    """Return a value as JSON that can stand in a script element: nothing in it ends or begins an element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPED)


def _source(name: str) -> str:
    text = files("distrace.pages.explorer").joinpath(name).read_text("utf-8")
    if found := [mark for mark in ("</script", "</style", "<!--") if mark in text.lower()]:
        raise DistraceError(f"pages/explorer/{name}: holds {found[0]!r}, which would end the element that it stands in")
    return text


def _elements(chunks: Chunks) -> str:
    return "\n".join(
        f'<script type="text/plain" class="chunk" data-name="{name}">{chunks.read(name)}</script>'
        for name in chunks.size
    )
