"""What a study of many parts costs above the models: the plan, and every node that reads all parts of a trace.

    python benchmarks/study.py --folder FOLDER [--parts 5000] [--responses 4] [--sentences 20]

It writes the artifacts of one trace and of one teacher's candidates as the nodes of a project of so many parts would
leave them, plans the project with Snakemake, and runs the nodes parts, positions, validation, ranking and report on
them, each in a process of its own. It prints CPU seconds, peak memory and the longest command of each, the JSON line
last. Log-probs are random; no model runs.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from distrace import kinds
from distrace.artifacts import open_artifact, write, write_rejects
from distrace.identity import canonical_json
from distrace.measures.labels import Thresholds, label_of
from distrace.plan import (
    RESULTS,
    Plan,
    RolloutSet,
    Trace,
    load_plan,
    logprobs_path,
    positions_path,
    ranking_path,
    selection_path,
    training_path,
    validation_path,
)

ROOT = Path(__file__).parents[1]
SENTENCE = "Swap a cup hat gives key cup hat pin bag. "
TOKENS = 8  # of a sentence
CONFIG = """
questions:
  corpus: {source: {world: {split: teacher_corpus, count: 10, style: teacher}}}
  other_corpus: {source: {world: {split: student_corpus, count: 10, style: student}}}
  train: {source: {world: {split: train, count: 100000}}, parts: PARTS}
  test: {source: {world: {split: test, count: 100000}}, parts: PARTS}
models:
  fresh: {source: {fresh: {questions: corpus}}, format: plain}
  teacher: {source: {finetune: {base: fresh, questions: corpus, training: short}}, format: plain}
  student: {source: {finetune: {base: fresh, questions: other_corpus, training: short}}, format: plain}
sampling: {explore: {samples: 4}, answer: {}}
training: {short: {}}
runs:
  main:
    teachers: [teacher]
    student: student
    candidates: {questions: train, sampling: explore}
    strategies: [teacher_count, random]
    training: short
    test: {questions: [test], sampling: answer}
"""


def main() -> None:
    """Write the study, plan it, run the nodes, print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the project")
    parser.add_argument("--parts", type=int, default=5000)
    parser.add_argument("--responses", type=int, default=4, help="of one part")
    parser.add_argument("--sentences", type=int, default=20, help="of one response")
    parser.add_argument("--plan-only", action="store_true", help="write no artifacts and run no node")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    (options.folder / "config.yaml").write_text(CONFIG.replace("PARTS", str(options.parts)))
    os.chdir(options.folder)
    plan = load_plan(yaml.safe_load(Path("config.yaml").read_text()))
    found = {
        "plan": cost([sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *DRY], quiet=True)
    }
    if not options.plan_only:
        # In a process of its own, since a process that is started counts the memory of the one that starts it.
        writer = multiprocessing.get_context("spawn").Process(
            target=write_study, args=(plan, options.responses, options.sentences)
        )
        writer.start()
        writer.join()
        for name, command in commands(plan, options.parts).items():
            found[name] = cost([sys.executable, "-m", f"distrace.nodes.{name.partition(' ')[0]}", *command])
    print(json.dumps({"parts": options.parts, "responses": options.responses, "sentences": options.sentences} | found))


DRY = ["--dry-run", "--quiet", "all", "--cores", "1", "--workflow-profile", str(ROOT / "profiles/default")]


