import copy
import shutil
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

import explored
import results
from builders import write_grades, write_lines, write_parts, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, write_rejects
from distrace.nodes.ranking import write_ranking
from distrace.nodes.selection import write_selection
from distrace.pages.explorer.candidates import shown_pools, write_candidates
from distrace.pages.explorer.chunks import Chunks
from distrace.pages.explorer.responses import shown_questions, write_responses
from distrace.pages.explorer.responses import write_questions as write_question_chunks
from distrace.plan import load_plan, logprobs_path, ranking_path, selection_path
from distrace.rejects import Reject

ANSWERS = {"5+5?": "10", "6+6?": "12"}  # the first is shown
# Of each teacher, the responses: question, and of each line its text and its probabilities under teacher and student.
WRITTEN = {
    "teacher": {
        "a0": ("5+5?", [("Long.\n", (0.9, 0.1)), ("10\n", (0.5, 0.25))]),
        "a1": ("6+6?", [("12\n", (0.5, 0.5))]),
        "a2": ("5+5?", []),
    },
    "other": {"b0": ("5+5?", [("Ten.\n", (0.2, 0.6))])},
}


def config_of():
    config = copy.deepcopy(results.CONFIG)
    config["models"]["other"] = {"source": {"folder": "other"}}
    wanted = {"teachers": list(WRITTEN), "strategies": ["longest", "random"], "pooled": True, "seeds": [0, 1]}
    config["runs"]["main"] |= wanted
    config["explorer"] = {"candidate_questions": 1}
    return config


def write_set(rollouts, written):
    """Write what the candidates of a teacher consist of, and their ranking."""
    folder = Path(rollouts.folder)
    texts = {name: (question, "".join(text for text, _ in lines)) for name, (question, lines) in written.items()}
    path = write_rollouts(Path("results/rollouts") / folder / "0.arrow", Path("results/questions/train/0.arrow"), texts)
    rejects = [Reject(open_artifact(path).read("question_id")["question_id"][0], 3, "no room"), Reject("far", 4, "far")]
    write_rejects(path, rejects, {})
    write_grades(Path("results/grades") / folder / "0.arrow", path, dict.fromkeys(texts, True))
    sentences = write_lines(Path("results/sentences/lines") / folder / "0.arrow", path)
    scored = [
        write_probabilities(
            Path(logprobs_path(scorer, rollouts, "0")),
            sentences,
            path,
            {name: [p[number] for _, p in lines] for name, (_, lines) in written.items()},
        )
        for number, scorer in enumerate((rollouts.author, "student"))
    ]
    for kind in ("grades", "sentences/lines"):
        write_parts(Path("results", kind) / folder)
    write_ranking(path, sentences, *scored, 0.1, 0, Path(ranking_path("main", rollouts)))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The plan of two teachers whose candidates are pooled, what the index says of them, and the chunks."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("results")
        patch.chdir(folder)
        plan = load_plan(config_of())
        write_questions(Path("results/questions/train/0.arrow"), ANSWERS)
        write_parts(Path("results/questions/train"))
        sets = plan.pools("main")["pooled"]
        for rollouts in sets:
            write_set(rollouts, WRITTEN[rollouts.author])
        for name in ("longest", "random"):
            out = Path(selection_path("main", plan.candidates("main", "pooled"), name))
            rankings = [Path(ranking_path("main", rollouts)) for rollouts in sets]
            write_selection(rankings, list(WRITTEN), name, {name: asdict(plan.strategy(name))}, out)
        chunks, most = Chunks(folder), shown_questions(plan, sets)
        [pool] = shown_pools(plan)
        _, [asked] = write_question_chunks(plan, {rollouts: most[rollouts] for rollouts in sets}, chunks)
        shown = [write_responses(plan, n, r, 0, asked, most[r], chunks)[0] for n, r in enumerate(sets)]
        about = write_candidates(plan, 0, pool, shown, asked, chunks)
        yield plan, about, {name: chunks.read(name) for name in chunks.size}


def test_the_index_says_what_is_shown_and_what_was_trained_on_it(found):
    plan, about, _ = found
    assert about == {
        "run": "main",
        "teacher": "pooled",
        "rollouts": [0, 1],
        "scores": plan.scores("main"),
        "strategies": ["longest", "random"],
        "models": {name: [f"main.pooled.{name}.{seed}" for seed in (0, 1)] for name in ("longest", "random")},
        "shown_questions": 1,
        "all_questions": 2,
        "beta": 0.1,
    }


def test_every_candidate_of_the_questions_shown_is_there_also_one_that_was_not_ranked(found):
    _, _, chunks = found
    values = explored.values(chunks, "candidates-0")
    assert (values["set"], values["row"], values["question"]) == ([0, 0, 1], [0, 1, 0], [0, 0, 0])
    ids = [explored.values(chunks, f"responses-{number}")["ids"] for number in (0, 1)]
    assert ids == [["a0", "a2"], ["b0"]]


def test_scores_are_those_of_the_rankings_and_null_where_there_is_none(found):
    plan, about, chunks = found
    values = explored.values(chunks, "candidates-0")["scores"]
    assert list(values) == about["scores"]
    tables = [open_artifact(ranking_path("main", rollouts)).read() for rollouts in plan.pools("main")["pooled"]]
    a0, b0 = (table.filter(pl.col("rollout_id").is_in(["a0", "b0"])).row(0, named=True) for table in tables)
    for name in about["scores"]:
        assert values[name] == [a0[name], None, b0[name]]
    assert values["teacher_count"] == [2.0, None, 0.0]


def test_each_strategy_says_which_it_took_and_why(found):
    plan, _, chunks = found
    values = explored.values(chunks, "candidates-0")["strategies"]
    assert list(values) == ["longest", "random"]
    for name, choice in values.items():
        selected = open_artifact(
            selection_path("main", plan.candidates("main", "pooled"), name), kinds.SELECTION
        ).read()
        rows = {row["rollout_id"]: row for row in selected.to_dicts()}
        for column in ("rank", "reason", "eligible"):
            assert choice[column] == [rows["a0"][column], None, rows["b0"][column]]
    assert values["longest"]["rank"] == [1, None, None]


def test_rejects_are_those_of_the_questions_shown(found):
    _, _, chunks = found
    rejects = explored.values(chunks, "candidates-0")["rejects"]
    [asked] = explored.values(chunks, "questions-0")["ids"]
    assert rejects == [
        {"source": asked, "reason": "no room"},
        {"source": "a2", "reason": "an empty response"},
        {"source": asked, "reason": "no room"},
    ]


def test_sentences_of_candidates_have_their_probability_under_teacher_and_student(found):
    _, _, chunks = found
    one, other = (explored.arrays(chunks, f"leans-0-{place}-0") for place in (0, 1))
    assert {name: array.tolist() for name, array in one.items()} == {
        "counts": [2, 0],
        "start": [0, 6],
        "end": [6, 9],
        "p_teacher": pytest.approx([0.9, 0.5]),
        "p_student": pytest.approx([0.1, 0.25]),
    }
    assert other["counts"].tolist() == [1]
    assert other["p_student"].tolist() == pytest.approx([0.6])


def test_a_pool_of_which_parts_were_deleted_is_left_out_with_a_warning(found, caplog, monkeypatch, tmp_path):
    plan, _, _ = found
    shutil.copytree("results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert [pool.name for pool in shown_pools(plan)] == ["pooled"]
    gone = Path("results/sentences/lines/other/train/explore/0.arrow")
    gone.unlink()
    assert shown_pools(plan) == []
    assert f"candidates of main, pooled are not shown, since {gone} is no longer there" in caplog.text
