"""The example of the library runs on a finished run, and its numbers are the workflow's."""

import runpy
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

import distrace

SCRIPT = Path(__file__).parents[2] / "examples/library/trace.py"


def test_the_example_gives_the_labels_and_the_ranking_of_the_run(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished)
    found = runpy.run_path(str(SCRIPT))
    distilled = found["DISTILLED"]
    of_run = distrace.read(f"results/provenance/main/teacher/{distilled}/test/answer/0.arrow")
    labelled = found["labelled"].filter(pl.col("label").is_not_null())
    assert len(of_run) > 20
    assert_frame_equal(labelled.select(of_run.columns), of_run, check_dtypes=False, abs_tol=1e-6)
    ranking = distrace.read("results/ranking/main/teacher/train/explore.arrow")
    first = found["ranking"].filter(pl.col("reason").is_null())
    both = first.join(ranking, on="rollout_id", how="left", suffix="_run", maintain_order="left")
    assert len(both) == len(first) > 5
    assert both["teacher_count"].to_list() == both["teacher_count_run"].to_list()
    assert (both["grape"] - both["grape_run"]).abs().max() < 1e-6
    assert "[" in capsys.readouterr().out
