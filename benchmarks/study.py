"""What a study of many parts costs above the models: the plan, and every node that runs no model.

    python benchmarks/study.py --folder FOLDER [--parts 5000] [--responses 8] [--sentences 125] [--plan-only]

It writes the rollouts and log-probs that the models of a project of so many parts would leave (log-probs are random; no
model runs), plans the project with Snakemake, and runs each node above on all parts, in processes of their own, first
on responses of half the length. It prints CPU seconds, peak memory and the longest command of each node, and what they
extrapolate to at full size: 400,000 responses of 10,000 tokens in 5,000 parts. The JSON line is last.
"""

import argparse
import json
import multiprocessing
import os
import shutil
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
from distrace.plan import (
    RESULTS,
    Plan,
    RolloutSet,
    Trace,
    load_plan,
    logprobs_path,
    positions_by_question_path,
    positions_path,
    ranking_path,
    selection_path,
    sensitivity_path,
    training_path,
    validation_path,
)

ROOT = Path(__file__).parents[1]
SENTENCE = "Swap a cup hat gives key cup hat pin bag. "
TOKENS = 21  # of a sentence
FULL_PARTS, FULL_RESPONSES, FULL_TOKENS = 5000, 400_000, 10_000
SAMPLES = 4
QUIETLY = ["--quiet", "all", "--cores", "1", "--workflow-profile", str(ROOT / "profiles/default")]
THRESHOLDS, PAIR = '{"alpha":0.05,"beta":0.1}', '{"teacher":"teacher","student":"student"}'


def config_of(parts: int, test_parts: int, responses: int) -> dict:
    """Return the config of a project with one teacher, one strategy and so many responses in a part."""
    asked = responses // SAMPLES
    world = {"split": "train", "count": parts * asked, "swaps": [2, 6]}
    corpus = {"world": {"split": "teacher_corpus", "count": 10, "style": "teacher"}}
    other_corpus = {"world": {"split": "student_corpus", "count": 10, "style": "student"}}
    test = {"world": world | {"split": "test", "count": test_parts * asked}}
    trained = {"base": "fresh", "training": "short"}
    return {
        "questions": {
            "corpus": {"source": corpus},
            "other_corpus": {"source": other_corpus},
            "train": {"source": {"world": world}, "part_size": asked},
            "test": {"source": test, "part_size": asked},
        },
        "models": {
            "fresh": {"source": {"fresh": {"questions": "corpus"}}, "format": "plain"},
            "teacher": {"source": {"finetune": trained | {"questions": "corpus"}}, "format": "plain"},
            "student": {"source": {"finetune": trained | {"questions": "other_corpus"}}, "format": "plain"},
        },
        "sampling": {"explore": {"samples": SAMPLES}, "answer": {"samples": SAMPLES}},
        "training": {"short": {}},
        "runs": {
            "main": {
                "teachers": ["teacher"],
                "student": "student",
                "candidates": {"questions": "train", "sampling": "explore"},
                "strategies": ["teacher_count"],
                "training": "short",
                "test": {"questions": ["test"], "sampling": "answer"},
            }
        },
    }


