"""The lock that a killed Snakemake leaves in its folder is taken away by the next one; a living one's stays.

Snakemake's own lock (`.snakemake/locks`) does not say whose it is, so after `kill -9`, a hang-up or a reboot the same
command stops until `--unlock`. Here each Snakemake of distrace also holds a lock of the system on a file beside it,
which the kernel lets go of when the process ends, however it ends.
"""

import fcntl
import logging
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)


def hold_folder(folder: Path) -> IO[str] | None:
    """Return the lock of a `.snakemake` folder, to be kept open as long as this Snakemake runs; None if it is taken.

    With the lock, the locks that a dead Snakemake has left in the folder are removed. None is removed before the first
    Snakemake has held the folder's lock: it may be that of another program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "distrace.lock"
    was_held = file.exists()
    lock = file.open("a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError as error:  # a file system without locks: Snakemake's own lock alone holds
        log.info("%s cannot be locked (%s): after a kill, run once with --unlock", file, error)
        lock.close()
        return None
    stale = list((folder / "locks").glob("*.lock")) if was_held else []
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        log.warning("the Snakemake that ran here before has ended without taking its lock away: it is removed")
    return lock
