"""Work that takes hours, in batches: what a killed job finished is not computed again, and the log says how far it is.

Each finished batch lies as a file in a folder beside the output (`.NAME.state`), named after the fingerprint of the
output and the batch, so that nothing stale is ever taken for it. The folder goes when the output is written.
"""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from distrace.artifacts import replacing
from distrace.identity import short_id

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10


def run_batches(
    out: Path,
    fingerprint: str,
    plan: list[list[int]],
    schema: pa.Schema,
    compute: Callable[[list[int]], list[Mapping]],
    resumed: Callable[[list[int]], None],
) -> list[Mapping]:
    """Give a row of `schema` for every index in the batches of `plan`, in the order of the indices 0, 1, 2...

    `compute` gives the rows of a batch. Batches that an earlier job with the same output, fingerprint and batch
    finished are read instead, and `resumed` is told of them.
    """
    folder = state_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{short_id(fingerprint, batch)}.arrow" for batch in plan]
    if finished := [number for number, file in enumerate(files, 1) if file.exists()]:
        log.info(
            "%d of %d batches were finished before: %s",
            len(finished),
            len(plan),
            ", ".join(map(str, finished)),
        )
    rows: dict[int, Mapping] = {}
    for batch, file in zip(plan, files, strict=True):
        if file.exists():
            found = _read(file)
            resumed(batch)
        else:
            found = compute(batch)
            _write(file, found, schema)
        rows.update(zip(batch, found, strict=True))
    return [rows[index] for index in range(len(rows))]


def state_folder(out: Path) -> Path:
    """Give the folder that holds the finished batches of an output that is not finished yet."""
    return out.parent / f".{out.name}.state"


def forget_batches(out: Path) -> None:
    """Remove the finished batches of an output, now that it is written."""
    shutil.rmtree(state_folder(out), ignore_errors=True)


def _write(file: Path, rows: list[Mapping], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    with replacing(file) as temporary, pa.ipc.new_file(str(temporary), schema) as sink:
        sink.write_table(table)


def _read(file: Path) -> list[Mapping]:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all().to_pylist()


@dataclass
class Progress:
    """Logs every ten seconds how much of `total` (in `unit`) is done, tokens a second, and the time left."""

    total: int
    unit: str
    done: int = 0
    resumed: int = 0
    tokens: int = 0
    began: float = field(default_factory=lambda: time.monotonic())
    said: float = field(default_factory=lambda: time.monotonic())

    def skip(self, amount: int) -> None:
        """Count what an earlier job did; it says nothing of the speed."""
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
