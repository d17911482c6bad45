"""How fast a large file of ready-made responses is imported in many parts, and in how much memory.

    python benchmarks/importing.py [--gigabytes 2] [--parts 500] [--rounds 3]

Writes JSON Lines of real lengths (responses of some 4,000 characters, in pieces of those in `--texts` if it is given),
reads them with Polars and imports them with the node, in turn, each in a process of its own; prints seconds, MiB/s, the
largest memory of each process, and the ratio of the speeds. The folder, twice as large as the file, is deleted.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from distrace import kinds
from distrace.artifacts import write_with_rejects
from distrace.identity import short_id
from distrace.parts import open_parts, write_list

WORDS = (Path(__file__).parents[1] / "LICENSE").read_text("utf-8").split()
# What the workflow sets for its jobs (rules/common.smk).
AS_IN_WORKFLOW = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
POLARS = "import polars as pl, sys; assert len(pl.read_ndjson(sys.argv[1]))"


def texts_of(file: Path | None, rng: random.Random) -> list[str]:
    """Return sentences to make responses from: of a file with lists of texts as `code`, or of random words."""
    if file is None:
        return [" ".join(rng.choices(WORDS, k=rng.randint(5, 40))) for _ in range(20_000)]
    rows = map(json.loads, file.read_text("utf-8").splitlines())
    return [sentence for row in rows for text in row["code"] for sentence in text.split(". ")]


def question(number: int) -> str:
    """Return a question of the set."""
    return f"What is {number} + {7 * number}?"


def write_source(path: Path, size: int, questions: int, sentences: list[str], rng: random.Random) -> int:
    """Write so many bytes of responses to these questions as JSON Lines, and return how many there are."""
    written = rows = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            response = ". ".join(rng.choices(sentences, k=rng.randint(10, 70)))
            written += file.write(json.dumps({"question": question(rows % questions), "response": response}) + "\n")
            rows += 1
    return rows


def write_questions(folder: Path, count: int, parts: int) -> Path:
    """Write so many questions in parts, and return their list."""
    paths = [folder / f"{part}.arrow" for part in range(parts)]
    for part, path in enumerate(paths):
        numbers = range(count * part // parts, count * (part + 1) // parts)
        asked = [
            {"question_id": short_id(question(n)), "question": question(n), "answer": str(8 * n), "solution": None}
            for n in numbers
        ]
        write_with_rejects(path, kinds.QUESTIONS, asked, [], {"part": part}, len(asked))
    write_list(paths, folder / "parts.arrow")
    return folder / "parts.arrow"


def timed(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, those that it computed, and the most memory it, or one before, held in MiB."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=os.environ | AS_IN_WORKFLOW)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, computed, after.ru_maxrss / 1024


def main() -> None:
    """Measure reading and importing in turn, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--parts", type=int, default=500)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=Path, help="JSON Lines with lists of texts as `code`; else random words")
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source.jsonl"
        sentences = texts_of(options.texts, rng)
        rows = write_source(source, int(options.gigabytes * 1e9), options.questions, sentences, rng)
        questions = write_questions(folder / "questions", options.questions, options.parts)
        settings = json.dumps({"file": str(source)})
        node = [sys.executable, "-m", "distrace.nodes.imported_rollouts", "--author", "a", "--settings", settings]
        node += ["--questions", str(questions), "--threads", str(options.threads), "--out"]
        size = source.stat().st_size / 2**20
        print(f"{rows:,} rows, {size:,.0f} MiB, {options.parts} parts", flush=True)
        speeds: list[float] = []
        for number in range(options.rounds):
            out = folder / f"out{number}/parts.arrow"
            # The import first: the memory is the largest so far, and Polars holds the whole file.
            imported, computing, memory = timed([*node, str(out)])
            assert open_parts(out, kinds.ROLLOUTS).rows == rows
            read, reading, _ = timed([sys.executable, "-c", POLARS, str(source)])
            print(
                f"import {imported:.1f} s ({computing:.1f} s computing), {size / imported:.0f} MiB/s"
                + (f", {memory:,.0f} MiB of memory" if number == 0 else "")
                + f"; Polars {read:.1f} s ({reading:.1f} s computing)",
                flush=True,
            )
            speeds.append(read / imported)
        print(f"of the speed of Polars: {statistics.median(speeds):.2f}")


if __name__ == "__main__":
    main()
