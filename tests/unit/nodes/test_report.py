import json
from pathlib import Path

import pytest

import results
from distrace.nodes.report import write_report
from distrace.pages.numbers import numbers_of
from distrace.plan import load_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("results")
        patch.chdir(folder)
        plan = results.write_results()
        write_report(plan.config, Path("report"))
        yield folder / "report"


def test_the_numbers_of_the_page_are_there_for_programs(folder):
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers == json.loads(json.dumps(numbers_of(load_plan(dict(results.CONFIG)))))
    assert set(numbers["runs"]["main"]["accuracy"]["test"]["teacher"]) >= {"mean", "low", "high", "n"}


def test_the_page_is_the_same_each_time(folder):
    write_report(dict(results.CONFIG), Path("again"))
    for name in ("index.html", "numbers.json"):
        assert (Path("again") / name).read_bytes() == (folder / name).read_bytes()