def main() -> None:
    """Plan the study, write it and run its nodes at two lengths, print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the project")
    parser.add_argument("--parts", type=int, default=5000)
    parser.add_argument("--responses", type=int, default=8, help=f"of one part, a multiple of {SAMPLES}")
    parser.add_argument("--sentences", type=int, default=125, help="of one response")
    parser.add_argument("--plan-only", action="store_true", help="write no artifacts and run no node")
    options = parser.parse_args()
    found: dict = {"parts": options.parts, "responses": options.responses, "sentences": options.sentences}
    for name, test_parts, wanted in (
        ("plan, tests in one part", 1, "--rulegraph"),
        ("dry run, tests in one part", 1, "--dry-run"),
        ("plan, tests in as many parts", options.parts, "--rulegraph"),
    ):
        shutil.rmtree(options.folder, ignore_errors=True)
        options.folder.mkdir(parents=True)
        config = config_of(options.parts, test_parts, options.responses)
        (options.folder / "config.yaml").write_text(yaml.safe_dump(config))
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        found[name] = cost([*snakemake, "--directory", str(options.folder), wanted, *QUIETLY], quiet=True)
        print(f"{name:40} {found[name]}", flush=True)
    if not options.plan_only:
        os.chdir(options.folder)
        found["nodes"] = costs_of_nodes(load_plan(config), options.sentences, options.parts, options.responses)
    print(json.dumps(found))


def costs_of_nodes(plan: Plan, sentences: int, parts: int, responses: int) -> dict[str, dict[str, float]]:
    """Write the study and run its nodes at half the length, then at the whole; return what each node cost."""
    found = {}
    for length in (sentences // 2, sentences):
        shutil.rmtree(RESULTS, ignore_errors=True)
        for questions in ("train", "test"):
            source, cut = (canonical_json(vars(s)) for s in (plan.questions(questions), plan.cut(questions)))
            options = {"settings": source, "cut": cut, "out": plan.questions_parts(questions)}
            found[f"questions {questions}"] = [*found.get(f"questions {questions}", []), run("questions", options)]
        # In a process of its own, since a process that is started counts the memory of the one that starts it.
        writer = multiprocessing.get_context("spawn").Process(target=write_study, args=(plan, length))
        writer.start()
        writer.join()
        for name, options in commands(plan):
            found[name] = [*found.get(name, []), run(name.split()[0], options)]
    tokens = parts * responses * sentences * TOKENS
    for name, (half, whole) in found.items():
        a_token = max(0, whole["cpu_s"] - half["cpu_s"]) / (tokens * (1 - sentences // 2 / sentences))
        # What does not grow with the length grows with the parts; so counted, too, is the start of the process.
        full = (whole["cpu_s"] - a_token * tokens) * FULL_PARTS / parts + a_token * FULL_RESPONSES * FULL_TOKENS
        found[name] = whole | {"full_size_cpu_min": round(full / 60, 1)}
        print(f"{name:40} {found[name]}", flush=True)
    return found


def run(node: str, options: dict[str, str]) -> dict[str, float]:
    """Run a node with its options; return what it cost."""
    named = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", *value.split("\n"))]
    return cost([sys.executable, "-m", f"distrace.nodes.{node}", *named])


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


def commands(plan: Plan) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield each node that is run, what it is run on, and its options."""
    [trace] = plan.traces("main")
    candidates = plan.candidates("main", "teacher")
    tested = plan.tests("main")
    for rollouts in (candidates, *tested):
        yield from commands_of_set(plan, rollouts)
    scored = [(scorer, candidates) for scorer in ("teacher", "student")]
    scored += [(scorer, rollouts) for rollouts in tested for scorer in scorers_of(plan, trace, rollouts)]
    for scorer, rollouts in scored:
        yield from lists(plan, f"logprobs/{scorer}/full/{rollouts.folder}", plan.logprobs_parts(scorer, rollouts))
    for rollouts in tested:
        yield from commands_of_world(plan, trace, rollouts)
    yield from commands_of_trace(plan, trace)
    yield from commands_of_choice(plan, candidates)
    yield "evidence", evidence_options(plan, trace, candidates)
    yield "report", {"config": canonical_json(plan.config), "out_folder": "results/report"}


