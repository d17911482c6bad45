"""What the terminal shows of a run: a line for each job, and how much is left; Snakemake's log file holds all as ever.

Snakemake itself writes some ten lines for each job that starts, more where its inputs are many. With `--printshellcmds`
or `--verbose` it does so still, commands included. A dry run lists the first jobs alone, beside its table of them all.
"""

import contextlib
import copy
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, get_event
from snakemake_interface_logger_plugins.common import LogEvent

from distrace.pages.texts import duration

MOST_LISTED = 40  # jobs of a dry run
LEAST_DONE = 0.02  # share of the work, before which nothing is said of the time left
_HANDLER = "DefaultStreamHandler"  # Snakemake's name of the handler that writes to the terminal
_SHOWN_OF_A_REASON = 100  # characters
_SHOWN_OF_A_LOG = 40  # lines
# What is no news, and whole commands of failed jobs, which have an event of their own.
_UNSAID = ("Select jobs to execute...", "Execute ", "RuleException:\nCalledProcessError")
_PLAIN = LogEvent.RESOURCES_INFO  # an event whose message is written as it is


@dataclass
class Talk:
    """What is told of a run: `opening` gives its first lines once its jobs are known, `weights` what each job costs.

    `weights` are seconds by number of the job, of those that ran or will.
    """

    dryrun: bool
    whole: bool  # all that Snakemake says, too
    opening: Callable[[], Iterable[str]]
    weights: Callable[[], Mapping[int, float]]
    began: float = field(default_factory=lambda: time.monotonic())
    opened: bool = False
    listed: int = 0
    seconds_done: float = 0.0  # by `weights`
    done: int = 0
    total: int = 0

    def text(self, event: LogEvent | None, told: Mapping[str, Any]) -> str | None:
        """Return what to write of an event in place of Snakemake's text: nothing if empty; None leaves that."""
        if event == LogEvent.RUN_INFO and not self.opened:
            self.opened = True
            return "\n".join([str(told["msg"]), *self.opening(), ""])
        if self.whole:
            return None
        if event == LogEvent.JOB_INFO:
            return self._of_job(told)
        if event == LogEvent.JOB_FINISHED:
            self.seconds_done += self.weights().get(told["job_id"], 0)
            return ""
        if event == LogEvent.PROGRESS:
            self.done, self.total = told["done"], told["total"]
            return f"{_clock()} {self.total} of {self.total} done" if self.done == self.total else ""
        if event == LogEvent.JOB_ERROR:
            return _failed(told)
        unsaid = event in (LogEvent.SHELLCMD, LogEvent.WORKFLOW_STARTED) or str(told["msg"]).startswith(_UNSAID)
        return "" if unsaid else None

    def _of_job(self, told: Mapping[str, Any]) -> str:
        self.listed += 1
        if self.dryrun and self.listed > MOST_LISTED:
            return "... and more; --printshellcmds lists all\n" if self.listed == MOST_LISTED + 1 else ""
        if self.dryrun:
            return f"{_name(told)}: {_short(str(told['reason']))}"
        left = self.seconds_left()
        ahead = f" ({self.done} of {self.total} done, about {duration(left)} left)" if left is not None else ""
        return f"{_clock()} {_name(told)}{ahead}"

    @cached_property
    def _seconds(self) -> float:
        return sum(self.weights().values())

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest takes if it goes on at the speed so far; None if too little is done."""
        total, done = self._seconds, self.seconds_done
        if not total or done < LEAST_DONE * total or done >= total:
            return None
        return (time.monotonic() - self.began) * (total - done) / done


class Handler(ColorizingTextHandler):  # type: ignore[misc]  # Snakemake ships no types
    """Snakemake's handler for the terminal, with other texts for some events."""

    def __init__(self, given: ColorizingTextHandler, talk: Talk) -> None:
        super().__init__(nocolor=given.nocolor, stream=given.stream, formatter=given.formatter)
        self.name = given.name
        self.filters = given.filters
        self.talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or what is told in its place."""
        text = self.talk.text(get_event(record), record.__dict__)
        if text is not None:
            record = copy.copy(record)
            record.event, record.msg = _PLAIN, text
        super().emit(record)


def talk_to_terminal(logger: logging.Logger, talk: Talk) -> bool:
    """Put the handler in the place of Snakemake's own; return whether there was one."""
    for given in logger.handlers:
        if given.name == _HANDLER and isinstance(given, ColorizingTextHandler):
            logger.removeHandler(given)
            logger.addHandler(Handler(given, talk))
            return True
    return False


def _name(told: Mapping[str, Any]) -> str:
    """Return the rule of a job and what its wildcards stand for."""
    # The wildcard of a context is empty for the whole one, and begins with a slash for another.
    values = "/".join(filter(None, (str(value).strip("/") for value in dict(told["wildcards"] or {}).values())))
    return f"{told['rule_name']} {values}".strip()


def _failed(told: Mapping[str, Any]) -> str:
    """Return that a job failed, the end of its log, and where that lies."""
    lines = [f"{_clock()} {told['rule_name']} failed: {', '.join(told['output'] or [])}"]
    for path in told["log"] or []:
        with contextlib.suppress(OSError):
            written = Path(path).read_text("utf-8", "replace").splitlines()
            lines += [f"the end of {path}:", *(f"    {line}" for line in written[-_SHOWN_OF_A_LOG:])]
    return "\n".join([*lines, "(--printshellcmds shows whole commands)"])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_OF_A_REASON else f"{line[:_SHOWN_OF_A_REASON]}..."


def _clock() -> str:
    return time.strftime("%H:%M:%S")
