"""Which teacher it was, from hand-made leans and losses."""

import copy
import re
from pathlib import Path

import polars as pl
import pytest
from jinja2 import Environment, PackageLoader

from builders import write
from configs import CONFIG
from distrace import kinds
from distrace.pages.attribution import attribution_numbers
from distrace.pages.report import FILTERS
from distrace.plan import RolloutSet, attribution_path, distilldetect_path, load_plan

QUESTIONS = 40
ANSWERS = RolloutSet("ready", "test", "answer")


def plan_with(**attribution: object):
    config = copy.deepcopy(CONFIG)
    config["models"] |= {name: {"source": {"folder": name}} for name in ("b0", "b1", "b2", "o0", "o1", "o2")}
    config["runs"]["given"]["attribution"] = attribution
    return load_plan(config)


def write_leans(role: str, author: str, lean: float, big: float, other: float) -> list[dict]:
    """Return rows of an author's answers: a mean lean towards `big`, and mean probabilities under both teachers."""
    return [
        {"rollout_id": f"{author}{n}", "question_id": f"q{n}", "role": role, "author": author}
        | {"teacher": "big", "other": "other", "lean": lean + (n % 2 - 0.5) / 10, "sentences": 4}
        | {"p_teacher": big, "p_other": other}
        for n in range(QUESTIONS)
    ]


def numbers(plan, rows: list[dict]) -> dict:
    write(Path(attribution_path("given", ANSWERS)), kinds.ATTRIBUTION, rows, {})
    return attribution_numbers(plan, "given", ANSWERS)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


STUDENT = write_leans("student", "student", 0.0, 0.1, 0.1)


@pytest.mark.parametrize(
    ("distilled", "answer"),
    [
        ((0.8, 0.9, 0.2), ["big"]),
        ((-0.8, 0.2, 0.9), ["other"]),
        ((-0.8, 0.8, 0.9), ["big", "other"]),  # kin: it came nearer to both
        ((0.0, 0.9, 0.9), ["big", "other"]),
        ((0.0, 0.1, 0.1), []),
        ((0.8, 0.1, 0.0), []),  # nearer to the one than to the other, but to none than before
    ],
)
def test_what_cannot_be_excluded_became_likelier_and_was_not_left_for_another(distilled, answer):
    found = numbers(plan_with(), write_leans("distilled", "distilled", *distilled) + STUDENT)
    assert (found["not_excluded"], found["by"], found["references"]) == (answer, "leans", None)
    assert found["teachers"][0]["difference"]["mean"] == pytest.approx(distilled[1] - 0.1)
    assert found["distilldetect"] is None


def references(**leans: float) -> list[dict]:
    return [row for name, lean in leans.items() for row in write_leans("reference", name, lean, 0.9, 0.9)]


@pytest.mark.parametrize(("lean", "answer"), [(0.31, ["big"]), (0.22, ["other"]), (0.6, [])])
def test_with_reference_students_a_model_that_leans_one_way_may_be_that_of_another_teacher(lean, answer):
    named = {"big": ["b0", "b1", "b2"], "other": ["o0", "o1", "o2"]}
    rows = references(b0=0.30, b1=0.32, b2=0.31, o0=0.20, o1=0.23, o2=0.22)  # all lean towards `big`
    found = numbers(plan_with(references=named), write_leans("distilled", "distilled", lean, 0.9, 0.9) + STUDENT + rows)
    assert (found["not_excluded"], found["by"]) == (answer, "references")
    [pair] = found["references"]["pairs"]
    assert pair["lean"] == pytest.approx(lean)
    assert pair["students"] == {"big": pytest.approx([0.30, 0.32, 0.31]), "other": pytest.approx([0.20, 0.23, 0.22])}
    assert found["attributed_to"] == "big"


def test_what_leans_alone_exclude_is_excluded_also_where_the_students_of_a_teacher_differ_much():
    named = {"big": ["b0", "b1", "b2"], "other": ["o0", "o1", "o2"]}
    rows = references(b0=0.9, b1=0.1, b2=-0.9, o0=0.9, o1=0.1, o2=-0.9)
    found = numbers(plan_with(references=named), write_leans("distilled", "distilled", 0.8, 0.9, 0.1) + STUDENT + rows)
    assert found["references"]["not_excluded"] == ["big", "other"]
    assert found["not_excluded"] == ["big"]


def test_students_without_any_lean_exclude_nothing():
    named = {"big": ["b0", "b1", "b2"], "other": ["o0", "o1", "o2"]}
    rows = references(b0=0.3, b1=0.31, b2=0.32, o0=0.9)  # o1 and o2 wrote nothing that was scored
    found = numbers(plan_with(references=named), write_leans("distilled", "distilled", 0.9, 0.9, 0.9) + STUDENT + rows)
    assert found["references"]["not_excluded"] == ["big", "other"]


