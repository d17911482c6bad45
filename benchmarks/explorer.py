"""The explorer of a large study: how long it takes to build, how large it is, and how quickly it answers in a browser.

    python benchmarks/explorer.py --folder FOLDER [--responses 2000] [--sentences 415] [--parts 4] [--no-build]

It writes the artifacts that a study of so many long responses would leave, of 24 tokens a sentence: words in the
frequencies of this project's docs, at random, which compresses worse than prose; log-probs are random, and no model
runs. It builds the explorer in a process of its own and prints the time, its peak memory and what lies on disk. Then,
if Playwright and a Chromium are here, it opens the page from disk without a network, and prints how long it takes until
the first response can be read, until all sentences are, and until a moved threshold is shown in the open response and
in all shares: the median of several times, and the longest. The JSON line is last.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, write, write_rejects
from distrace.identity import short_id
from distrace.measures.labels import Thresholds
from distrace.nodes.provenance import write_provenance
from distrace.parts import write_list
from distrace.plan import Plan, RolloutSet, load_plan

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

ROOT = Path(__file__).parents[1]
SAMPLES = 10  # of the distilled model for each question
WORDS = (13, 26)  # of a sentence, at least and below
LONG = {"teacher": 6, "student": 5, "distilled": 5}  # characters: longer words are two tokens
MODELS = {"teacher": "teacher", "student": "student", "distilled": "distilled"}
ROUNDS = 9
BROWSER = ["--no-sandbox", "--disable-gpu"]
# Whether the labels of all sentences are counted.
ALL_READ = """() => {
  const said = document.getElementById("changed").textContent;
  return said && !said.includes("still reading");
}"""
QUIET_MS = 1500  # without a change, after which an answer is complete
# Moves a control and returns the milliseconds until the last change of the response's text, and of the shares.
MOVE = """async ([name, value, quiet]) => {
  const last = { text: null, shares: null }, began = performance.now();
  let seen = began;
  const watch = (id) => {
    const observer = new MutationObserver(() => { seen = performance.now(); last[id] = seen - began; });
    const all = { subtree: true, childList: true, attributes: true, characterData: true };
    observer.observe(document.getElementById(id), all);
    return observer;
  };
  const observers = Object.keys(last).map(watch), control = document.getElementById(name);
  control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
  control.dispatchEvent(new Event("change", { bubbles: true }));
  while (performance.now() - seen < quiet) await new Promise((resolve) => setTimeout(resolve, 50));
  observers.forEach((observer) => observer.disconnect());
  return last;
}"""


def config_of(responses: int, parts: int) -> dict[str, Any]:
    """Return the config of a study in which a ready distilled model answers each question several times."""
    count = responses // SAMPLES
    return {
        "questions": {"test": {"source": {"world": {"split": "test", "count": count}}, "parts": parts}},
        "models": {name: {"source": {"folder": name}} for name in MODELS.values()},
        "sampling": {"answer": {"samples": SAMPLES}},
        "runs": {
            "main": {
                "teachers": ["teacher"],
                "student": "student",
                "distilled": "distilled",
                "test": {"questions": ["test"], "sampling": "answer"},
            }
        },
    }


def main() -> None:
    """Write the study, build its explorer, open it; print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="a folder for the study")
    parser.add_argument("--responses", type=int, default=2000, help=f"a multiple of {SAMPLES} times the parts")
    parser.add_argument("--sentences", type=int, default=415, help="of a response")
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--no-build", action="store_true", help="open the explorer that an earlier call built")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)
    found: dict[str, Any] = {"responses": options.responses, "sentences": options.responses * options.sentences}
    config = config_of(options.responses, options.parts)
    if not options.no_build:
        tokens = write_study(load_plan(config), options.responses, options.sentences)
        found |= {"tokens": tokens} | built(config)
    found |= on_disk()
    found |= opened()
    print(json.dumps(found))


