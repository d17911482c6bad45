"""GPUs of this machine: how many there are, and which of them a job takes, so that no two jobs compute on the same one.

Snakemake counts GPUs (resource `gpu`), but names none, and torch takes the first. A cluster grants a job its own.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0
_held: list[int] = []  # file descriptors, whose locks the system ends with the process


def visible_gpus() -> list[str]:
    """Return the GPUs that programs on this machine may use; torch is not asked, which takes seconds."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        # A -1, and all after it, stands for none.
        before = (",".join(["", *allowed.replace(" ", "").split(",")]) + ",").partition(",-1,")[0]
        return [device for device in before.split(",") if device]
    if found := list(Path("/proc/driver/nvidia/gpus").glob("*")):
        return [str(number) for number in range(len(found))]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    return [str(number) for number in range(listed.stdout.count("UUID: GPU-"))]


def take_gpus(count: int, locks: Path | None = None) -> None:
    """Keep for this process and its children `count` GPUs that no other job of this machine has; wait until there are.

    Does nothing where there are no more than that: on a node of a cluster they were granted to this job. To be called
    before CUDA is.
    """
    visible = visible_gpus()
    if count == 0 or len(visible) <= count:
        return
    while len(taken := _locked(visible, count, locks or Path(tempfile.gettempdir()))) < count:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    log.info("on GPU %s of %s", ", ".join(taken), ", ".join(visible))


def _locked(visible: list[str], count: int, locks: Path) -> list[str]:
    """Return `count` GPUs whose locks this process now holds, or none if fewer are free."""
    taken: dict[str, int] = {}
    for device in visible:
        if len(taken) < count and (lock := _lock(locks / f"distrace-gpu-{device.replace('/', '-')}.lock")) is not None:
            taken[device] = lock
    if len(taken) < count:
        for lock in taken.values():
            os.close(lock)
        return []
    _held.extend(taken.values())
    return list(taken)


def _lock(path: Path) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY)  # it may be another user's
    except FileNotFoundError:
        file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
