"""Fuzzing: random and damaged input for all that reads what others wrote. No crash, no hang, no loss.

    python tests/helpers/fuzzing.py --minutes 60            # all targets by turns, until the time is over
    python tests/helpers/fuzzing.py --minutes 1 --only splitter alignment

Each round is a process of its own, which runs one target on some hundred inputs drawn by hypothesis. What it may raise
is a DistraceError. A round that raises anything else, is ended by a signal, or computes for too long, is a finding: the
smallest input that shows it is printed, and the exit status is 1.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from builders import rejects_of, write_parts, write_questions, write_rollouts
from configs import CONFIG
from distrace import kinds
from distrace.artifacts import open_artifact, read_rejects
from distrace.config import refuse_repeated_keys
from distrace.errors import BadRow, DistraceError
from distrace.nodes.imported_rollouts import Responses, write_imported
from distrace.plan import load_plan
from distrace.questions import Cut, Questions
from distrace.questions import write_parts as write_questions_parts
from distrace.rows import read_rows, text_reader
from distrace.text.alignment import AlignmentError, Piece, decode_generated, encode_prompt, encode_response, owners
from distrace.text.prompts import require_message, require_question
from distrace.text.splitting import SPLITTERS, split

ROUND_SECONDS = 120  # of processor time
EXAMPLES = 300

# Texts

FRAGMENTS = (
    "The row", " is", ". ", "\n", "\r\n", "\r", "  ", "\t", "é", "가", "今天。", "🙂", "👩\u200d👧", "�",
    "\x00", "\x85", "\u2028", "\u202e", "$x$",
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{x}", "\\end{x}", "```", "3.14",
    "1. ", "e.g.", "...", "…", "!", "?", '"', "”", ")", "**", "<think>", "</think>", "\U0010ffff", "İ",
    "\xa0", "{{", "}}", "{%", "%}", "\\boxed{", "}", "a" * 40, "." * 60, "$" * 30, "\n" * 20,
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=25).map("".join)
LONG_TEXTS = st.tuples(TEXTS, st.integers(1, 400)).map(lambda pair: (pair[0] * pair[1])[:20_000])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
QUESTIONS = {"1+1?": "2", "2+2?": "4", "3+3?": "6"}


@st.composite
def damaged(draw: Callable, whole: bytes) -> bytes:
    """Return bytes with some of them changed, cut off, repeated or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["change", "cut", "insert", "remove", "repeat"]))
        if how == "change" and place < len(data):
            data[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[place:]
        elif how == "insert":
            data[place:place] = draw(st.binary(max_size=9))
        elif how == "remove":
            del data[place : place + draw(st.integers(1, 40))]
        elif how == "repeat":
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
    return bytes(data)


def json_lines() -> st.SearchStrategy[bytes]:
    """Return lines of which most are rows of a file of responses, and some anything."""
    row = st.fixed_dictionaries(
        {
            "question": st.sampled_from([*QUESTIONS, "4+4?", " 1+1?"]) | JSON,
            "response": TEXTS | JSON,
            "answer": TEXTS | JSON,
        }
    )
    line = (row | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)
    deep = st.integers(1, 100_000).map(lambda n: b"[" * n)
    lines = st.lists(line | deep | st.just(b""), max_size=8).map(b"\n".join)
    return lines | lines.flatmap(damaged)


def filled(data: bytes) -> int:
    return sum(1 for line in data.split(b"\n") if line.strip())


# Targets: each draws its input, and fails by an assertion or any exception but DistraceError.


@given(json_lines(), st.sampled_from(["question", "response", "{{ response }}", "{{ row['answer'] }}", "nothing"]))
def rows_of_json_lines(data: bytes, column: str) -> None:
    """Every line that is not blank is a row, or a row that says why it is none."""
    path = Path("rows.jsonl")
    path.write_bytes(data)
    read, found = text_reader(column), list(read_rows(path))
    assert len(found) == filled(data)
    for row in found:
        if not isinstance(row, BadRow):
            with contextlib.suppress(BadRow):
                assert read(row).strip()


def _tables() -> dict[str, bytes]:
    import polars as pl

    frame = pl.DataFrame({"question": [*QUESTIONS], "response": ["So 2.", "4", "x" * 300], "answer": [2, 4, 6]})
    for name, write in ((".csv", frame.write_csv), (".parquet", frame.write_parquet), (".arrow", frame.write_ipc)):
        write(f"whole{name}")
    Path("whole.json").write_text(json.dumps(frame.to_dicts()))
    return {path.suffix: path.read_bytes() for path in sorted(Path().glob("whole.*"))}


@given(st.data())
def rows_of_tables(data: st.DataObject) -> None:
    """A damaged file gives rows or an error that names it."""
    whole = _tables()
    suffix = data.draw(st.sampled_from(sorted(whole)))
    path = Path(f"rows{suffix}")
    path.write_bytes(data.draw(damaged(whole[suffix])))
    with contextlib.suppress(DistraceError):
        for row in read_rows(path):
            if not isinstance(row, BadRow):
                with contextlib.suppress(BadRow):
                    text_reader("response")(row)


@given(json_lines())
def importer(data: bytes) -> None:
    """Rows in are responses out and rejects; questions without a response are rejects, too."""
    path = Path("responses.jsonl")
    path.write_bytes(data)
    questions = write_questions(Path("questions/0.arrow"), QUESTIONS)
    listed = write_parts(questions.parent)
    out = Path("out/parts.arrow")
    with contextlib.suppress(DistraceError):
        write_imported("author", listed, Responses(str(path)), out)
        part = out.with_name("0.arrow")
        written = open_artifact(part, kinds.ROLLOUTS).read("question_id", "text")
        rejects = rejects_of(part)
        unanswered = [row for row in rejects if "no response to this question" in row["reason"]]
        assert len({*written["question_id"]}) + len(unanswered) == len(QUESTIONS)
        lists = sum(isinstance(value, list) for value in _responses_in(data))
        if not lists:
            assert len(written) + len(rejects) - len(unanswered) == filled(data)
        assert all(text.strip() for text in written["text"])


def _responses_in(data: bytes) -> list[object]:
    found = []
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            found.append(value.get("response") if isinstance(value, dict) else None)
    return found


@given(json_lines(), st.integers(1, 4))
def questions(data: bytes, parts: int) -> None:
    """Rows in are questions out and rejects, whatever the parts."""
    path = Path("asked.jsonl")
    path.write_bytes(data)
    with contextlib.suppress(DistraceError):
        paths = write_questions_parts(Questions({"file": str(path)}), Cut(parts=parts), Path("asked"))
        written = [open_artifact(part, kinds.QUESTIONS).rows for part in paths]
        assert sum(written) + sum(len(read_rejects(part)) for part in paths) == filled(data)


@given(TEXTS | LONG_TEXTS, st.sampled_from(sorted(SPLITTERS)), st.floats(0, 1))
def splitter(text: str, name: str, share: float) -> None:
    """Sentences, joined, are the text, and none is white space alone."""
    cut = [text[start:end] for start, end in pairwise(split(text, name, int(share * len(text))))]
    assert "".join(cut) == text
    whole = [text[start:end] for start, end in pairwise(split(text, name))]
    assert all(piece.strip() for piece in whole) or not text.strip()


@given(st.data())
def alignment(data: st.DataObject) -> None:
    """Every character is in a token, spans go forward, and what is decoded is what was written."""
    from tokenization import BUILDERS, tokenizer_of  # transformers, which the other targets do without

    tokenizer = tokenizer_of(data.draw(st.sampled_from(sorted(BUILDERS))))
    text = data.draw(TEXTS)
    with contextlib.suppress(AlignmentError):
        encode_prompt(tokenizer, text)
    with contextlib.suppress(AlignmentError):
        found = encode_response(tokenizer, [Piece("<glue>", None), Piece(text, 0)])
        scored = [(start, end) for start, end in zip(found.starts, found.ends, strict=True) if start >= 0]
        covered = {place for start, end in scored for place in range(start, end)}
        assert covered == set(range(len(text)))
        assert scored == sorted(scored)
        assert len(owners(found.starts, found.ends, split(text, "sentences"))) == len(found.token_ids)
        decode_generated(tokenizer, list(found.token_ids))
    ids = data.draw(st.lists(st.integers(-2, len(tokenizer) + 2), max_size=20))
    with contextlib.suppress(AlignmentError, OverflowError, TypeError):
        decode_generated(tokenizer, ids)


@st.composite
def configs(draw: Callable) -> object:
    """Return a config that asks for some of everything, with some values changed, added or taken out."""
    config = json.loads(json.dumps(CONFIG))
    for _ in range(draw(st.integers(1, 4))):
        place = config
        while True:
            if not isinstance(place, dict | list) or not place:
                break
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            how = draw(st.sampled_from(["value", "known", "remove", "add"]))
            if how == "remove":
                del place[key]
            elif how == "add" and isinstance(place, dict):
                place[draw(st.text(max_size=5))] = draw(JSON)
            else:
                known = st.sampled_from(["gsm", "big", "main", "plain", "{{ question }}", "{", "a{b}", 0, -1, 1e9, "é"])
                place[key] = draw(known if how == "known" else JSON)
            break
    return config


@given(configs() | JSON)
def config(given_config: object) -> None:
    """A config is planned, or refused with a line for each mistake."""
    with contextlib.suppress(DistraceError):
        plan = load_plan(given_config)
        assert plan.parts
        plan.report_inputs(), plan.explorer_inputs(), plan.exports()
        [plan.model_settings(name) for name in plan.models]


@given(damaged(yaml.safe_dump(CONFIG).encode()) | st.binary(max_size=50))
def yaml_of_config(data: bytes) -> None:
    """Keys that stand twice are found in any YAML, and what is no YAML is named."""
    path = Path("config.yaml")
    path.write_bytes(data)
    with contextlib.suppress(DistraceError):
        refuse_repeated_keys(path)


@given(st.data())
def arrow(data: st.DataObject) -> None:
    """A damaged artifact is read, or refused with its path."""
    path = Path("results/0.arrow")
    if not path.with_suffix(".whole").is_file():
        asked = write_questions(Path("questions.arrow"), QUESTIONS)
        texts = {f"r{n}": (question, "So it is.\n" * n) for n, question in enumerate(QUESTIONS)}
        write_rollouts(path, asked, texts, token_ids=[1, 2, 3], logprobs=[-0.5, -1.0, -0.1])
        path.rename(path.with_suffix(".whole"))
    path.write_bytes(data.draw(damaged(path.with_suffix(".whole").read_bytes())))
    with contextlib.suppress(DistraceError):
        open_artifact(path, kinds.ROLLOUTS).read()


@given(TEXTS)
def templates(text: str) -> None:
    """An instruction or a format is a template, or refused."""
    for require in (require_question, require_message):
        with contextlib.suppress(DistraceError):
            require(text)
    with contextlib.suppress(DistraceError):
        text_reader(text)({"question": "1+1?"})


TARGETS = [
    rows_of_json_lines, rows_of_tables, importer, questions, splitter, alignment, config, yaml_of_config, arrow,
    templates,
]  # fmt: skip
BY_NAME = {target.hypothesis.inner_test.__name__: target for target in TARGETS}


# Rounds


def one_round(name: str, number: int, examples: int) -> None:
    """Run a target on some examples, in the current folder; raise what it raises."""
    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    seed(number)(options(BY_NAME[name]))()


def _in_process(name: str, number: int, examples: int) -> str | None:
    """Run a round in a process of its own, bounded in processor time; return what was found, None for nothing."""
    command = [sys.executable, __file__, "--round", name, str(number), str(examples)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return None
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return f"{name}, seed {number}: {how}\n{done.stderr[-6000:]}"


def fuzz(minutes: float, only: list[str]) -> int:
    """Run rounds of all targets by turns until the time is over; return the number of findings."""
    ends, rounds, findings = time.monotonic() + 60 * minutes, Counter(), 0
    while time.monotonic() < ends:
        for name in only:
            number = random.SystemRandom().randrange(2**32)
            found = _in_process(name, number, EXAMPLES)
            rounds[name] += 1
            if found:
                findings += 1
                print(found, flush=True)
            if time.monotonic() > ends:
                break
    for name, count in rounds.items():
        print(f"{name}: {count} rounds of {EXAMPLES} inputs", flush=True)
    print(f"{findings} findings", flush=True)
    return findings


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="*", default=list(BY_NAME), choices=list(BY_NAME))
    parser.add_argument("--round", nargs=3)
    options = parser.parse_args()
    if options.round:
        resource.setrlimit(resource.RLIMIT_CPU, (ROUND_SECONDS, ROUND_SECONDS + 5))
        name, number, examples = options.round
        one_round(name, int(number), int(examples))
        return
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    sys.exit(min(fuzz(options.minutes, options.only), 1))


if __name__ == "__main__":
    _main()
