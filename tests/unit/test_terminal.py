"""What the terminal shows of a run."""

import io
import logging

import pytest
from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

from distrace.terminal import MOST_LISTED, Talk, talk_to_terminal

JOB = {"rule_name": "rollouts", "wildcards": {"author": "big", "part": "3"}, "jobid": 7, "reason": "Missing\n files"}


@pytest.fixture
def terminal():
    """A logger as Snakemake sets it up, what it wrote, and a function that says something with an event."""
    logger, stream = logging.Logger("snakemake"), io.StringIO()
    handler = ColorizingTextHandler(nocolor=True, stream=stream, formatter=DefaultFormatter())
    handler.addFilter(DefaultFilter(None, False, False, False, True))
    handler.name = "DefaultStreamHandler"
    logger.addHandler(handler)

    def say(message, event=None, **told):
        stream.truncate(0)
        stream.seek(0)
        logger.info(message, extra={"event": event} | told)
        return stream.getvalue()

    return logger, say


def talk(dryrun=False, whole=False, weights=None):
    return Talk(dryrun, whole, lambda: ["to write: 8 responses"], lambda: weights or {})


def test_a_job_is_one_line_with_what_is_left(terminal, monkeypatch):
    logger, say = terminal
    spoken = talk(weights={6: 10, 7: 30})
    assert talk_to_terminal(logger, spoken)
    assert say(None, LogEvent.JOB_INFO, **JOB).endswith(" rollouts big/3\n")
    monkeypatch.setattr("time.monotonic", lambda: spoken.began + 20)
    assert say("Finished", LogEvent.JOB_FINISHED, job_id=6) == ""
    assert say(None, LogEvent.PROGRESS, done=1, total=2) == ""
    assert say(None, LogEvent.JOB_INFO, **JOB).endswith(" rollouts big/3 (1 of 2 done, about 60 s left)\n")
    assert say(None, LogEvent.PROGRESS, done=2, total=2).endswith(" 2 of 2 done\n")
    for unsaid in ("Select jobs to execute...", "Execute 1 jobs...", "RuleException:\nCalledProcessError in file"):
        assert say(unsaid) == ""
    assert say("python -m ...", LogEvent.SHELLCMD, cmd="python -m ...") == ""
    assert say("Something else") == "Something else\n"


@pytest.mark.parametrize(("in_context", "shown"), [("", "big"), ("/window-4", "big/window-4")])
def test_a_job_is_named_without_wildcards_that_are_empty(terminal, in_context, shown):
    logger, say = terminal
    talk_to_terminal(logger, talk())
    job = JOB | {"wildcards": {"author": "big", "in_context": in_context}}
    assert say(None, LogEvent.JOB_INFO, **job).endswith(f" rollouts {shown}\n")


def test_the_first_lines_follow_the_table_of_jobs_once(terminal):
    logger, say = terminal
    talk_to_terminal(logger, talk())
    assert say("Job stats:", LogEvent.RUN_INFO) == "Job stats:\nto write: 8 responses\n\n"
    assert say("Job stats:", LogEvent.RUN_INFO) == "Job stats:\n"


def test_a_failed_job_shows_the_end_of_its_log_and_no_command(terminal, tmp_path):
    logger, say = terminal
    talk_to_terminal(logger, talk())
    (tmp_path / "0.log").write_text("\n".join(map(str, range(100))) + "\nerror: broken; mend it\n")
    told = {"rule_name": "grades", "output": ["a.arrow"], "log": [f"{tmp_path}/0.log"], "shellcmd": "python"}
    found = say(None, LogEvent.JOB_ERROR, **told).splitlines()
    assert found[0].endswith(" grades failed: a.arrow")
    assert found[-2:] == ["    error: broken; mend it", "(--printshellcmds shows whole commands)"]
    assert len(found) < 50
    told["log"] = [f"{tmp_path}/gone.log"]
    assert "grades failed" in say(None, LogEvent.JOB_ERROR, **told)


def test_a_dry_run_gives_the_reasons_of_its_first_jobs(terminal):
    logger, say = terminal
    talk_to_terminal(logger, talk(dryrun=True))
    lines = [say(None, LogEvent.JOB_INFO, **JOB) for _ in range(MOST_LISTED + 3)]
    assert lines[0] == lines[MOST_LISTED - 1] == "rollouts big/3: Missing files\n"
    assert lines[MOST_LISTED].startswith("... and more; --printshellcmds lists all")
    assert lines[MOST_LISTED + 1 :] == ["", ""]


def test_all_is_said_on_request(terminal):
    logger, say = terminal
    talk_to_terminal(logger, talk(whole=True))
    assert say("Job stats:", LogEvent.RUN_INFO) == "Job stats:\nto write: 8 responses\n\n"
    assert say("python -m ...", LogEvent.SHELLCMD, cmd="python -m ...") == "python -m ...\n"


def test_the_time_left_is_not_guessed_from_nothing():
    assert talk().seconds_left() is None
    spoken = talk(weights={1: 1, 2: 99})
    assert spoken.seconds_left() is None
    spoken.text(LogEvent.JOB_FINISHED, {"job_id": 1})
    assert spoken.seconds_left() is None  # 1 %
    spoken.text(LogEvent.JOB_FINISHED, {"job_id": 2})
    assert spoken.seconds_left() is None  # nothing is left


def test_a_terminal_that_another_plugin_writes_to_is_left_alone():
    logger = logging.Logger("other")
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    assert not talk_to_terminal(logger, talk())
