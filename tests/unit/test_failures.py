import pytest

from distrace.failures import Failure, explain, failures, reason

LOG = """Job 1 has been submitted with SLURM jobid 6 (log: {folder}/6.log).
Job 2 has been submitted with SLURM jobid 7 (log: {folder}/7.log).
[Wed Nov 25 01:18:00 2026]
Error in rule logprobs:
    message: SLURM-job '6' failed, SLURM status is: 'FAILED'. Detailed failure reason unavailable
    jobid: 1
    input: results/a.arrow
    output: results/b.arrow, results/b.rejects.arrow
    log: logs/b.log, {folder}/6.log (check log file(s) for error details)
    shell:
        python -m distrace.nodes.logprobs
        (command exited with non-zero exit code)
    external_jobid: 6
Logfile logs/b.log: empty file
Error in rule report:
    message: None
    jobid: 3
    output: results/report.html
    shell:
        false
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("JobState=FAILED\nslurmstepd: error: Exceeded job memory limit\n*** CANCELLED AT x ***", "killed for memory"),
        ("JobState=OUT_OF_MEMORY Reason=OutOfMemory", "killed for memory"),
        ("slurmstepd: error: *** JOB 2 ON n CANCELLED AT x DUE TO TIME LIMIT ***", "out of time"),
        ("JobState=TIMEOUT Reason=TimeLimit", "out of time"),
        (
            "slurmstepd: error: *** JOB 3 ON n CANCELLED AT x DUE TO NODE FAILURE ***",
            "its node failed",
        ),
        ("slurmstepd: error: *** JOB 3 ON n CANCELLED AT x DUE TO PREEMPTION ***", "preempted"),
        ("JobState=CANCELLED Reason=None", "cancelled"),
        ("JobState=FAILED Reason=NonZeroExitCode", "its command failed"),
        ("", "its command failed"),
    ],
)
def test_the_reason_is_found_in_what_slurm_says(words, expected):
    assert reason(words).startswith(expected)


def test_jobs_that_failed_on_slurm_are_found_with_their_logs_and_others_are_left_out(tmp_path):
    (tmp_path / "6.log").write_text("slurmstepd: error: Exceeded job memory limit\n")
    [found] = failures(LOG.format(folder=tmp_path), lambda job: "")
    assert found == Failure("logprobs", "results/b.arrow", "6", reason("Exceeded job memory limit"))


def test_where_the_log_is_gone_the_controller_is_asked(tmp_path):
    [found] = failures(LOG.format(folder=tmp_path), lambda job: f"JobId={job} JobState=TIMEOUT")
    assert found.reason.startswith("out of time")


def test_a_run_that_failed_a_thousand_times_is_told_in_few_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("distrace.failures.ask_controller", lambda job: "JobState=CANCELLED")
    log = tmp_path / "log"
    log.write_text(LOG.format(folder=tmp_path) + LOG.format(folder=tmp_path).split("\n", 2)[2] * 999)
    explain([str(log)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 30
    assert lines[1] == "  logprobs results/b.arrow: job 6: cancelled"
    assert lines[-1] == "  and 980 before these"


def test_a_run_without_slurm_is_not_spoken_of(tmp_path, capsys):
    log = tmp_path / "log"
    log.write_text("Finished jobid: 0\n")
    explain([str(log), str(tmp_path / "none")])
    assert capsys.readouterr().err == ""
