"""The whole DAG on the smallest config: the contract of its artifacts, and what a change makes stale."""

import copy
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import yaml

import explored
from distrace import kinds
from distrace.artifacts import fingerprint_of, open_artifact
from snakemake_runs import new_folder, planned_jobs, snakemake


def arrow_files(folder: Path) -> list[Path]:
    found = sorted((folder / "results").rglob("*.arrow"))
    assert found
    return found


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in arrow_files(folder)}


def labels_of(teacher: str) -> str:
    """Return the path of labels that come of all that the workflow does: training, selection, answers and scores."""
    return f"results/provenance/main/{teacher}/main.{teacher}.teacher_count.0/test/answer/parts.arrow"


def change(folder: Path, edit) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_every_artifact_opens_with_polars_and_pyarrow_and_carries_a_fingerprint(finished):
    for path in arrow_files(finished):
        about = open_artifact(path)
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        frame = pl.read_ipc(path)
        kind = kinds.KINDS[about.kind]
        assert about.read().columns[: len(kind.schema.names)] == kind.schema.names
        assert len(frame) == table.num_rows == about.rows
        assert about.fingerprint == fingerprint_of(kind, about.identity)


def test_rows_in_are_rows_out_plus_rejects_at_each_node(finished, config):
    def rows(pattern: str) -> int:
        paths = list((finished / "results").glob(pattern))
        assert paths, pattern
        return sum(open_artifact(path).rows for path in paths)

    assert rows("questions/train/?.arrow") + rows("questions/train/?.rejects.arrow") == 12
    explore = "teacher/train/explore"
    assert rows(f"rollouts/{explore}/?.arrow") + rows(f"rollouts/{explore}/?.rejects.arrow") == 12 * 3
    for scorer in ("teacher", "student"):
        scored = f"logprobs/{scorer}/full/{explore}"
        assert rows(f"{scored}/?.arrow") + rows(f"{scored}/?.rejects.arrow") == rows(f"rollouts/{explore}/?.arrow")
    assert rows(f"grades/{explore}/?.arrow") == rows(f"rollouts/{explore}/?.arrow")
    ranked = rows(f"ranking/main/{explore}.arrow") + rows(f"ranking/main/{explore}.rejects.arrow")
    assert ranked == rows(f"rollouts/{explore}/?.arrow")
    traced = "main.teacher.teacher_count.0/test/answer"
    labelled = f"provenance/main/teacher/{traced}"
    kept = rows(f"{labelled}/?.arrow") + rows(f"{labelled}/?.rejects.arrow")
    assert kept == rows(f"sentences/sentences/{traced}/?.arrow")


def test_the_report_says_what_the_artifacts_say(finished):
    numbers = json.loads((finished / "results/report/numbers.json").read_text())
    run = numbers["runs"]["main"]
    accuracy = run["accuracy"]["test"]["teacher"]
    grades = pl.concat([pl.read_ipc(p) for p in (finished / "results/grades/teacher/test/answer").glob("?.arrow")])
    assert accuracy["mean"] == pytest.approx(grades["correct"].mean())
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert accuracy["n"] == grades["question_id"].n_unique()
    labels = pl.concat([pl.read_ipc(p) for p in (finished / "results/provenance").rglob("[0-9].arrow")])["label"]
    counts = Counter(labels)
    for label, share in run["traces"][0]["labels"].items():
        assert share["mean"] == pytest.approx(counts[label] / len(labels))
    index, _ = explored.read(finished / "results/report/explorer.html")
    assert index["traces"][0]["sentences"] == run["traces"][0]["sentences"] == len(labels)
    assert "<title>distrace" in (finished / "results/report/index.html").read_text()


def test_a_second_run_has_nothing_to_do(finished):
    assert planned_jobs(finished) == []


