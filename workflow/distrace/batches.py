"""Work that takes hours, in batches: batches that a killed job finished are not computed again; the log shows progress.

Each finished batch is a file in a folder beside the output (`.NAME.state`). Its name is a digest of the output's
fingerprint and of the batch, so a stale file is never used. The folder is removed once the output is written.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from distrace.artifacts import replacing
from distrace.identity import short_id

Row = dict[str, Any]

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10


def run_batches(
    out: Path,
    fingerprint: str,
    batches: list[list[int]],
    schema: pa.Schema,
    compute: Callable[[list[int]], list[Row]],
    resumed: Callable[[list[int]], None],
) -> list[Row]:
    """Return a row of `schema` for every index in `batches`, in the order of the indices 0, 1, 2...

    `compute` returns the rows of a batch. A batch that an earlier job finished, with the same output and fingerprint,
    is read from its file instead, and `resumed` is called with it.
    """
    folder = state_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{short_id(fingerprint, batch)}.arrow" for batch in batches]
    if finished := [number for number, file in enumerate(files, 1) if file.exists()]:
        log.info(
            "%d of %d batches were finished before: %s",
            len(finished),
            len(batches),
            ", ".join(map(str, finished)),
        )
    rows: dict[int, Row] = {}
    for batch, file in zip(batches, files, strict=True):
        if file.exists():
            found = _read(file)
            resumed(batch)
        else:
            found = compute(batch)
            _write(file, found, schema)
        rows.update(zip(batch, found, strict=True))
    return [rows[index] for index in range(len(rows))]


def state_folder(out: Path) -> Path:
    """Return the folder that holds the finished batches of an unfinished output."""
    return out.parent / f".{out.name}.state"


def forget_batches(out: Path) -> None:
    """Remove the finished batches of an output that has been written."""
    shutil.rmtree(state_folder(out), ignore_errors=True)


def _write(file: Path, rows: list[Row], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    with replacing(file) as temporary, pa.ipc.new_file(str(temporary), schema) as sink:
        sink.write_table(table)


def _read(file: Path) -> list[Row]:
    with pa.memory_map(str(file)) as source:
        rows: list[Row] = pa.ipc.open_file(source).read_all().to_pylist()
    return rows


@dataclass
class Progress:
    """A log line every ten seconds: how much of `total` (in `unit`) is done, tokens per second, and the time left."""

    total: int
    unit: str
    done: int = 0
    resumed: int = 0
    tokens: int = 0
    began: float = field(default_factory=lambda: time.monotonic())
    said: float = field(default_factory=lambda: time.monotonic())

    def skip(self, amount: int) -> None:
        """Count work that an earlier job did, and leave it out of the speed."""
        self.done += amount
        self.resumed += amount

    def add(self, tokens: int, amount: int) -> None:
        """Count tokens processed and work done since the last call."""
        self.tokens += tokens
        self.done += amount
        now = time.monotonic()
        if now - self.said < SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self.said = now
        elapsed = max(now - self.began, 1e-9)
        log.info(
            "%d of %d %s, %.0f tokens/s, %s",
            self.done,
            self.total,
            self.unit,
            self.tokens / elapsed,
            self._left(elapsed),
        )

    def _left(self, elapsed: float) -> str:
        here = self.done - self.resumed
        if self.done == self.total:
            return f"done in {_duration(elapsed)}"
        return f"about {_duration(elapsed * (self.total - self.done) / here)} left" if here else "time left unknown"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
