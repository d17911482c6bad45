"""Random kills of a run, and only ever the same command again: no lock to take away, nothing doubled, the same bytes.

    python tests/helpers/killing.py --folder FOLDER [--kills 30] [--seed 0]

It runs a small project to its end once, then in other folders with a kill at a random time of every command, until
there were so many: of Snakemake alone (its jobs live on), of one job, of all processes at once, or of the terminal,
which hangs up. Then the same command starts again at once. Meanwhile it looks at the jobs: two that compute for the
same output side by side are a finding, as are a command that fails by itself and a file that differs from that of the
run that nobody killed. A line for each kill; the exit status is 1 if there are findings.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import yaml

from distrace.rows import file_digest
from snakemake_runs import ROOT, command, new_folder

STEPS = 400  # of a base model: so long that two trainings side by side are seen
MOST_WAITED = 30.0  # seconds of a command until its kill
START = 12.0  # seconds of processor time: more than a job takes until it waits for another one
LONGEST = 1800.0  # seconds of a command, after which it counts as hung
WAYS = ("Snakemake", "a job", "all at once", "the terminal")
# A terminal whose other end is this process: the kernel hangs up if it is killed.
TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process of a run: the output that it computes, if it is a job, and its seconds of processor time so far."""

    pid: int
    is_snakemake: bool
    out: str | None
    seconds: float


def processes(folder: Path) -> Iterator[Process]:
    """Yield the processes that work in a folder: Snakemake, its jobs, and jobs of one that was killed."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):  # it has ended
            words = (place / "cmdline").read_text("utf-8", "replace").split("\0")
            is_snakemake = words[1:3] == ["-m", "snakemake"] and str(folder) in words
            if not is_snakemake and Path(os.readlink(place / "cwd")) != folder:
                continue
            times = (place / "stat").read_text().rpartition(")")[2].split()
            is_job = words[1] == "-m" and words[2].startswith("distrace.nodes.") and "--out" in words
            out = words[words.index("--out") + 1] if is_job else None
            yield Process(int(place.name), is_snakemake, out, (int(times[11]) + int(times[12])) / _TICKS)


def start(folder: Path) -> subprocess.Popen:
    """Start the command in a folder, on a terminal of its own; what it says is added to `terminal.txt` there."""
    with (folder / "terminal.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-c", TERMINAL, *command(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def wait(terminal: subprocess.Popen, folder: Path, seconds: float) -> bool:
    """Return whether the command ended within so many seconds: its Snakemake, which jobs may outlive."""
    ends = time.monotonic() + seconds
    seen = False
    while time.monotonic() < ends:
        running = any(process.is_snakemake for process in processes(folder))
        seen = seen or running
        if terminal.poll() is not None or (seen and not running):
            return True
        time.sleep(0.1)
    return False


def kill(how: str, terminal: subprocess.Popen, folder: Path, rng: random.Random) -> str:
    """Kill what `how` says, Snakemake if no job runs; return what was killed."""
    found = list(processes(folder))
    jobs = [process for process in found if process.out]
    if how == "the terminal":
        os.kill(terminal.pid, signal.SIGKILL)
        return how
    if how == "a job" and jobs:
        chosen = [rng.choice(jobs)]
    elif how == "all at once":
        chosen = found
    else:
        chosen = [process for process in found if process.is_snakemake]
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    names = ["Snakemake" if process.is_snakemake else process.out for process in chosen]
    return f"{how}: {', '.join(filter(None, names))}"


def watch(folder: Path, findings: list[str], ended: threading.Event, start: float = START) -> None:
    """Add a finding for every two jobs that compute for the same output side by side, until the run has ended.

    `start` are seconds of processor time that both may use.
    """
    first: dict[tuple[int, int], tuple[float, float]] = {}
    while not ended.wait(0.25):
        jobs = [process for process in processes(folder) if process.out]
        for one, other in combinations(sorted(jobs), 2):
            if one.out != other.out:
                continue
            before = first.setdefault((one.pid, other.pid), (one.seconds, other.seconds))
            used = min(one.seconds - before[0], other.seconds - before[1])
            finding = f"{folder.name}: two jobs computed for {one.out} at once ({one.pid} and {other.pid})"
            if used > start and finding not in findings:
                findings.append(finding)


def run_with_kills(folder: Path, kills: int, rng: random.Random, findings: list[str]) -> int:
    """Run a project to its end, with at most so many kills; return how many there were."""
    done = 0
    while True:
        terminal, killed = start(folder), None
        if done < kills and not wait(terminal, folder, waited := rng.uniform(1, MOST_WAITED)):
            killed = kill(rng.choice(WAYS), terminal, folder, rng)
            done += 1
            print(f"{folder.name}: after {waited:.1f} s {killed}", flush=True)
        if not wait(terminal, folder, LONGEST):
            findings.append(f"{folder.name}: the command after {done} kills hung")
            return done
        if killed is None:
            if status := terminal.wait():
                findings.append(f"{folder.name}: the command after {done} kills ended with {status}")
            return done


def written(folder: Path) -> dict[str, str]:
    """Return the digests of all that a run wrote, by path; what is hidden is kept for the next run alone."""
    paths = (path.relative_to(folder) for path in (folder / "results").rglob("*") if path.is_file())
    return {
        str(path): file_digest(folder / path)
        for path in sorted(paths)
        if not any(part.startswith(".") for part in path.parts)
    }


def different(reference: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the paths of what is missing, changed or too much."""
    return sorted(path for path in {*reference, *found} if reference.get(path) != found.get(path))


def run_and_watch(folder: Path, config: dict, kills: int, rng: random.Random, findings: list[str]) -> int:
    """Run a project in a new folder to its end, with at most so many kills; return how many there were."""
    new_folder(folder, config)
    ended = threading.Event()
    watching = threading.Thread(target=watch, args=(folder, findings, ended))
    watching.start()
    try:
        return run_with_kills(folder, kills, rng, findings)
    finally:
        ended.set()
        watching.join()


def main() -> None:
    """Run with kills until there were so many, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="a new folder")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "tests/workflow/config.yaml").read_text())
    for training in ("from_scratch", "other_from_scratch"):
        config["training"][training]["max_steps"] = STEPS
    rng, findings, kills, runs = random.Random(options.seed), [], 0, 0
    root = options.folder.resolve()
    run_and_watch(root / "reference", config, 0, rng, findings)
    reference = written(root / "reference")
    while kills < options.kills:
        runs += 1
        folder = root / f"killed-{runs}"
        kills += run_and_watch(folder, config, options.kills - kills, rng, findings)
        findings += [f"{folder.name}: {path} differs" for path in different(reference, written(folder))]
    print("\n".join(findings))
    print(f"{kills} kills in {runs} runs of {len(reference)} files, {len(findings)} findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
