"""One job at a time writes an output; another that is to write the same one waits until it has ended.

A Snakemake that is killed leaves its jobs running on a cluster, and the next one submits them a second time. Such a
second job waits here, then finds the result that the first one kept (`distrace.kept`), and computes nothing.

The sign of a job at work is a file beside the output (`.NAME.writer`). The job renews its date every ten seconds, and
removes it at the end. A sign that is not renewed for two minutes, or whose process is gone from this machine, is that
of a dead job; the next one puts its own in its place. A job that finds another's sign in place of its own (it had been
suspended, or cut off from the disk) ends at once. All it takes is a shared file system on which a file is made and
renamed by one job alone, as on NFS, Lustre and GPFS: no scheduler, no locks of the system.
"""

import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from uuid import uuid4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Seconds between two renewals of a sign, without one until its job counts as dead, and between two looks."""

    renewed: float = 10.0
    dead: float = 120.0
    looked: float = 2.0


@contextmanager
def one_writer(out: Path, pace: Pace = Pace()) -> Iterator[None]:
    """Keep other jobs that enter here with the same `out` waiting; wait first until one that is inside has ended."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sign, mine = out.with_name(f".{out.name}.writer"), _sign_of_this_job()
    _wait_and_put_up(sign, mine, pace)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(sign, mine, pace, ended), daemon=True)
    renewing.start()
    try:
        with _ending_in_order():
            yield
    finally:
        ended.set()
        renewing.join()
        if _read(sign)[0] == mine:
            sign.unlink()


def _sign_of_this_job() -> str:
    job = {"machine": _machine(), "process": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}
    return json.dumps(job | {"once": uuid4().hex})


def _machine() -> str:
    """Return the name of the machine and of its process ids: containers count theirs anew."""
    counted = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(counted) if counted.exists() else ''}".strip()


def _wait_and_put_up(sign: Path, mine: str, pace: Pace) -> None:
    seen, since = ("", 0), time.monotonic()
    while not _create(sign, mine):
        found = _read(sign)
        if found[0] != seen[0]:
            log.info("another job is writing %s: waiting until it has ended (%s)", sign.parent, found[0])
        if found != seen:
            # By this machine's own clock: those of two machines differ.
            seen, since = found, time.monotonic()
        if _is_gone(found[0]) or time.monotonic() - since > pace.dead:
            log.info("the job that was writing %s is dead: going on in its place", sign.parent)
            _take_down(sign, found[0])
            continue
        time.sleep(pace.looked)


def _create(sign: Path, text: str) -> bool:
    """Return whether the file was made here, with this text; False if it is there already."""
    try:
        with sign.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _read(sign: Path) -> tuple[str, int]:
    """Return the text and the date of a sign, none where there is no sign; opened anew, or NFS shows an old date."""
    try:
        with sign.open(encoding="utf-8") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return "", 0


def _is_gone(text: str) -> bool:
    """Return whether a sign names a process of this machine that has ended."""
    try:
        job = json.loads(text)
    except json.JSONDecodeError:  # it is being written
        return False
    if job["machine"] != _machine():
        return False
    try:
        os.kill(job["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _take_down(sign: Path, dead: str) -> None:
    """Remove a dead job's sign, unless another job has just put up its own."""
    aside = sign.with_name(f"{sign.name}.{uuid4().hex}")
    try:
        sign.rename(aside)
    except FileNotFoundError:
        return
    if _read(aside)[0] == dead:
        aside.unlink()
    else:
        aside.rename(sign)


def _renew(sign: Path, mine: str, pace: Pace, ended: threading.Event) -> None:
    while not ended.wait(pace.renewed):
        found = _read(sign)[0]
        if found == mine:
            os.utime(sign)
        elif found or not _create(sign, mine):
            log.error("another job took the place of this one, which seemed dead: ending")
            os._exit(1)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let SIGTERM, with which schedulers end a job, take the sign down, so that the next job need not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
