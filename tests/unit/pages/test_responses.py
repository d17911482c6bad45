import copy
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

import explored
import results
from builders import write_grades, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, write, write_rejects
from distrace.pages.explorer import chunks as chunking
from distrace.pages.explorer import write_page
from distrace.pages.explorer.chunks import Chunks
from distrace.pages.explorer.responses import shown_questions, write_responses
from distrace.pages.explorer.responses import write_questions as write_questions_chunks
from distrace.parts import open_parts
from distrace.plan import RolloutSet, load_plan
from distrace.rejects import Reject

PAGE = Path("results/report/explorer.html")
SETS = ["teacher/test", "student/test", f"{results.DISTILLED}/test", "teacher/train"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def explorer_of(plan):
    write_page(plan, PAGE)
    return explored.read(PAGE)


def texts_of(index, chunks, number):
    bounds = index["rollout_sets"][number]["bounds"]
    return [explored.values(chunks, f"texts-{number}-{k}")["texts"] for k in range(len(bounds) - 1)]


def places(index):
    """Return the number of each rollout set, by author and questions."""
    names = [about["name"] for about in index["questions"]]
    return {f"{s['author']}/{names[s['questions']]}": number for number, s in enumerate(index["rollout_sets"])}


def test_every_response_of_every_test_is_there_with_its_text_and_its_grade():
    plan = results.write_results()
    index, chunks = explorer_of(plan)
    assert sorted(places(index)) == sorted(SETS)
    for rollouts in [*plan.tests("main"), *plan.all_candidates("main")]:
        number = places(index)[f"{rollouts.author}/{rollouts.questions}"]
        written = open_parts(plan.rollouts_parts("rollouts", rollouts), kinds.ROLLOUTS)
        grades = open_parts(plan.rollouts_parts("grades", rollouts), kinds.GRADES).read()
        found, table = explored.values(chunks, f"responses-{number}"), written.read()
        asked = explored.values(chunks, f"questions-{index['rollout_sets'][number]['questions']}")
        assert found["ids"] == table["rollout_id"].to_list() == grades["rollout_id"].to_list()
        assert [asked["ids"][row] for row in found["question"]] == table["question_id"].to_list()
        assert found["sample"] == table["sample"].to_list()
        assert found["correct"] == grades["correct"].to_list()
        assert found["finish"] == table["finish_reason"].to_list()
        assert found["answer_start"] == table["answer_start"].to_list()
        assert found["characters"] == [len(text) for text in table["text"]]
        assert found["tokens"] == [None] * len(table)
        assert "begun" not in found
        assert [t for texts in texts_of(index, chunks, number) for t in texts] == table["text"].to_list()
        about = index["rollout_sets"][number]
        assert (about["fingerprint"], about["responses"]) == (written.fingerprint, len(table))


def test_every_question_is_there_with_its_answer():
    plan = results.write_results()
    index, chunks = explorer_of(plan)
    for number, about in enumerate(index["questions"]):
        asked = open_parts(plan.questions_parts(about["name"]), kinds.QUESTIONS)
        found, table = explored.values(chunks, f"questions-{number}"), asked.read()
        assert found == {
            "ids": table["question_id"].to_list(),
            "questions": table["question"].to_list(),
            "answers": table["answer"].to_list(),
        }
        assert (about["fingerprint"], about["count"]) == (asked.fingerprint, len(table))


@pytest.mark.parametrize(("most", "bounds"), [(1, [0, 1, 2, 3, 4]), (46, [0, 1, 4]), (10**6, [0, 4])])
def test_texts_are_cut_into_chunks_whatever_the_parts(monkeypatch, most, bounds):
    monkeypatch.setattr(chunking.cut_bounds, "__defaults__", (most,))
    index, chunks = explorer_of(results.write_results())
    number = places(index)[f"{results.DISTILLED}/test"]
    assert index["rollout_sets"][number]["bounds"] == bounds
    lengths = [after - first for first, after in pairwise(bounds)]
    assert list(map(len, texts_of(index, chunks, number))) == lengths


def rewrite(plan, rollouts, **columns):
    """Write the rollouts and grades of a set again with other columns."""
    for path in (Path(plan.rollouts_parts("rollouts", rollouts)).with_name(f"{p}.arrow") for p in plan.parts["test"]):
        table = open_artifact(path, kinds.ROLLOUTS).read().with_columns(**columns)
        made = write(path, kinds.ROLLOUTS, table, {"again": table["rollout_id"].to_list()})
        graded = Path(str(path).replace("/rollouts/", "/grades/"))
        write(graded, kinds.GRADES, open_artifact(graded).read(), {"rollouts": made})
        write_rejects(path, [Reject("q", 0, "too long")], {"of": made})
    for kind in ("rollouts", "grades"):
        write_parts(Path(f"results/{kind}/{rollouts.folder}"))


def test_the_author_s_tokens_and_what_another_author_began_are_there_where_they_are_known():
    plan = results.write_results()
    rollouts = RolloutSet("teacher", "test", "answer")
    tokens = pl.Series([[1, 2, 3], []], dtype=pl.List(pl.Int32))
    rewrite(plan, rollouts, token_ids=tokens, begun=pl.lit(2, pl.Int32))
    index, chunks = explorer_of(plan)
    number = places(index)["teacher/test"]
    found = explored.values(chunks, f"responses-{number}")
    assert found["tokens"] == [3, 0, 3, 0]
    assert found["begun"] == [2] * 4
    assert index["rollout_sets"][number]["reasons"] == {"too long": 2}
    assert index["rollout_sets"][number]["rejected"] == 2


def test_of_candidates_those_of_the_first_questions_are_shown_and_later_parts_are_not_read(tmp_path):
    config = copy.deepcopy(results.CONFIG)
    config["questions"]["train"]["parts"] = 2
    config["explorer"] = {"candidate_questions": 1}
    plan = load_plan(config)
    [candidates] = plan.all_candidates("main")
    parts = [{"c0": ("5?", "Long."), "c1": ("6?", "6"), "c2": ("5?", "five")}, {"c3": ("7?", "7")}]
    for number, texts in enumerate(parts):
        asked = write_questions(Path(f"results/questions/train/{number}.arrow"), {q: "1" for q, _ in texts.values()})
        path = Path(plan.parts_in(f"results/rollouts/{candidates.folder}")[number])
        write_rejects(write_rollouts(path, asked, texts), [], {"number": number})
        write_grades(Path(str(path).replace("/rollouts/", "/grades/")), path, dict.fromkeys(texts, True))
    for folder in ("questions/train", f"rollouts/{candidates.folder}", f"grades/{candidates.folder}"):
        write_parts(Path("results", folder))
    path.unlink()
    chunks, shown_of = Chunks(tmp_path), {candidates: shown_questions(plan, [candidates])[candidates]}
    [about], [ids] = write_questions_chunks(plan, shown_of, chunks)
    shown, index = write_responses(plan, 0, candidates, 0, ids, shown_of[candidates], chunks)
    written = {name: chunks.read(name) for name in chunks.size}
    assert explored.values(written, "responses-0")["ids"] == ["c0", "c2"]
    assert explored.values(written, "texts-0-0") == {"texts": ["Long.", "five"]}
    assert explored.values(written, "questions-0")["questions"] == ["5?"]
    assert (about["count"], index["responses"], index["bounds"]) == (3, 4, [0, 2])
    assert [table["rollout_id"].to_list() for table in shown.parts] == [["c0", "c2"]]


def test_a_set_that_is_tested_and_selected_from_is_shown_whole():
    config = copy.deepcopy(results.CONFIG)
    config["runs"]["main"]["candidates"] = {"questions": "test", "sampling": "answer"}
    plan, other = load_plan(config), load_plan(copy.deepcopy(results.CONFIG))
    assert set(shown_questions(plan, plan.all_candidates("main")).values()) == {None}
    assert set(shown_questions(other, other.all_candidates("main")).values()) == {None, 200}


def test_a_set_without_responses_has_empty_lists():
    plan = results.write_results()
    rollouts = RolloutSet("student", "test", "answer")
    for part in plan.parts["test"]:
        path, graded = (Path(f"results/{kind}/{rollouts.folder}/{part}.arrow") for kind in ("rollouts", "grades"))
        made = write(path, kinds.ROLLOUTS, [], {"part": part})
        write(graded, kinds.GRADES, [], {"rollouts": made})
    for kind in ("rollouts", "grades"):
        write_parts(Path(f"results/{kind}/{rollouts.folder}"))
    index, chunks = explorer_of(plan)
    number = places(index)["student/test"]
    assert index["rollout_sets"][number]["bounds"] == [0]
    assert set(map(len, explored.values(chunks, f"responses-{number}").values())) == {0}