def built(config: dict[str, Any]) -> dict[str, float]:
    """Build the explorer; return the seconds and the peak memory (MB) that it took."""
    node = [sys.executable, "-m", "distrace.nodes.explorer", "--config", json.dumps(config)]
    began = time.monotonic()
    process = subprocess.Popen([*node, "--out-folder", "results/report"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the explorer was not built")
    return {"build_s": round(time.monotonic() - began, 1), "build_peak_mb": round(usage.ru_maxrss / 1000)}


def on_disk() -> dict[str, float]:
    """Return the size (MB) of the page and, by kind, of the files beside it."""
    sizes: Counter[str] = Counter()
    for path in Path("results/report/explorer").glob("*.js"):
        sizes[path.name.partition("-")[0]] += path.stat().st_size
    page = Path("results/report/explorer.html").stat().st_size
    total = page + sum(sizes.values())
    by_kind = {kind: round(size / 1e6, 1) for kind, size in sorted(sizes.items())}
    return {"page_mb": round(page / 1e6, 1), "folder_mb": by_kind, "total_mb": round(total / 1e6, 1)}


def opened() -> dict[str, Any]:
    """Open the explorer from disk; return how quickly it answers, and the memory (MB) of its process at the end."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if sync_playwright is None or chromium is None:
        print("Playwright or a Chromium is missing: the page is not opened")
        return {}
    page_of, total = Path("results/report/explorer.html").resolve().as_uri(), None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER)
        first = []
        for _ in range(ROUNDS):
            page = browser.new_context(offline=True).new_page()
            began = time.monotonic()
            page.goto(page_of, wait_until="commit")
            page.wait_for_selector("#text .sentence")
            first.append(time.monotonic() - began)
            page.wait_for_function(ALL_READ, timeout=0)
            total = time.monotonic() - began
            memory = renderer_mb(browser)
            if len(first) < ROUNDS:
                page.context.close()
        moves = [page.evaluate(MOVE, ["alpha", str(0.03 + n / 50), QUIET_MS]) for n in range(ROUNDS)]
        found = {
            "first_response_ms": round(1000 * statistics.median(first)),
            "all_read_s": round(total, 1),
            **{
                f"moved_{name}_ms": round(statistics.median(move[name] for move in moves))
                for name in ("text", "shares")
            },
            **{f"moved_{name}_ms_most": round(max(move[name] for move in moves)) for name in ("text", "shares")},
            "page_memory_mb": memory,
            "browser": browser.version,
        }
        browser.close()
    return found


def renderer_mb(browser: Any) -> int:
    """Return the resident memory (MB) of the largest process that shows a page."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    status = [
        Path(f"/proc/{process['id']}/status").read_text() for process in processes if process["type"] == "renderer"
    ]
    return max(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) for text in status) // 1000


# The study


def write_study(plan: Plan, responses: int, sentences: int) -> int:
    """Write all artifacts that the explorer of the study reads; return the tokens of the distilled model's answers."""
    words, weights = vocabulary()
    random = np.random.default_rng(0)
    asked = responses // SAMPLES // len(plan.parts["test"])
    tokens = 0
    for part in plan.parts["test"]:
        ids = [f"{part}-{number}" for number in range(asked)]
        rows = [
            {"question_id": i, "question": f"Question {i}: how many?", "answer": "7", "solution": None} for i in ids
        ]
        path = Path(f"results/questions/test/{part}.arrow")
        write_rejects(path, [], {"part": part})
        write(path, kinds.QUESTIONS, rows, {"part": part})
        for author in ("teacher", "student"):
            write_answers(plan, author, part, ids, 1, ["A short answer. It is 7." for _ in ids])
        bounds, texts = zip(*(response(random, words, weights, sentences) for _ in range(asked * SAMPLES)), strict=True)
        rollouts = write_answers(plan, "distilled", part, ids, SAMPLES, list(texts))
        tokens += write_trace(plan, part, rollouts, list(texts), list(bounds), random)
        print(f"part {part} is written", flush=True)
    for folder in {path.parent for path in Path("results").rglob("0.arrow")}:
        write_list([folder / f"{part}.arrow" for part in plan.parts["test"]], folder / "parts.arrow")
    return tokens


def vocabulary() -> tuple[list[str], np.ndarray]:
    """Return the words of the docs, and how frequent each is."""
    text = " ".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    counts = Counter(re.findall(r"[A-Za-z]+|\d+", text))
    return list(counts), np.array(list(counts.values())) / counts.total()


