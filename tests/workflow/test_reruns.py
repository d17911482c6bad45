"""What a change costs: the jobs that run, each row of docs/reruns.md, and that models compute only what is new."""

import itertools
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
import yaml

from distrace.artifacts import open_artifact
from snakemake_runs import planned_jobs, snakemake

DISTILLED = "results/models/main.teacher"
SCORES = "results/logprobs/teacher/full/teacher/train/explore/0.arrow"


def change(folder: Path, edit) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def paths(*patterns: str) -> set[str]:
    """Return the paths that patterns stand for: "{a,b}/c" is a/c and b/c."""
    found = set()
    for pattern in patterns:
        pieces = [piece.split(",") for piece in re.split(r"[{}]", pattern)]
        found |= {"".join(chosen) for chosen in itertools.product(*pieces)}
    return found


def answers(model: str, parts: str = "{0,1}") -> set[str]:
    """Return the jobs of a model's answers to the test questions."""
    return paths(f"rollouts/{model}/test/answer/{parts}", f"{{rollouts,grades}}/{model}/test/answer/parts")


def scored(author: str, scorers: str, parts: str = "{0,1}") -> set[str]:
    """Return the scoring jobs of a model's answers, and what follows for their sentences."""
    return paths(
        f"logprobs/{scorers}/full/{author}/test/answer/{parts}",
        f"logprobs/{scorers}/full/{author}/test/answer/parts",
        f"{{sentences/sentences,truth,separation/main/teacher}}/{author}/test/answer/parts",
    )


COUNTED, RANDOM = "main.teacher.teacher_count.0", "main.teacher.random.0"
LABELS = paths(
    f"{{provenance,oracle}}/main/teacher/{COUNTED}/test/answer/parts",
    f"{{positions,sensitivity,validation}}/main/teacher/{COUNTED}/test/answer",
)
EVIDENCE = {f"evidence/main/{COUNTED}/test/answer/parts"}
REPORT = {"report/index", "report/explorer"}


def traced(model: str) -> set[str]:
    """Return the jobs of a traced model from its training to its labels."""
    labels = {path.replace(COUNTED, model) for path in LABELS | EVIDENCE}
    return {f"models/{model}/model"} | answers(model) | scored(model, f"{{teacher,student,{model}}}") | labels


def untraced(model: str) -> set[str]:
    return {f"models/{model}/model"} | answers(model)


SELECTIONS = paths("selection/main/teacher/train/explore/{teacher_count,random}")
CHOICE = {"ranking/main/teacher/train/explore"} | SELECTIONS
TRAINED = traced(COUNTED) | untraced(RANDOM)


def candidates(parts: str) -> set[str]:
    """Return the jobs of the teacher's candidates in these parts, and all that follows."""
    explore = "teacher/train/explore"
    jobs = paths(
        f"rollouts/{explore}/{parts}",
        f"logprobs/{{teacher,student}}/full/{explore}/{parts}",
        f"{{rollouts,sentences/sentences,grades}}/{explore}/parts",
        f"logprobs/{{teacher,student}}/full/{explore}/parts",
    )
    return jobs | CHOICE | TRAINED | REPORT


def scored_again(context: str) -> set[str]:
    """Return the jobs that score the candidates by the student in a context."""
    return paths(f"logprobs/student/{context}/teacher/train/explore/{{0,1,parts}}")


def in_context(context: str) -> set[str]:
    """Return the jobs that score the traced answers in a further context, and label them; in the world, all answers."""
    models = f"{{teacher,student,{COUNTED}}}"
    labels = paths(
        f"provenance/main/teacher/{COUNTED}/test/answer/{context}/parts",
        f"{{positions,validation}}/main/teacher/{COUNTED}/test/answer/{context}",
        f"separation/main/teacher/{models}/test/answer/{context}/parts",
    )
    return labels | paths(
        f"logprobs/{models}/{context}/{COUNTED}/test/answer/{{0,1,parts}}",
        f"logprobs/{{teacher,student}}/{context}/{{teacher,student}}/test/answer/{{0,1,parts}}",
    )


