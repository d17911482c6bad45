import copy
from pathlib import Path

import pytest

import explored
import results
from distrace.artifacts import open_artifact, rejects_path
from distrace.kinds import PARTS
from distrace.nodes.explorer import write_explorer


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return results.write_results()


def test_the_page_is_written_beside_the_report(plan):
    write_explorer(copy.deepcopy(results.CONFIG), Path("results/report"))
    index, chunks = explored.read(Path("results/report/explorer.html"))
    assert [trace["sentences"] for trace in index["traces"]] == [8]
    assert len(chunks) > 10


def test_the_explorer_reads_only_what_its_inputs_name(plan, monkeypatch, tmp_path):
    write_explorer(plan.config, Path("whole"))
    wanted = [Path(path) for path in plan.explorer_inputs()]
    wanted += [
        path.with_name(f"{part}.arrow")
        for path in wanted
        if path.name == "parts.arrow"
        for part in open_artifact(path, PARTS).read("part")["part"]
    ]
    wanted += [rejects for path in wanted if (rejects := rejects_path(path)).is_file()]
    for path in wanted:
        (tmp_path / "again" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / path).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path / "again")
    write_explorer(plan.config, Path("whole"))
    assert Path("whole/explorer.html").read_bytes() == (tmp_path / "whole/explorer.html").read_bytes()