def test_no_command_names_more_than_one_part_but_those_that_list_some(tmp_path, config):
    many = copy.deepcopy(config)
    many["questions"]["test"]["source"]["world"]["count"] = 450
    many["questions"]["test"]["part_size"] = 1
    printed = snakemake(new_folder(tmp_path / "parts", many), "--dry-run")
    assert max(map(len, printed.splitlines())) < 2**16
    commands = re.findall(r"python -m distrace\.nodes\.(\w+) (.*)", printed)
    assert {"parts", "ranking", "finetune", "positions", "sensitivity", "validation", "logprobs"} <= {
        node for node, _ in commands
    }
    for node, options in commands:
        named = len(set(re.findall(r"/(\d+)\.(?:rejects\.)?arrow", options)))
        assert named <= (200 if node == "parts" else 1), (node, options)


def test_a_second_teacher_runs_its_own_nodes_only_and_no_file_changes(copy_of_finished):
    before = digests(copy_of_finished)
    change(copy_of_finished, lambda config: config["runs"]["main"]["teachers"].append("other_teacher"))
    jobs = planned_jobs(copy_of_finished)
    assert all(
        "other_teacher" in output or rule in {"report", "explorer", "everything", "all"} for rule, output in jobs
    ), jobs
    assert {"rollouts", "logprobs", "ranking", "selection", "finetune", "provenance"} <= {rule for rule, _ in jobs}
    assert not any(output.startswith("results/rollouts/teacher/") for _, output in jobs)
    snakemake(copy_of_finished, labels_of("other_teacher"))
    after = digests(copy_of_finished)
    assert len(after) > len(before)
    assert {path: digest for path, digest in after.items() if path in before} == before


def test_recorded_log_probs_are_those_that_the_model_computes(copy_of_finished):
    folder = copy_of_finished / "results/logprobs/teacher/full/teacher/train/explore"
    computed = pl.read_ipc(folder / "0.arrow")
    change(copy_of_finished, lambda config: config["models"]["teacher"].update(own_logprobs="recorded"))
    printed = snakemake(copy_of_finished, str((folder / "0.arrow").relative_to(copy_of_finished)))
    assert "1 of 1 done" in printed
    recorded = pl.read_ipc(folder / "0.arrow")
    assert recorded.drop("logprobs", "ranks").equals(computed.drop("logprobs", "ranks"))
    for mine, theirs in zip(recorded["logprobs"], computed["logprobs"], strict=True):
        assert mine.to_list() == pytest.approx(theirs.to_list(), abs=1e-4)
    assert recorded["ranks"].null_count() == len(recorded) > 0


def test_the_first_part_of_a_trace_is_scored_again_in_float32_where_a_model_is_not(copy_of_finished):
    assert not any("float32_check" in path or "@" in path for path in digests(copy_of_finished))
    change(copy_of_finished, lambda config: config["models"]["student"].update(dtype="bfloat16"))
    jobs = planned_jobs(copy_of_finished)
    traced = "main.teacher.teacher_count.0"
    assert [output for rule, output in jobs if rule == "float32_check"] == [
        f"results/float32_check/main/teacher/{traced}/test/answer/0.arrow"
    ]
    assert {output for rule, output in jobs if "@float32" in output} == {
        f"results/logprobs/{scorer}@float32/full/{traced}/test/answer/0.arrow" for scorer in ("student", traced)
    }
    change(copy_of_finished, lambda config: config["runs"]["main"].update(check_float32=False))
    assert not any(rule == "float32_check" or "@" in output for rule, output in planned_jobs(copy_of_finished))


