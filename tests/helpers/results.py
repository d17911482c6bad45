"""A folder of hand-made results of a small run, as the workflow would leave it, for the tests of the report."""

import copy
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import yaml

from builders import write, write_grades, write_lines, write_parts, write_probabilities, write_questions, write_rollouts
from distrace import kinds
from distrace.measures.labels import Thresholds, thresholds_of
from distrace.nodes.evidence import write_evidence
from distrace.nodes.float32_check import write_float32_check
from distrace.nodes.positions import write_positions
from distrace.nodes.provenance import write_provenance
from distrace.nodes.ranking import write_ranking
from distrace.nodes.selection import write_selection
from distrace.nodes.sensitivity import write_sensitivity
from distrace.plan import (
    WHOLE,
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
)

CONFIG = yaml.safe_load("""
splitter: lines
questions:
  train: {source: {file: train.jsonl}}
  test: {source: {file: test.jsonl}, parts: 2}
models:
  teacher: {source: {folder: teacher}}
  student: {source: {folder: student}}
sampling: {explore: {samples: 2}, answer: {}}
training: {short: {}}
runs:
  main:
    teachers: [teacher]
    student: student
    candidates: {questions: train, sampling: explore}
    strategies: [longest]
    training: short
    test: {questions: [test], sampling: answer}
    habits: {notes: '<<'}
""")
DISTILLED = "main.teacher.longest.0"
EVIL = "<script>alert('model')</script>"

# Probabilities of sentences under teacher, student and distilled model that get each label.
TEACHER, STUDENT, SHARED, BOOSTED = (0.9, 0.1, 0.9), (0.1, 0.9, 0.9), (0.5, 0.5, 0.5), (0.5, 0.5, 0.9)

# Responses of the distilled model: question, right or wrong, and sentences with the label each gets.
TRACED = {
    "d0": ("1+1?", True, [("<<1+1>>\n", TEACHER), (EVIL + "\n", SHARED), ("<<2>>\n", SHARED)]),
    "d1": ("2+2?", False, [("Guess.\n", BOOSTED), ("5\n", TEACHER)]),
    "d2": ("3+3?", True, [("<<6>>\n", TEACHER), ("6\n", TEACHER)]),
    "d3": ("4+4?", None, [("Oh.\n", STUDENT)]),
}
# Where models see less of a response, the second note of d0 is the teacher's, and d3 is not scored.
SEEN_LESS = {
    "d0": ("1+1?", True, [("<<1+1>>\n", TEACHER), (EVIL + "\n", SHARED), ("<<2>>\n", TEACHER)]),
    "d1": TRACED["d1"],
    "d2": TRACED["d2"],
}
ANSWERS = {"1+1?": "2", f"2+2? {EVIL}": "4", "3+3?": "6", "4+4?": "8"}


def question_of(asked: str) -> str:
    return next(question for question in ANSWERS if question.startswith(asked))


def answers_by_part(plan: Plan) -> dict[str, dict[str, str]]:
    """Return the test questions of each part with their answers; all parts have as many."""
    names = plan.parts["test"]
    size = len(ANSWERS) // len(names)
    return {name: dict(islice(ANSWERS.items(), n * size, (n + 1) * size)) for n, name in enumerate(names)}


def write_results(config: dict = CONFIG) -> Plan:
    """Write all that report and explorer of a config in float32 read into the current folder; give the plan."""
    plan = load_plan(copy.deepcopy(config))
    for part, answers in answers_by_part(plan).items():
        write_questions(Path(f"results/questions/test/{part}.arrow"), answers)
        for author, right in (("teacher", True), ("student", False)):
            _write_answers(plan, author, part, {f"{author}{q}": (q, "Yes.", right) for q in answers})
        _write_trace(plan, part, answers)
    _write_candidates(plan)
    for path in map(Path, dict.fromkeys([*plan.report_inputs(), *plan.explorer_inputs()])):
        if path.name == "parts.arrow" and path.parent.is_dir():
            write_parts(path.parent)
    [trace] = plan.traces("main")
    _write_evidence(plan, trace)
    write_analyses(plan, trace)
    history = [{"step": 1, "epoch": 1.0, "loss": 2.0, "learning_rate": 0.1}]
    write(Path(f"results/models/{DISTILLED}/training.arrow"), kinds.TRAINING, history, {})
    return plan


def write_analyses(plan: Plan, trace: Trace) -> None:
    """Write what reads the labels of a trace: positions, and what other thresholds and splitters would give."""
    rollouts, graded = (Path(plan.rollouts_parts(kind, trace.rollouts)) for kind in ("rollouts", "grades"))
    labelled, cut = Path(plan.trace_parts(trace)), Path(plan.sentences_parts(trace.rollouts))
    write_parts(cut.parent)
    for other in plan.in_contexts(trace).values():
        paths = Path(positions_by_question_path(other)), Path(positions_path(other))
        write_positions(rollouts, cut, Path(plan.trace_parts(other)), graded, *paths)
    scored = [Path(plan.logprobs_parts(scorer, trace.rollouts)) for scorer in plan.scorers(trace).values()]
    thresholds = thresholds_of(plan.config["runs"][trace.run])
    splitter = plan.config["splitter"]
    write_sensitivity(rollouts, labelled, *scored, splitter, thresholds, Path(sensitivity_path(trace)))