def losses(big: float, other: float) -> list[dict]:
    return [
        {"rollout_id": f"{teacher}{n}", "question_id": f"q{n}", "teacher": teacher}
        | {"loss_distilled": loss + n / 1000, "loss_student": 2.0 + n % 2 / 10}
        for teacher, loss in (("big", big), ("other", other))
        for n in range(QUESTIONS)
    ]


@pytest.mark.parametrize(
    ("found", "lowest", "answer"),
    [((0.5, 1.5), "big", ["big"]), ((1.5, 0.5), "other", ["other"]), ((2.5, 3.0), "big", [])],
)
def test_distilldetect_names_the_teacher_on_whose_answers_the_loss_fell_most(found, lowest, answer):
    plan = plan_with(distilldetect=True)
    write(Path(distilldetect_path("given", ANSWERS)), kinds.DISTILLDETECT, losses(*found), {})
    detected = numbers(plan, write_leans("distilled", "distilled", 0.8, 0.9, 0.2) + STUDENT)["distilldetect"]
    assert (detected["lowest"], detected["not_excluded"]) == (lowest, answer)
    mean = detected["teachers"][0]["difference"]["mean"]
    assert mean == pytest.approx(2.05 - found[0] - (QUESTIONS - 1) / 2000)


@pytest.mark.parametrize(("fall", "answer"), [(0.010, ["big"]), (0.001, ["other"]), (0.005, []), (-0.5, [])])
def test_reference_students_tell_teachers_apart_by_losses_that_all_fell_most_on_those_of_one(fall, answer):
    named = {"big": ["b0", "b1", "b2"], "other": ["o0", "o1", "o2"]}
    plan = plan_with(references=named, distilldetect=True)
    # On the answers of `other`, every loss is 0.1; on those of `big`, it is lower by so much.
    lower = {"distilled": fall} | {
        f"reference_{n}": x for n, x in enumerate((0.010, 0.011, 0.010, 0.001, 0.000, 0.001))
    }
    rows = [
        row | {f"loss_{name}": 0.1 - (x if row["teacher"] == "big" else 0) for name, x in lower.items()}
        for row in losses(0, 0)
    ]
    write(Path(distilldetect_path("given", ANSWERS)), kinds.DISTILLDETECT, pl.DataFrame(rows), {})
    leans = write_leans("distilled", "distilled", 0.8, 0.9, 0.9) + STUDENT + references(b0=0.8, b1=0.7, o0=0.8, o1=0.7)
    detected = numbers(plan, leans)["distilldetect"]
    assert detected["not_excluded"] == answer
    [pair] = detected["references"]["pairs"]
    assert pair["fall"] == pytest.approx(fall)
    assert pair["students"] == {
        "big": pytest.approx([0.010, 0.011, 0.010]),
        "other": pytest.approx([0.001, 0.000, 0.001]),
    }


def section(found: dict) -> str:
    """Return the text of the section of the report, as the page includes it in its loops."""
    environment = Environment(loader=PackageLoader("distrace", "pages"), autoescape=True, trim_blocks=True)
    environment.filters.update(FILTERS)
    page = environment.from_string(
        '{% for name, run in runs.items() %}{% for found in run.attribution %}{% include "attribution.html" %}'
        "{% endfor %}{% endfor %}"
    )
    run = {"teachers": ["big", "other"], "beta": 0.1, "attribution": [found]}
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.render(runs={"given": run}, margin=0.05)))


def test_the_report_shows_what_both_tests_leave_and_where_they_disagree():
    named = {"big": ["b0", "b1", "b2"], "other": ["o0", "o1", "o2"]}
    plan = plan_with(references=named, distilldetect=True)
    lower = {"distilled": 0.01} | {
        f"reference_{n}": x for n, x in enumerate((0.010, 0.011, 0.010, 0.001, 0.000, 0.001))
    }
    rows = [
        row | {f"loss_{name}": 0.1 - (x if row["teacher"] == "big" else 0) for name, x in lower.items()}
        for row in losses(0, 0)
    ]
    write(Path(distilldetect_path("given", ANSWERS)), kinds.DISTILLDETECT, pl.DataFrame(rows), {})
    leans = write_leans("distilled", "distilled", 0.3, 0.9, 0.9) + STUDENT
    leans += references(b0=0.3, b1=0.31, b2=0.29, o0=0.3, o1=0.28, o2=0.32)
    found = numbers(plan, leans)
    text = section(found)
    assert "On test, not to be excluded at 5 %: big, other (by how students of each teacher differ)." in text
    assert "Both tests leave big; each may leave out the true teacher in 5 % of cases." in text
    assert "lean of ready of students of big of students of other" in text
    assert "0.300, 0.310, 0.290" in text
    found["distilldetect"]["not_excluded"] = []
    assert "The two tests disagree: no teacher is left by both." in section(found)
    alone = section(found | {"references": None, "distilldetect": None, "not_excluded": []})
    assert "On test, none of these (by leans alone)." in alone
    assert "DistillDetect" not in alone
