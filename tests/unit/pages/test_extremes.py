"""Report and explorer of runs at their limits: nothing, one row, all wrong, all unjudged, all rejected."""

import copy
import json
import re
from pathlib import Path

import pytest

import results
from distrace.nodes.explorer import write_explorer
from distrace.nodes.report import write_report
from distrace.pages.closing import closing_lines
from distrace.plan import load_plan

ONE = {"d0": ("1+1?", True, [("2\n", results.TEACHER)])}


def with_verdict(correct):
    return {name: (asked, correct, written) for name, (asked, _, written) in results.TRACED.items()}


# What the distilled model wrote, the questions, and whether the others' answers are all rejected.
CASES = {
    "one response to one question": (ONE, {"1+1?": "2"}, False),
    "all answers wrong": (with_verdict(False), results.ANSWERS, False),
    "all answers right": (with_verdict(True), results.ANSWERS, False),
    "no answer can be judged": (with_verdict(None), results.ANSWERS, False),
    "all of the distilled model's responses rejected": ({}, results.ANSWERS, False),
    "all responses of all models rejected": ({}, results.ANSWERS, True),
    "one question, and no response to it": ({}, {"1+1?": "2"}, True),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
    traced, answers, none = CASES[request.param]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "TRACED", traced)
    monkeypatch.setattr(results, "ANSWERS", answers)
    if none:
        write = results._write_answers
        monkeypatch.setattr(results, "_write_answers", lambda plan, author, part, _: write(plan, author, part, {}))
    config = copy.deepcopy(results.CONFIG)
    if len(answers) == 1:
        config["questions"]["test"]["parts"] = 1
    results.write_results(config)
    return config


def test_report_explorer_and_closing_words_hold(case):
    write_report(copy.deepcopy(case), Path("report"))
    page = Path("report/index.html").read_text()
    numbers = json.loads(Path("report/numbers.json").read_text(), parse_constant=pytest.fail)
    assert "None" not in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    assert "(0.0-0.0)" not in page
    assert "(100.0-100.0)" not in page
    for line in closing_lines(numbers):
        assert "None" not in line
        assert not re.search(r"\bnan\b", line, re.IGNORECASE)
    plan = load_plan(copy.deepcopy(case))
    write_explorer(plan.config, Path("report"))
    assert "main.teacher.longest.0" in Path("report/explorer.html").read_text()