def _write_answers(plan: Plan, author: str, part: str, responses: dict) -> tuple[Path, Path]:
    """Write rollouts and grades of an author; responses are question, text, and right or wrong, by rollout id."""
    rollouts = RolloutSet(author, "test", "answer")
    path, graded = (Path(f"results/{kind}/{rollouts.folder}/{part}.arrow") for kind in ("rollouts", "grades"))
    texts = {rollout_id: (question, text) for rollout_id, (question, text, _) in responses.items()}
    write_rollouts(path, Path(f"results/questions/test/{part}.arrow"), texts)
    write_grades(graded, path, {rollout_id: correct for rollout_id, (_, _, correct) in responses.items()})
    return path, graded


def _write_trace(plan: Plan, part: str, answers: dict[str, str]) -> None:
    mine = {name: found for name, found in TRACED.items() if question_of(found[0]) in answers}
    responses = {
        name: (question_of(asked), "".join(text for text, _ in written), correct)
        for name, (asked, correct, written) in mine.items()
    }
    rollouts, _ = _write_answers(plan, DISTILLED, part, responses)
    [trace] = plan.traces("main")
    sentences = write_lines(Path(plan.sentences_parts(trace.rollouts)).with_name(f"{part}.arrow"), rollouts)
    for context, other in plan.in_contexts(trace).items():
        given = mine if context == WHOLE else {name: SEEN_LESS[name] for name in mine if name in SEEN_LESS}
        scored = [
            write_probabilities(
                Path(f"results/logprobs/{scorer}/{context}/{trace.rollouts.folder}/{part}.arrow"),
                sentences,
                rollouts,
                {name: [values[role] for _, values in written] for name, (_, _, written) in given.items()},
            )
            for role, scorer in enumerate(("teacher", "student", DISTILLED))
        ]
        out = Path(f"results/provenance/{other.folder}/{part}.arrow")
        write_provenance(rollouts, sentences, *scored, Thresholds(0.05, 0.1), out)


def _write_evidence(plan: Plan, trace: Trace) -> None:
    """Write the evidence of a trace: what its model learned, and the student's answers, each line a sentence."""
    out, candidates = Path(plan.evidence_parts(trace)), plan.candidates("main", trace.teacher)
    control = RolloutSet("student", trace.rollouts.questions, trace.rollouts.sampling)
    written, cut = (Path(plan.rollouts_parts("rollouts", control)), Path(plan.sentences_parts(control)))
    for part in plan.parts["test"]:
        write_lines(cut.with_name(f"{part}.arrow"), written.with_name(f"{part}.arrow"))
    write_parts(cut.parent)
    for part in plan.parts["test"]:
        write_evidence(
            Path(plan.rollouts_parts("rollouts", trace.rollouts)).with_name(f"{part}.arrow"),
            Path(plan.sentences_parts(trace.rollouts)).with_name(f"{part}.arrow"),
            [Path(plan.rollouts_parts("rollouts", candidates))],
            [Path(plan.sentences_parts(candidates)).with_name("0.arrow")],
            [Path(selection_path("main", candidates, "longest"))],
            [written],
            [cut],
            out.with_name(f"{part}.arrow"),
        )
    write_parts(out.parent)


def write_comparison(plan: Plan, probabilities: dict[str, dict[str, list[float]]]) -> None:
    """Write the first part of the trace in float32: probabilities of sentences by scorer and rollout id."""
    [trace] = plan.traces("main")
    rollouts, sentences = (
        Path(plan.parts_in(f"results/{kind}/{trace.rollouts.folder}")[0]) for kind in ("rollouts", "sentences/lines")
    )
    scorers = plan.scorers(trace).values()
    own, in_float32 = (
        [Path(logprobs_path(name, trace.rollouts, "0")) for name in names]
        for names in (scorers, map(plan.in_float32, scorers))
    )
    for path, scorer in zip(in_float32, scorers, strict=True):
        if path not in own:
            write_probabilities(path, sentences, rollouts, probabilities[scorer])
    write_float32_check(
        rollouts, sentences, own, in_float32, Thresholds(0.05, 0.1), Path(plan.float32_check_path(trace))
    )


def _write_candidates(plan: Plan) -> None:
    questions = write_questions(Path("results/questions/train/0.arrow"), {"5+5?": "10"})
    candidates = plan.candidates("main", "teacher")
    rollouts = write_rollouts(
        Path(f"results/rollouts/{candidates.folder}/0.arrow"),
        questions,
        {"c0": ("5+5?", "Long.\n10\n"), "c1": ("5+5?", "11\n")},
    )
    write_grades(
        Path(plan.rollouts_parts("grades", candidates)).with_name("0.arrow"), rollouts, {"c0": True, "c1": False}
    )
    sentences = write_lines(Path(plan.sentences_parts(candidates)).with_name("0.arrow"), rollouts)
    teacher, student = (
        write_probabilities(Path(f"results/logprobs/{scorer}/full/{candidates.folder}/0.arrow"), sentences, rollouts, p)
        for scorer, p in (("teacher", {"c0": [0.9, 0.5], "c1": [0.5]}), ("student", {"c0": [0.1, 0.5], "c1": [0.5]}))
    )
    ranking = Path(ranking_path("main", candidates))
    write_ranking(rollouts, sentences, teacher, student, 0.1, 0, ranking)
    strategies = {"longest": asdict(plan.strategy("longest"))}
    write_selection([ranking], ["teacher"], "longest", strategies, Path(selection_path("main", candidates, "longest")))