def commands_of_choice(plan: Plan, candidates: RolloutSet) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the nodes that rank and select candidates."""
    ranking = ranking_path("main", candidates)
    logprobs = {role: plan.logprobs_parts(role, candidates) for role in ("teacher", "student")}
    yield (
        "ranking",
        {
            "rollouts": plan.rollouts_parts("rollouts", candidates),
            "sentences": plan.sentences_parts(candidates),
            **logprobs,
            **{"beta": "0.1", "seed": "0", "out": ranking},
        },
    )
    name = "teacher_count"
    strategies = canonical_json({name: vars(plan.strategy(name))})
    out = selection_path("main", candidates, name)
    options = {"rankings": ranking, "teachers": '["teacher"]', "strategy": name, "strategies": strategies, "out": out}
    yield "selection", options


def evidence_options(plan: Plan, trace: Trace, candidates: RolloutSet) -> dict[str, str]:
    """Return the options of the node that searches the chosen candidates for the sentences of a trace."""
    found = {"out": plan.evidence_parts(trace), "selections": selection_path("main", candidates, "teacher_count")}
    control = RolloutSet("student", trace.rollouts.questions, trace.rollouts.sampling)
    sets = {"": trace.rollouts, "training": candidates, "control": control}
    for name, rollouts in sets.items():
        found[name or "rollouts"] = plan.rollouts_parts("rollouts", rollouts)
        found[f"{name}_sentences".lstrip("_")] = plan.sentences_parts(rollouts)
    return found


def commands_of_set(plan: Plan, rollouts: RolloutSet) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the nodes that read the rollouts of a set."""
    written = plan.rollouts_parts("rollouts", rollouts)
    yield from lists(plan, f"rollouts/{rollouts.folder}", written)
    name = f"{rollouts.author}/{rollouts.questions}"
    out = plan.sentences_parts(rollouts)
    yield f"sentences {name}", {"rollouts": written, "splitter": "sentences", "threads": "2", "out": out}
    asked, graded = plan.questions_parts(rollouts.questions), plan.rollouts_parts("grades", rollouts)
    grader = canonical_json(plan.config["questions"][rollouts.questions]["grader"] | {"method": "exact"})
    options = {"rollouts": written, "questions": asked, "grader": grader, "threads": "2", "out": graded}
    yield f"grades {name}", options


def commands_of_world(plan: Plan, trace: Trace, rollouts: RolloutSet) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the nodes that know the origin of the sentences of a set."""
    cut, truth = plan.sentences_parts(rollouts), plan.rollouts_parts("truth", rollouts)
    written, logprobs = plan.rollouts_parts("rollouts", rollouts), {}
    for role in ("teacher", "student"):
        logprobs[role] = plan.logprobs_parts(role, rollouts)
    yield f"truth {rollouts.author}", {"rollouts": written, "sentences": cut, "threads": "2", "out": truth}
    [out] = [
        path for path in plan.separation_parts(trace) if f"/{rollouts.author}/" in path.replace("/teacher/", "/", 1)
    ]
    options = {"sentences": cut, "truth": truth, **logprobs, "pair": PAIR, "threads": "2", "out": out}
    yield f"separation {rollouts.author}", options


def commands_of_trace(plan: Plan, trace: Trace) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the nodes that read the labels of a trace, and the one that writes them."""
    labelled, truth = plan.trace_parts(trace), plan.rollouts_parts("truth", trace.rollouts)
    scored = {role: plan.logprobs_parts(scorer, trace.rollouts) for role, scorer in plan.scorers(trace).items()}
    yield (
        "provenance",
        {
            "rollouts": plan.rollouts_parts("rollouts", trace.rollouts),
            "sentences": plan.sentences_parts(trace.rollouts),
            **scored,
            **{"thresholds": THRESHOLDS, "threads": "2", "out": labelled},
        },
    )
    grades = plan.rollouts_parts("grades", trace.rollouts)
    written, cut = plan.rollouts_parts("rollouts", trace.rollouts), plan.sentences_parts(trace.rollouts)
    options = {"rollouts": written, "sentences": cut, "provenance": labelled, "grades": grades}
    options |= {"by_question": positions_by_question_path(trace), "out": positions_path(trace)}
    yield "positions", options
    options = {"rollouts": written, "provenance": labelled, **scored, "splitter": "sentences"}
    yield "sensitivity", options | {"thresholds": THRESHOLDS, "out": sensitivity_path(trace)}
    options = {"questions": plan.questions_parts(trace.rollouts.questions), "rollouts": written, "sentences": cut}
    options |= {
        "provenance": labelled,
        "pair": PAIR,
        "dials": canonical_json(vars(plan.dials)),
        "thresholds": THRESHOLDS,
    }
    yield "oracle", options | {"threads": "2", "out": plan.oracle_parts(trace)}
    options = {"truth": truth, "pair": PAIR, "thresholds": THRESHOLDS, "out": validation_path(trace)}
    yield "validation", {"provenance": labelled} | options


