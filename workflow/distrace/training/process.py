"""One of the processes that train a model together; `launch.py` starts them.

Run as `python -m distrace.training.process JOB ROWS`, by torch or accelerate, which say in variables of the environment
which of them it is.
"""

import json
import logging
import os
import sys
import threading
from pathlib import Path

import torch

from distrace.errors import DistraceError
from distrace.models import load_tokenizer
from distrace.training.launch import read_job
from distrace.training.trainer import train


def run_process(described: Path, rows: Path) -> None:
    """Train with the other processes; the first one logs, and writes the rows of the training log."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="[finetune] %(message)s")
    logging.getLogger("distrace").setLevel(logging.INFO if first else logging.ERROR)
    job = read_job(described)
    try:
        found = train(job, load_tokenizer(job.card, job.settings.trust_remote_code))
    except DistraceError as error:
        sys.exit(f"error: {error}")
    if first:
        rows.write_text(json.dumps(found), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def end_with_parent() -> None:
    """Read the input to its end, which comes when the job that started all processes has ended; then end, too.

    A job that is killed outright cannot end them itself, and the one that takes its place would train beside them.
    """
    while os.read(0, 1):  # not by sys.stdin, whose lock would keep Python from ending
        pass
    os._exit(1)


if __name__ == "__main__":
    run_process(*map(Path, sys.argv[1:]))
