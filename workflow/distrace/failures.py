"""Why jobs failed on Slurm: one line for each, at the end of a run.

Without accounting, Snakemake knows only that a job failed, not that it was killed for memory or time. The reason is in
the job's Slurm log, and in the controller's memory for some minutes after its end (`MinJobAge`). By hand, with a log of
Snakemake: `python -m distrace.failures .snakemake/log/NAME.log`.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SUBMITTED = re.compile(r"SLURM jobid (\d+) \(log: (.+)\)\.")
_FAILED = re.compile(r"^Error in (?:rule|group) (\S+?):?\n((?:    .*\n)*?)    external_jobid: (\d+)", re.MULTILINE)
_OUTPUT = re.compile(r"^    output: ([^,\n]+)", re.MULTILINE)
# What Slurm writes, in its log and as a state, most telling first: a job killed for memory is also cancelled.
_REASONS = {
    "xceeded (job )?memory limit|oom.kill|OUT_OF_MEMORY": "killed for memory; its next try asks for more (`mem_mb`)",
    "DUE TO TIME LIMIT|=TIMEOUT": "out of time; its next try asks for more (`runtime`)",
    "DUE TO NODE FAILURE|=NODE_FAIL|=BOOT_FAIL": "its node failed",
    "DUE TO PREEMPTION|=PREEMPTED": "preempted by another job",
    "CANCELLED": "cancelled",
}
_LINES = 20


@dataclass(frozen=True)
class Failure:
    """A job that failed: its rule (or group), its first output, its id on Slurm, and why it failed."""

    rule: str
    output: str
    job: str
    reason: str


def failures(log: str, ask: Callable[[str], str]) -> Iterator[Failure]:
    """Yield the jobs that failed on Slurm according to a log of Snakemake; `ask` gives Slurm's words on a job's id."""
    logs = dict(_SUBMITTED.findall(log))
    for rule, about, job in _FAILED.findall(log):
        if job not in logs:
            continue
        written = Path(logs[job])
        words = ask(job) + (written.read_text("utf-8", errors="replace") if written.is_file() else "")
        output = _OUTPUT.search(about)
        yield Failure(rule, output[1] if output else "", job, reason(words))


def reason(words: str) -> str:
    """Return why a job failed, from what Slurm says of it."""
    found = (reason for pattern, reason in _REASONS.items() if re.search(pattern, words))
    return next(found, "its command failed; its log says why")


def explain(logs: list[str]) -> None:
    """Log the jobs that failed on Slurm, with the reasons, on stderr; `logs` are the paths of Snakemake's logs."""
    texts = [Path(log).read_text("utf-8", errors="replace") for log in logs if Path(log).is_file()]
    found = [failure for text in texts for failure in failures(text, ask_controller)]
    if not found:
        return
    print("Jobs that failed on Slurm, and why:", file=sys.stderr)
    for failure in found[-_LINES:]:
        print(f"  {failure.rule} {failure.output}: job {failure.job}: {failure.reason}", file=sys.stderr)
    if len(found) > _LINES:
        print(f"  and {len(found) - _LINES} before these", file=sys.stderr)


def ask_controller(job: str) -> str:
    """Return what Slurm's controller remembers of a job; nothing if it has forgotten it."""
    try:
        found = subprocess.run(
            ["scontrol", "show", "job", job], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout


if __name__ == "__main__":
    explain(sys.argv[1:])