# Of each change: what it is in docs/reruns.md, its edit of the config, and its jobs by their first output.
CHANGES = {
    "nothing": (lambda c: None, set()),
    "threads, memory, GPUs": (lambda c: c["models"]["teacher"].update(threads=2, mem_mb=9000, runtime=7), set()),
    "where a model is trained": (
        lambda c: c["training"]["distil"].update(accelerate="one.yaml", report_to=["mlflow"], keep_checkpoints=2),
        set(),
    ),
    "alpha, beta or the label rule of a run": (
        lambda c: c["runs"]["main"].update(beta=0.2, label_rule="raised"),
        LABELS | REPORT,
    ),
    "beta of the candidates": (
        lambda c: c["runs"]["main"]["candidates"].update(beta=0.95),
        CHOICE | TRAINED | REPORT,
    ),
    "more samples of the candidates": (lambda c: c["sampling"]["explore"].update(samples=4), candidates("{0,1}")),
    "more training questions": (
        lambda c: c["questions"]["train"]["source"]["world"].update(count=18),
        {"questions/train/parts"} | candidates("2"),
    ),
    "more test questions": (
        lambda c: c["questions"]["test"]["source"]["world"].update(count=12),
        {"questions/test/parts"}
        | answers("{teacher,student,main.teacher.random.0,main.teacher.teacher_count.0}", "2")
        | scored("{teacher,student}", "{teacher,student}", "2")
        | scored(COUNTED, f"{{teacher,student,{COUNTED}}}", "2")
        | LABELS
        | EVIDENCE
        | REPORT,
    ),
    "a score in another context": (
        lambda c: c["runs"]["main"].update(scores=["lalp_1"]),
        scored_again("window-1") | CHOICE | TRAINED | REPORT,
    ),
    "a score of other tokens' probabilities (`lark`)": (
        lambda c: c["runs"]["main"].update(scores=["lark"]),
        scored_again("full") | CHOICE | TRAINED | REPORT,
    ),
    "a score of your own": (
        lambda c: c.update(scores={"mine": {"file": __file__}}) or c["runs"]["main"].update(scores=["mine"]),
        CHOICE | TRAINED | REPORT,
    ),
    "another strategy": (
        lambda c: c["runs"]["main"]["strategies"].append("longest"),
        {"selection/main/teacher/train/explore/longest"} | untraced("main.teacher.longest.0") | REPORT,
    ),
    "a strategy less": (lambda c: c["runs"]["main"]["strategies"].remove("random"), REPORT),
    "equal responses or tokens": (
        lambda c: c["runs"]["main"].update(equal="tokens"),
        SELECTIONS | TRAINED | REPORT,
    ),
    "another seed": (
        lambda c: c["runs"]["main"].update(seeds=[0, 1]),
        untraced("main.teacher.random.1") | traced("main.teacher.teacher_count.1") | REPORT,
    ),
    "other training settings": (lambda c: c["training"]["distil"].update(learning_rate=2.0e-3), TRAINED | REPORT),
    "another grader": (
        lambda c: c["questions"]["test"]["grader"].update(pattern=r"(\w+)\.$"),
        paths(f"grades/{{teacher,student,{COUNTED},{RANDOM}}}/test/answer/parts")
        | paths(f"positions/main/teacher/{COUNTED}/test/answer")
        | REPORT,
    ),
    "a further context": (
        lambda c: c["runs"]["main"].update(contexts=["window-1", "alone"]),
        in_context("window-1") | in_context("alone") | REPORT,
    ),
    "what the explorer shows": (lambda c: c.update(explorer={"candidate_questions": 5}), REPORT),
    "a habit to count": (lambda c: c["runs"]["main"]["habits"].update(so="So"), REPORT),
}


def jobs_of(planned: Iterable[tuple[str, str]]) -> set[str]:
    """Return the first outputs of planned jobs, without results/ and the suffix."""
    return {re.sub(r"\.\w+$", "", output.removeprefix("results/")) for rule, output in planned if rule != "everything"}