def response(
    random: np.random.Generator, words: list[str], weights: np.ndarray, sentences: int
) -> tuple[np.ndarray, str]:
    """Return where the sentences of a response begin, with the length of its text, and the text."""
    lengths = random.integers(*WORDS, sentences)
    drawn = iter(random.choice(len(words), int(lengths.sum()), p=weights).tolist())
    texts = [" ".join([words[next(drawn)] for _ in range(length)]) + ". " for length in lengths]
    return np.append(0, np.cumsum([len(text) for text in texts])), "".join(texts)


def write_answers(plan: Plan, author: str, part: str, ids: list[str], samples: int, texts: list[str]) -> Path:
    """Write the rollouts and grades of an author, of which two of three are right; return the path of the rollouts."""
    folder = RolloutSet(author, "test", "answer").folder
    path = Path(f"results/rollouts/{folder}/{part}.arrow")
    rows = [
        {
            "rollout_id": short_id(author, question, sample),
            "question_id": question,
            "sample": sample,
            "text": texts[number * samples + sample],
            "answer_start": 0,
            "token_ids": None,
            "logprobs": None,
            "finish_reason": "stop",
        }
        for number, question in enumerate(ids)
        for sample in range(samples)
    ]
    made = write(path, kinds.ROLLOUTS, rows, {"author": author, "part": part})
    write_rejects(path, [], {"of": made})
    graded = [
        {
            "rollout_id": row["rollout_id"],
            "question_id": row["question_id"],
            "extracted": "7",
            "correct": n % 3 > 0,
            "reason": None,
        }
        for n, row in enumerate(rows)
    ]
    write(Path(f"results/grades/{folder}/{part}.arrow"), kinds.GRADES, graded, {"rollouts": made})
    return path


def write_trace(
    plan: Plan, part: str, rollouts: Path, texts: list[str], bounds: list[np.ndarray], random: np.random.Generator
) -> int:
    """Write sentences, log-probs and labels of a part; return the number of tokens under the distilled model."""
    [trace] = plan.traces("main")
    ids = pl.read_ipc(rollouts, columns=["rollout_id"])["rollout_id"].to_list()
    made = open_artifact(rollouts, kinds.ROLLOUTS).fingerprint
    sentences = Path(plan.sentences_parts(trace.rollouts)).with_name(f"{part}.arrow")
    rows = [
        {"rollout_id": name, "sentence": n, "start": start, "end": end}
        for name, of in zip(ids, bounds, strict=True)
        for n, (start, end) in enumerate(pairwise(of.tolist()))
    ]
    write(sentences, kinds.SENTENCES, rows, {"rollouts": made})
    paths, count = [], 0
    for role, model in plan.scorers(trace).items():
        starts = [token_starts(text, LONG[role]) for text in texts]
        ends = [np.append(of[1:], len(text)) for of, text in zip(starts, texts, strict=True)]
        frame = pl.DataFrame(
            {
                "rollout_id": ids,
                "token_ids": [np.full(len(of), 7, np.int32) for of in starts],
                "starts": starts,
                "ends": ends,
                "logprobs": [
                    -random.exponential(random.choice([0.2, 1.0], len(of))).astype(np.float32) for of in starts
                ],
                "ranks": [np.ones(len(of), np.int16) for of in starts],
            }
        )
        paths.append(Path(plan.parts_in(f"results/logprobs/{model}/full/{trace.rollouts.folder}")[int(part)]))
        write(paths[-1], kinds.LOGPROBS, frame, {"rollouts": made, "scorer": model})
        write_rejects(paths[-1], [], {"scorer": model})
        count = sum(map(len, starts))
    out = Path(plan.trace_parts(trace)).with_name(f"{part}.arrow")
    write_provenance(rollouts, sentences, *paths, Thresholds(0.05, 0.1), out)
    return count


def token_starts(text: str, long: int) -> np.ndarray:
    """Return where the tokens of a text begin: at its words, and at the fifth character of those that are longer."""
    spaces = np.flatnonzero(np.frombuffer(text.encode("ascii"), np.uint8) == ord(" "))
    first = np.append(0, spaces[:-1])
    return np.sort(np.append(first, first[np.diff(np.append(first, len(text))) > long + 1] + 5)).astype(np.int32)


if __name__ == "__main__":
    main()