def lists(plan: Plan, folder: str, out: str) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the jobs that list the parts of a folder, if it has several."""
    folder = f"{RESULTS}/{folder}"
    if not out.endswith("parts.arrow"):
        return
    listed = plan.listed_in(folder)
    for block, path in enumerate(listed if "/parts-" in listed[0] else []):
        yield f"parts {path}", {"parts": "\n".join(plan.listed_in_block(folder, block)), "out": path}
    yield f"parts {out}", {"parts": "\n".join(listed), "out": out}


def scorers_of(plan: Plan, trace: Trace, rollouts: RolloutSet) -> list[str]:
    """Return the models that score a set of answers."""
    return list(plan.scorers(trace).values()) if rollouts == trace.rollouts else ["teacher", "student"]


def write_study(plan: Plan, sentences: int) -> None:
    """Write what models would leave: all parts of rollouts and log-probs, and training logs."""
    [trace] = plan.traces("main")
    for rollouts in plan.tests("main"):
        for part in plan.parts["test"]:
            write_part(plan, rollouts, part, sentences, scorers_of(plan, trace, rollouts))
    for part in plan.parts["train"]:
        write_part(plan, plan.candidates("main", "teacher"), part, sentences, ("teacher", "student"))
    for name in plan.distilled:
        write_rejects(Path(training_path(name)), [], {"name": name})
        write(Path(training_path(name)), kinds.TRAINING, [], {"name": name})


def write_part(plan: Plan, rollouts: RolloutSet, part: str, sentences: int, scorers: Iterable[str]) -> None:
    """Write rollouts and log-probs of a part."""
    asked = open_artifact(f"{RESULTS}/questions/{rollouts.questions}/{part}.arrow", kinds.QUESTIONS)
    keys = [
        (f"{rollouts.author}-{question}-{sample}", question, sample)
        for question in asked.read("question_id")["question_id"]
        for sample in range(plan.sampling(rollouts.sampling).samples)
    ]
    frame = pl.DataFrame(keys, schema=["rollout_id", "question_id", "sample"], orient="row")
    path = Path(f"{RESULTS}/rollouts/{rollouts.folder}/{part}.arrow")
    identity = {"questions": asked.fingerprint, "author": rollouts.author}
    write_rejects(path, [], identity)
    written = write(path, kinds.ROLLOUTS, rollouts_of(frame, sentences), identity)
    for scorer in scorers:
        path = Path(logprobs_path(scorer, rollouts, part))
        write_rejects(path, [], {"rollouts": written, "scorer": scorer})
        write(path, kinds.LOGPROBS, logprobs_of(frame, sentences), {"rollouts": written, "scorer": scorer})


def rollouts_of(frame: pl.DataFrame, sentences: int) -> pl.DataFrame:
    """Return responses of so many equal sentences."""
    text = pl.lit(SENTENCE * sentences).alias("text")
    return frame.with_columns(text, answer_start=pl.lit(0), token_ids=None, logprobs=None, finish_reason=pl.lit("stop"))


def logprobs_of(frame: pl.DataFrame, sentences: int) -> pl.DataFrame:
    """Return random log-probs of the tokens of each response, all of the same length."""
    length = len(SENTENCE) // TOKENS
    starts = (np.arange(sentences)[:, None] * len(SENTENCE) + np.arange(TOKENS) * length).ravel()
    values = -np.random.default_rng(len(frame)).exponential(size=(len(frame), len(starts))).astype(np.float32)
    columns = {"token_ids": starts, "starts": starts, "ends": starts + length, "ranks": np.ones_like(starts)}
    rows = {name: np.broadcast_to(column, values.shape) for name, column in columns.items()} | {"logprobs": values}
    return frame.select("rollout_id").with_columns(
        **{name: pl.Series(np.ascontiguousarray(row)).arr.to_list() for name, row in rows.items()}
    )


if __name__ == "__main__":
    main()
