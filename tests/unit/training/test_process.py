"""One of several processes; what they do together is in test_launch.py."""

import subprocess
import sys


def test_a_process_ends_when_the_job_that_started_it_has_ended():
    code = (
        "import threading, time\nfrom distrace.training.process import end_with_parent\n"
        "threading.Thread(target=end_with_parent, daemon=True).start()\nprint('started', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == 1