def test_a_trained_model_is_attributed_to_one_of_two_teachers_and_no_model_is_trained_again(copy_of_finished):
    distilled = "main.teacher.teacher_count.0"
    question = {"teachers": ["teacher", "student"], "student": "student", "distilled": distilled}
    named = {"teacher": ["main.teacher.random.0", "teacher"], "student": ["student", "student_untrained"]}
    question["attribution"] = {"references": named, "distilldetect": True}
    test = {"questions": ["test"], "sampling": "answer"}
    change(copy_of_finished, lambda config: config["runs"].update(which=question | {"test": test}))
    jobs = {rule for rule, _ in planned_jobs(copy_of_finished)}
    assert "attribution" in jobs
    cheap = {"parts", "provenance", "positions", "sensitivity", "validation", "evidence", "report", "explorer"}
    assert jobs <= cheap | {
        "attribution",
        "distilldetect",
        "oracle",
        "separation",
        "truth",
        "sentences",
        "logprobs",
        "rollouts",
    }
    snakemake(copy_of_finished)
    numbers = json.loads((copy_of_finished / "results/report/numbers.json").read_text())
    [found] = numbers["runs"]["which"]["attribution"]
    assert {name: len(leans) for name, leans in found["references"]["pairs"][0]["students"].items()} == {
        "teacher": 2,
        "student": 2,
    }
    assert {one["teacher"] for one in found["distilldetect"]["teachers"]} == {"teacher", "student"}
    [pair] = found["pairs"]
    assert (found["distilled"], pair["teacher"], pair["other"]) == (distilled, "teacher", "student")
    assert 0 < pair["p_value"] <= 1
    page = (copy_of_finished / "results/report/index.html").read_text()
    assert f"Which teacher did {distilled} learn from?" in page


def test_candidates_of_two_teachers_are_pooled_for_one_student_that_is_traced_with_each(copy_of_finished):
    def pool(config: dict) -> None:
        config["strategies"] = {
            "two_each": {"score": "grape", "per_question": 2},
            "of_their_length": {"length_matched_to": "two_each"},
        }
        config["runs"]["pool"] = config["runs"]["main"] | {
            "teachers": ["teacher", "student"],
            "pooled": True,
            "equal": "tokens",
            "strategies": ["two_each", "of_their_length", "random"],
        }

    change(copy_of_finished, pool)
    snakemake(copy_of_finished)
    folder = copy_of_finished / "results/selection/pool/pooled/train/explore"
    selected = {name: pl.read_ipc(folder / f"{name}.arrow") for name in ("two_each", "of_their_length", "random")}
    assert all(set(table["teacher"]) == {"teacher", "student"} for table in selected.values())
    chosen = {name: table.filter(pl.col("rank").is_not_null()) for name, table in selected.items()}
    tokens = [table["tokens"].sum() for table in chosen.values()]
    assert max(tokens) - min(tokens) < selected["random"]["tokens"].max()
    both = chosen["of_their_length"].join(chosen["two_each"], on="rollout_id", how="semi")
    assert all("no other is left of its question" in reason for reason in both["reason"])
    run = json.loads((copy_of_finished / "results/report/numbers.json").read_text())["runs"]["pool"]
    assert [(s["teacher"], s["selected"]) for s in run["selections"]] == [("pooled", len(t)) for t in chosen.values()]
    traced = [(trace["teacher"], trace["distilled"]) for trace in run["traces"]]
    assert traced == [(teacher, "pool.pooled.two_each.0") for teacher in ("teacher", "student")]


def test_two_folders_get_the_same_bytes(finished, config, tmp_path):
    again = new_folder(tmp_path / "again", config)
    snakemake(again, labels_of("teacher"))
    files, others = digests(again), digests(finished)
    assert {path.split("/")[1] for path in files} >= {"rollouts", "logprobs", "selection", "models", "provenance"}
    assert files == {path: others[path] for path in files}


def test_the_report_of_snakemake_is_written(copy_of_finished):
    snakemake(copy_of_finished, "--report", "report.html")
    assert (copy_of_finished / "report.html").stat().st_size > 10_000


def test_a_wrong_config_is_one_clear_line_and_no_traceback(tmp_path, config):
    wrong = copy.deepcopy(config)
    wrong["models"]["teacher"]["engin"] = "transformers"
    wrong["runs"]["main"]["teachers"] = ["techer"]
    folder = new_folder(tmp_path / "wrong", wrong)
    with pytest.raises(AssertionError) as caught:
        snakemake(folder, "--dry-run")
    printed = str(caught.value)
    assert "models.teacher: unknown key 'engin', did you mean 'engine'?" in printed
    assert "Traceback" not in printed