@pytest.fixture(scope="module")
def changing(finished, tmp_path_factory) -> Path:
    """A copy of the finished folder in which only the config changes, since nothing is run."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("reruns") / "copy", symlinks=True))
    (folder / "one.yaml").write_text("{distributed_type: MULTI_CPU, num_processes: 2}")
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_exactly_the_jobs_that_it_concerns(changing, config, name):
    edit, expected = CHANGES[name]
    (changing / "config.yaml").write_text(yaml.safe_dump(config))
    change(changing, edit)
    assert jobs_of(planned_jobs(changing)) == expected


def test_every_change_is_in_the_documentation(request):
    rows = (request.config.rootpath / "docs/reruns.md").read_text("utf-8")
    assert [name for name in CHANGES if f"| {name} |" not in rows] == []


def said(printed: str, node: str, pattern: str) -> list[tuple[int, ...]]:
    """Return the numbers of every line of a node that matches a pattern."""
    return [tuple(map(int, found)) for found in re.findall(rf"\[{node}\] {pattern}", printed)]


def weights(folder: Path) -> dict[str, bytes]:
    """Return the weights of each distilled model."""
    paths = folder.glob(f"{DISTILLED}.*/weights/model.safetensors")
    return {path.parts[-3].removeprefix("main.teacher."): path.read_bytes() for path in paths}


def test_one_sample_more_draws_and_scores_one_response_more_for_each_question(copy_of_finished):
    change(copy_of_finished, lambda config: config["sampling"]["explore"].update(samples=4))
    parts = [SCORES.replace("0.arrow", f"{part}.arrow") for part in range(2)]
    printed = snakemake(copy_of_finished, *parts)
    assert said(printed, "rollouts", r"(\d+) responses to draw, (\d+) were drawn before") == [(6, 18)] * 2
    assert said(printed, "logprobs", r"(\d+) responses to score, (\d+) were scored before") == [(6, 18)] * 2
    assert "[finetune]" not in printed


def test_a_score_computes_what_it_needs_and_nothing_once_it_is_gone(copy_of_finished):
    table = "results/ranking/main/teacher/train/explore.arrow"
    before = (copy_of_finished / table).read_bytes()
    student = SCORES.replace("/teacher/full", "/student/full")
    log_probs = (copy_of_finished / student).read_bytes()
    asked = r"(\d+) responses to score, (\d+) were scored before"
    change(copy_of_finished, lambda config: config["runs"]["main"].update(scores=["lark", "ifd"]))
    found = said(snakemake(copy_of_finished, table), "logprobs", asked)
    assert len(found) == 4
    assert {scored_before for _, scored_before in found} == {0}
    ranked = open_artifact(copy_of_finished / table).read("lark", "ifd")
    assert ranked["lark"].null_count() == 0
    assert ranked["ifd"].is_between(0, 1).all()
    change(copy_of_finished, lambda config: config["runs"]["main"].update(scores=[]))
    again = said(snakemake(copy_of_finished, table), "logprobs", asked)
    assert len(again) == 2
    assert {to_score for to_score, _ in again} == {0}
    assert {scored_before for _, scored_before in again} <= {to_score for to_score, _ in found}
    assert (copy_of_finished / student).read_bytes() == log_probs
    assert (copy_of_finished / table).read_bytes() == before


def test_a_further_context_changes_no_artifact_and_labels_the_first_sentences_as_the_whole_one_does(copy_of_finished):
    labels = f"results/provenance/main/teacher/{COUNTED}/test/answer"
    before = {path: path.read_bytes() for path in (copy_of_finished / "results").rglob("*.arrow")}
    numbers = json.loads((copy_of_finished / "results/report/numbers.json").read_text())
    change(copy_of_finished, lambda config: config["runs"]["main"].update(contexts=["window-1"]))
    snakemake(copy_of_finished)
    assert {path: path.read_bytes() for path in before} == before
    whole, less = (
        pl.concat([open_artifact(path).read() for path in sorted((copy_of_finished / folder).glob("[01].arrow"))])
        for folder in (labels, f"{labels}/window-1")
    )
    assert whole.select("rollout_id", "sentence").equals(less.select("rollout_id", "sentence"))
    for role in ("teacher", "student", "distilled"):
        shift = pl.Series(whole[f"p_{role}"] - less[f"p_{role}"]).abs()
        assert shift.filter(whole["sentence"] < 2).max() < 1e-4
        assert shift.filter(whole["sentence"] >= 2).max() > 1e-4
    after = json.loads((copy_of_finished / "results/report/numbers.json").read_text())
    [trace], [trace_before] = (found["runs"]["main"]["traces"] for found in (after, numbers))
    assert trace | {"contexts": {}} == trace_before
    assert list(trace["contexts"]) == ["full", "window-1"]
    assert trace["contexts"]["full"]["labels"] == trace["labels"]
    assert list(after["world"]["traces"][0]["contexts"]) == ["window-1"]


def test_another_beta_of_the_candidates_trains_no_model_whose_responses_stay_the_same(copy_of_finished):
    before = weights(copy_of_finished)
    change(copy_of_finished, lambda config: config["runs"]["main"]["candidates"].update(beta=0.95))
    printed = snakemake(copy_of_finished, *(f"{DISTILLED}.{name}.0/model.json" for name in ("teacher_count", "random")))
    after = weights(copy_of_finished)
    assert after["random.0"] == before["random.0"]
    assert after["teacher_count.0"] != before["teacher_count.0"]
    assert re.findall(r"(\S+) was computed before", printed) == [f"{DISTILLED}.random.0/model.json"]


def test_a_strategy_more_trains_its_own_student_alone_unless_all_get_as_little_as_it_does(copy_of_finished):
    def trained(edit, *strategies: str) -> set[str]:
        change(copy_of_finished, edit)
        printed = snakemake(copy_of_finished, *(f"{DISTILLED}.{name}.0/model.json" for name in strategies))
        kept = re.findall(rf"\[finetune\] {DISTILLED}\.(\w+)\.0/model\.json was computed before", printed)
        return set(strategies) - set(kept)

    def add(config: dict, name: str, **strategy) -> None:
        config.setdefault("strategies", {})[name] = strategy
        config["runs"]["main"].update(equal="responses")
        config["runs"]["main"]["strategies"].append(name)

    as_many = trained(lambda c: add(c, "most_likely", score="grape"), "teacher_count", "random", "most_likely")
    assert as_many == {"most_likely"}
    fewer = trained(lambda c: add(c, "five", score="grape", responses=5), "teacher_count", "random", "five")
    assert fewer == {"teacher_count", "random", "five"}


def test_a_folder_without_its_times_and_snakemakes_records_runs_no_model_again(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(".snakemake"))
    before = (folder / SCORES).read_bytes()
    printed = snakemake(folder, "--forceall", SCORES)
    done_before = re.findall(r"\[(\w+)\] \S+ was computed before", printed)
    assert sorted(done_before) == ["finetune", "logprobs", "rollouts"]
    assert (folder / SCORES).read_bytes() == before