def cost(command: list[str], quiet: bool = False) -> dict[str, float]:
    """Run a command; return its CPU seconds, its peak memory in MiB and the length of the command in bytes."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL if quiet else None)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)[:500]}")
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "wall_s": round(time.perf_counter() - began, 2),
        "peak_mib": round(used.ru_maxrss / 1024),
        "command_bytes": sum(map(len, command)),
    }


def commands(plan: Plan, parts: int) -> dict[str, list[str]]:
    """Return the options of each node that is run, by its name."""
    [trace] = plan.traces("main")
    candidates = plan.candidates("main", "teacher")
    thresholds, pair = '{"alpha":0.05,"beta":0.1}', '{"teacher":"teacher","student":"student"}'
    truth, ranking = plan.rollouts_parts("truth", trace.rollouts), ranking_path("main", candidates)
    lists = [path for path in plan.report_inputs() if path.endswith("/parts.arrow")]
    lists += [truth, plan.sentences_parts(candidates)]
    lists += [plan.logprobs_parts(scorer, candidates) for scorer in ("teacher", "student")]
    found = {
        f"parts {Path(path).parent.relative_to(RESULTS)}": [
            *("--folder", str(Path(path).parent), "--count", str(parts), "--out", path)
        ]
        for path in dict.fromkeys(lists)
    }
    labelled = ["--provenance", plan.trace_parts(trace)]
    grades = plan.rollouts_parts("grades", trace.rollouts)
    scored = [plan.logprobs_parts(scorer, candidates) for scorer in ("teacher", "student")]
    found["positions"] = [*labelled, "--grades", grades, "--out", positions_path(trace)]
    found["validation"] = [*labelled, "--truth", truth, "--pair", pair, "--thresholds", thresholds]
    found["validation"] += ["--out", validation_path(trace)]
    found["ranking"] = ["--rollouts", plan.rollouts_parts("rollouts", candidates)]
    found["ranking"] += ["--sentences", plan.sentences_parts(candidates), "--teacher", scored[0]]
    found["ranking"] += ["--student", scored[1], "--beta", "0.1", "--seed", "0", "--out", ranking]
    for strategy in plan.config["runs"]["main"]["strategies"]:
        out = selection_path("main", candidates, strategy)
        found[f"selection {strategy}"] = ["--ranking", ranking, "--strategy", strategy, "--out", out]
    return found | {"report": ["--config", canonical_json(plan.config), "--out-folder", "results/report"]}


def write_study(plan: Plan, responses: int, sentences: int) -> None:
    """Write what the nodes below the measured ones would leave: all parts of every rollout set, and training logs."""
    [trace] = plan.traces("main")
    [candidates] = plan.all_candidates("main")
    for part in plan.parts["test"]:
        asked = write_questions("test", part, responses)
        for rollouts in plan.tests("main"):
            scorers = plan.scorers(trace).values() if rollouts == trace.rollouts else ()
            write_part(plan, rollouts, part, asked, sentences, scorers)
            write_truth(plan, trace, rollouts, part)
        write_labels(trace, part, responses * sentences)
        asked = write_questions("train", part, max(1, responses // 4))
        write_part(plan, candidates, part, asked, sentences, ("teacher", "student"))
    for name in plan.distilled:
        write(Path(training_path(name)), kinds.TRAINING, [], {"name": name})


def write_questions(name: str, part: str, count: int) -> list[str]:
    """Write a part of questions; return their ids."""
    ids = [f"{name}-{part}-{number}" for number in range(count)]
    rows = pl.DataFrame({"question_id": ids}).with_columns(question="question_id", answer="question_id", solution=None)
    write(Path(f"{RESULTS}/questions/{name}/{part}.arrow"), kinds.QUESTIONS, rows, {"ids": ids})
    return ids


def write_part(
    plan: Plan, rollouts: RolloutSet, part: str, asked: list[str], sentences: int, scorers: Iterable[str]
) -> None:
    """Write rollouts, grades, sentences and log-probs of a part."""
    samples = plan.sampling(rollouts.sampling).samples
    keys = [
        (f"{rollouts.author}-{question}-{sample}", question, sample) for question in asked for sample in range(samples)
    ]
    frame = pl.DataFrame(keys, schema=["rollout_id", "question_id", "sample"], orient="row")
    identity = {
        "rollouts": write_rows(rollouts, "rollouts", part, rollouts_of(frame, sentences), {"set": rollouts.folder})
    }
    graded = frame.select(
        "rollout_id", "question_id", extracted=None, correct=pl.int_range(pl.len()) % 2 == 0, reason=None
    )
    write_rows(rollouts, "grades", part, graded, identity)
    cut = frame.select("rollout_id").join(sentence_bounds(sentences), how="cross")
    write(Path(plan.sentences_path(rollouts, part)), kinds.SENTENCES, cut, identity)
    for scorer in scorers:
        path = Path(logprobs_path(scorer, rollouts, part))
        write_rejects(path, [], identity)
        write(path, kinds.LOGPROBS, logprobs_of(frame, sentences), identity | {"scorer": scorer})


def write_rows(rollouts: RolloutSet, kind: str, part: str, rows: pl.DataFrame, identity: dict) -> str:
    """Write a part of an artifact of a rollout set; return its fingerprint."""
    path = Path(f"{RESULTS}/{kind}/{rollouts.folder}/{part}.arrow")
    write_rejects(path, [], identity)
    return write(path, kinds.KINDS[kind], rows, identity | {"part": part})


def rollouts_of(frame: pl.DataFrame, sentences: int) -> pl.DataFrame:
    """Return responses of so many equal sentences."""
    text = pl.lit(SENTENCE * sentences).alias("text")
    return frame.with_columns(text, answer_start=pl.lit(0), token_ids=None, logprobs=None, finish_reason=pl.lit("stop"))


def sentence_bounds(sentences: int) -> pl.DataFrame:
    """Return number, start and end of each sentence."""
    number = np.arange(sentences)
    return pl.DataFrame({"sentence": number, "start": number * len(SENTENCE), "end": (number + 1) * len(SENTENCE)})


def logprobs_of(frame: pl.DataFrame, sentences: int) -> pl.DataFrame:
    """Return random log-probs of the tokens of each response, all of the same length."""
    length = len(SENTENCE) // TOKENS
    starts = (np.arange(sentences)[:, None] * len(SENTENCE) + np.arange(TOKENS) * length).ravel()
    values = -np.random.default_rng(len(frame)).exponential(size=(len(frame), len(starts))).astype(np.float32)
    tokens = {"token_ids": starts, "starts": starts, "ends": starts + length, "ranks": np.ones_like(starts)}
    rows = {name: [column.tolist()] * len(frame) for name, column in tokens.items()}
    return frame.select("rollout_id").with_columns(
        **{k: pl.Series(v) for k, v in rows.items()}, logprobs=pl.Series(values.tolist())
    )


def write_labels(trace: Trace, part: str, count: int) -> None:
    """Write random labelled sentences of a part of a trace."""
    path = Path(f"{RESULTS}/provenance/{trace.folder}/{part}.arrow")
    cut = open_artifact(sentences_beside(trace.rollouts, part), kinds.SENTENCES)
    draw = np.random.default_rng(int(part))
    columns = {f"p_{role}": draw.random(count) for role in ("teacher", "student", "distilled")}
    counts = {
        f"tokens_{role}": pl.Series([TOKENS] * count, dtype=pl.Int32) for role in ("teacher", "student", "distilled")
    }
    rows = cut.read().with_columns(**{k: pl.Series(v) for k, v in columns.items()}, **counts)
    identity = {"rollouts": cut.identity["rollouts"], "sentences": cut.fingerprint, "part": part}
    write_rejects(path, [], identity)
    write(path, kinds.PROVENANCE, rows.with_columns(label_of(Thresholds(0.05, 0.1)).alias("label")), identity)


def write_truth(plan: Plan, trace: Trace, rollouts: RolloutSet, part: str) -> None:
    """Write origins of the sentences of a part, and their probabilities where the trace is validated with them."""
    cut = open_artifact(sentences_beside(rollouts, part), kinds.SENTENCES)
    table = cut.read()
    origins = table.select("rollout_id", "sentence", origin=pl.lit("teacher"))
    write_rows(rollouts, "truth", part, origins, {"sentences": cut.fingerprint})
    path = Path(f"{RESULTS}/separation/{trace.run}/{trace.teacher}/{rollouts.folder}/{part}.arrow")
    values = np.random.default_rng(int(part)).random((2, len(table)))
    separated = origins.with_columns(p_teacher=pl.Series(values[0]), p_student=pl.Series(values[1]))
    write_rejects(path, [], {"part": part})
    write(path, kinds.SEPARATION, separated, {"part": part})


def sentences_beside(rollouts: RolloutSet, part: str) -> Path:
    """Return the path of a part of a rollout set's sentences, cut as by default."""
    return Path(f"{RESULTS}/sentences/sentences/{rollouts.folder}/{part}.arrow")


if __name__ == "__main__":
    main()
