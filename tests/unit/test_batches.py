import logging

from distrace import batches
from distrace.batches import Progress


def test_progress_tells_speed_and_time_left_from_this_job_alone(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 0.0, 5.0, 20.0, 40.0])
    monkeypatch.setattr(batches.time, "monotonic", lambda: next(clock))
    progress = Progress(100, "responses")
    progress.skip(60)
    progress.add(500, 5)  # too early for a line
    progress.add(1500, 5)
    progress.add(2000, 30)
    assert caplog.messages == [
        "70 of 100 responses, 100 tokens/s, about 60 s left",
        "100 of 100 responses, 100 tokens/s, done in 40 s",
    ]
