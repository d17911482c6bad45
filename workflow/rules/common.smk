# The plan that follows from the config, and the functions that rules share.
import re
import shlex
import sys
from dataclasses import asdict
from functools import cache
from inspect import isfunction, signature
from itertools import chain
from math import inf
from os import environ
from pathlib import Path
from platform import machine
from time import time

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger

PACKAGE_FOLDER = str(Path(str(workflow.current_basedir)).parent)
sys.path.insert(0, PACKAGE_FOLDER)

from distrace import plan as planning
from distrace import resources as resources_of
from distrace.before_run import notes, require_whole_files
from distrace.config import refuse_repeated_keys
from distrace.errors import DistraceError
from distrace.estimates import estimate
from distrace.failures import explain
from distrace.gpus import visible_gpus
from distrace.identity import canonical_json, digest
from distrace.measures.labels import thresholds_of
from distrace.pages.closing import say_closing
from distrace.pages.opening import opening_lines
from distrace.rows import file_digest
from distrace.settings import as_identity
from distrace.sources import source_digest
from distrace.stale_lock import hold_folder
from distrace.terminal import Talk, talk_to_terminal
from distrace.versions import NODE_VERSIONS

# Jobs find this Python, though its environment be not activated, and the package beside the rules; an environment of
# conda comes before both.
environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
environ["PYTHONPATH"] = ":".join(filter(None, [PACKAGE_FOLDER, environ.get("PYTHONPATH")]))
# Threads that wait for each other spin for a moment, then sleep: where jobs share cores, those that spin for long take them
# from those that work, and those that sleep at once are late for the next step (docs/benchmarks.md).
if "OMP_WAIT_POLICY" not in environ:
    environ.setdefault("GOMP_SPINCOUNT", "6000")
# Memory that torch frees on a CPU stays with the job: fresh pages took a quarter of a training's time (163 against 122 s).
for threshold in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
    environ.setdefault(threshold, str(2**30))

# numpy's OpenBLAS begins with a thread for each core, all of which spin for a tenth of a second; torch for Arm computes by it.
if machine() == "x86_64":
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")

try:
    for file in map(Path, workflow.configfiles if workflow.is_main_process else []):
        if file.suffix in (".yaml", ".yml"):
            refuse_repeated_keys(file)
    plan = planning.load_plan(config)
    parts_of_questions = plan.parts
    if workflow.is_main_process:
        require_whole_files(plan)
except DistraceError as error:
    raise WorkflowError(str(error))

# Held until this Snakemake ends: where it is free, the lock of one that was killed is taken away.
HELD = hold_folder(Path(".snakemake")) if workflow.is_main_process and not workflow.output_settings.dryrun else None

STARTED = time()
RUNS_HERE = workflow.local_exec and workflow.is_main_process
GPUS_HERE = len(visible_gpus()) if RUNS_HERE else 0
# From how many parameters on a model asks for a GPU.
LARGE = resources_of.LARGE_HERE if GPUS_HERE else inf if RUNS_HERE else resources_of.LARGE_ON_CLUSTER
# Jobs take turns on the GPUs of this machine, unless the command line or a profile says how many there are.
if GPUS_HERE and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPUS_HERE)


# What the terminal says of a run


@cache
def said_before():
    """Return the lines about settings that are allowed but seldom meant; a run says them at its start and at its end."""
    return notes(plan, GPUS_HERE if RUNS_HERE else None)


@cache
def jobs_to_run():
    """Return rule and wildcards of the jobs of this run, by number."""
    return {job.jobid: (job.rule.name, job.wildcards_dict) for job in workflow.dag.needrun_jobs()}


@cache
def seconds_of_jobs():
    return {number: estimate(plan, *job, LARGE).seconds for number, job in jobs_to_run().items()}


def opening():
    return opening_lines(plan, jobs_to_run().values(), said_before(), LARGE, gpus=GPUS_HERE > 0 or not RUNS_HERE)


if workflow.is_main_process:
    whole = workflow.output_settings.printshellcmds or workflow.output_settings.verbose
    talk_to_terminal(snakemake_logger, Talk(workflow.output_settings.dryrun, whole, opening, seconds_of_jobs))


# Who wrote, on which questions, with which sampling; and such a set under the settings of a run and one of its teachers.
# Snakemake's own `pathvars` would do, but wildcards inside them escape the constraints of rules (9.27).
ROLLOUT_SET = "{author}/{questions}/{sampling}"
ROLLOUT_PART = f"{ROLLOUT_SET}/{{part}}"
TRACE = f"{{run}}/{{teacher}}/{ROLLOUT_SET}"
TRACE_PART = f"{TRACE}/{{part}}"
# A trace in any context: in the whole one its own path, in another one that path and the context.
TRACE_IN_CONTEXT = f"{TRACE}{{in_context}}"


wildcard_constraints:
    author="[^/]+",
    context="[^/]+",
    in_context="(/alone|/window-[0-9]+)?",
    model="[^/]+",
    part="[0-9]+",
    questions="[^/]+",
    run="[^/]+",
    sampling="[^/]+",
    scorer="[^/]+",
    splitter="[^/]+",
    strategy="[^/.]+",
    teacher="[^/]+",


def names(models):
    """Return a wildcard constraint that holds for these names alone."""
    return "|".join(map(re.escape, models)) or "(?!)"


def imported_authors():
    """Return a wildcard constraint on an author: that a file holds its responses of the sampling that follows in the path."""
    pairs = plan.imported()
    return "|".join(f"{re.escape(a)}(?=/[^/]+/{re.escape(s)}(?:/|$))" for a, s in pairs) or "(?!)"


def responses_of(wildcards):
    """Return where the ready-made responses of a rollout set are, and how to read them."""
    return plan.responses(wildcards.author, wildcards.sampling)


def files_of_responses(wildcards):
    """Return the files that the ready-made responses of a rollout set are read from; none if the hub holds them."""
    found = responses_of(wildcards)
    return [source["file"] for source in (found, found["join"]) if source and source["file"]]


def as_json(settings):
    return canonical_json(settings if isinstance(settings, dict) else asdict(settings))


# What a job's wildcards stand for


def rollout_set(wildcards):
    return planning.RolloutSet(wildcards.author, wildcards.questions, wildcards.sampling)


@cache
def all_candidates():
    return frozenset(chain.from_iterable(plan.all_candidates(run) for run in plan.config["runs"]))


def trace(wildcards):
    context = getattr(wildcards, "in_context", "").strip("/") or planning.WHOLE
    return planning.Trace(wildcards.run, wildcards.teacher, rollout_set(wildcards), context)


def student_of(wildcards):
    return plan.config["runs"][wildcards.run]["student"]


def thresholds(wildcards):
    return as_json(as_identity(thresholds_of(plan.config["runs"][wildcards.run])))


# Models and what they run on


# Of thousands of jobs few differ in these, and a plan asks for them several times a job.
model_config = cache(plan.model_config)
settings_of = cache(lambda model: as_json(plan.model_settings(model)))
sampling_of = cache(lambda sampling: as_json(plan.sampling(sampling)))
execution = cache(lambda model, gpus: as_json(plan.execution(model, gpus)))
training_execution = cache(lambda model, gpus: as_json(plan.training_execution(model, gpus)))
gpus_asked = cache(lambda model, task: resources_of.gpus(plan, model, LARGE, task))
memory_asked = cache(lambda model, work: resources_of.mem_mb(plan, model, work, gpus_asked(model, work.task)))
minutes_asked = cache(lambda model, work: resources_of.minutes(plan, model, work, gpus_asked(model, work.task)))
scoring = cache(lambda context, rollouts: resources_of.scoring(plan, context, rollouts))
generating = cache(lambda rollouts: resources_of.generating(plan, rollouts))
part_digests = cache(plan.part_digests)
top_probabilities = cache(plan.top_probabilities)


@cache
def options_of_source(questions):
    source, cut = (shlex.quote(as_json(settings)) for settings in (plan.questions(questions), plan.cut(questions)))
    return f"--source {source} --cut {cut}"


def takes_recorded(wildcards):
    """Return whether a scoring job takes log-probs that were recorded, so that no model runs."""
    if "scorer" not in wildcards.keys():
        return False
    return plan.takes_recorded(wildcards.scorer, rollout_set(wildcards), wildcards.context)


def of_model(wildcard, key):
    """Return a function: a key of the config of the job's model, whose name that wildcard holds."""
    without_model = {"engine": None, "threads": 1}
    return lambda w: without_model[key] if takes_recorded(w) else model_config(w[wildcard])[key]


def work_of(wildcards):
    """Return what a job does with its model: it scores, generates or trains."""
    if "scorer" in wildcards.keys():
        return scoring(wildcards.context, rollout_set(wildcards))
    if "author" in wildcards.keys():
        return generating(rollout_set(wildcards))
    return resources_of.training(plan, wildcards.model)


def gpus_of(wildcard):
    """Return a function: how many GPUs the job of a model asks for; none if it loads no weights."""
    return lambda w: 0 if takes_recorded(w) else gpus_asked(w[wildcard], work_of(w).task)


def model_resources(wildcard):
    """Return the resources of a job that runs the model that the wildcard names.

    Memory and time grow with the attempt, for jobs that were killed for want of either. A cluster grants the GPUs of a
    job on one node.
    """

    def estimated(estimate, without_model):
        return lambda w: without_model if takes_recorded(w) else estimate(w[wildcard], work_of(w))

    memory, minutes = estimated(memory_asked, 2000), estimated(minutes_asked, 60)
    return {
        "gpu": gpus_of(wildcard),
        "nodes": 1,
        "mem_mb": lambda w, attempt: attempt * memory(w),
        "runtime": lambda w, attempt: attempt * minutes(w),
    }


def engine_resources(wildcard):
    """Return the resources of a job that scores or generates: with what --execution says and which Python runs it.

    Resources, not params: a change makes nothing stale. vLLM may have a Python of its own (docs/engines.md).
    """
    gpus = gpus_of(wildcard)
    return model_resources(wildcard) | {
        "execution": lambda w: execution(w[wildcard], gpus(w)),
        "python": by_engine(wildcard, vllm=environ.get("DISTRACE_VLLM_PYTHON", "python"), other="python"),
    }


def training_resources(wildcard):
    """Return the resources of a job that trains: with what --execution says, which makes nothing stale."""
    gpus = gpus_of(wildcard)
    return model_resources(wildcard) | {"execution": lambda w: training_execution(w[wildcard], gpus(w))}


def engine_environment(wildcard):
    """Return the conda environment of the job's engine, or a function that does."""
    return by_engine(wildcard, vllm="../../envs/vllm.yaml", other="../../envs/distrace.yaml")


def by_engine(wildcard, vllm, other):
    """Return a function of a job's wildcards; without vLLM in the config just the value, which costs no time a job."""
    if not any(model["engine"] == "vllm" for model in plan.config["models"].values()):
        return other
    engine = of_model(wildcard, "engine")
    return lambda w: vllm if engine(w) == "vllm" else other


# Nodes that run no model, and take all parts of a set


def parts_at_once(wildcards):
    """Return how many parts of the job's set are worked on at once."""
    return min(8, len(parts_of_questions[wildcards.questions]))


def memory_of_parts(wildcards, threads, attempt):
    return attempt * (2000 + 1000 * threads)


# Inputs that are more than one path with wildcards


def parts_of(kind):
    """Return an input function: the list of the parts of an artifact of the job's rollout set."""
    if kind == "sentences":
        return lambda w: plan.sentences_parts(rollout_set(w))
    return lambda w: plan.rollouts_parts(kind, rollout_set(w))


def traced_logprobs(role):
    """Return an input function: the job's log-probs under the teacher, student or distilled model of its trace.

    They are those in the trace's context.
    """
    return lambda w: plan.logprobs_parts(plan.scorers(trace(w))[role], rollout_set(w), trace(w).context)


def checked_logprobs(in_float32):
    """Return an input function: the job's log-probs under all models of its trace, as they run or in float32."""
    name = plan.in_float32 if in_float32 else str
    return lambda w: [
        planning.logprobs_path(name(scorer), rollout_set(w), w.part) for scorer in plan.scorers(trace(w)).values()
    ]


def evidence_data(wildcards):
    """Return what is searched for the sentences of a distilled model (here the author).

    That is all that it learned from, with the models that it started from, and the student's answers to the questions.
    """
    learned = plan.selections_behind(wildcards.author)
    pools = dict.fromkeys(chain.from_iterable(plan.pools(model.run)[model.teacher] for model in learned))
    control = planning.RolloutSet(student_of(wildcards), wildcards.questions, wildcards.sampling)
    return {
        "training": [plan.rollouts_parts("rollouts", rollouts) for rollouts in pools],
        "training_sentences": [plan.sentences_parts(rollouts) for rollouts in pools],
        "selections": [
            planning.selection_path(model.run, plan.candidates(model.run, model.teacher), model.strategy)
            for model in learned
        ],
        "control": plan.rollouts_parts("rollouts", control),
        "control_sentences": plan.sentences_parts(control),
    }


def attribution_data(wildcards):
    """Return what tells a run's teachers apart on the answers of the distilled model (here the author) and the student."""
    teachers = plan.config["runs"][wildcards.run]["teachers"]
    found = {}
    for role, author in (("distilled", wildcards.author), ("student", student_of(wildcards))):
        answers = planning.RolloutSet(author, wildcards.questions, wildcards.sampling)
        found[f"{role}_rollouts"] = plan.rollouts_parts("rollouts", answers)
        found[f"{role}_sentences"] = plan.sentences_parts(answers)
        found[f"{role}_logprobs"] = [plan.logprobs_parts(teacher, answers) for teacher in teachers]
    references = [
        planning.RolloutSet(model, wildcards.questions, wildcards.sampling) for model in plan.references(wildcards.run)
    ]
    if references:
        found["reference_rollouts"] = [plan.rollouts_parts("rollouts", answers) for answers in references]
        found["reference_sentences"] = [plan.sentences_parts(answers) for answers in references]
        found["reference_logprobs"] = [plan.logprobs_parts(t, answers) for answers in references for t in teachers]
    return found


def references_options(wildcards, input):
    """Return the options of an attribution job that name its reference students and their answers."""
    references = list(plan.references(wildcards.run))
    if not references:
        return ""
    return (
        f"--references {shlex.quote(canonical_json(references))} --reference-rollouts {input.reference_rollouts} "
        f"--reference-sentences {input.reference_sentences} --reference-logprobs {input.reference_logprobs}"
    )


def distilldetect_data(wildcards):
    """Return the teachers' answers, and what the distilled model (here the author) and the student make of them."""
    sets = [
        planning.RolloutSet(teacher, wildcards.questions, wildcards.sampling)
        for teacher in plan.config["runs"][wildcards.run]["teachers"]
    ]
    return {
        "rollouts": [plan.rollouts_parts("rollouts", answers) for answers in sets],
        "distilled": [plan.logprobs_parts(wildcards.author, answers) for answers in sets],
        "student": [plan.logprobs_parts(student_of(wildcards), answers) for answers in sets],
        "references": [plan.logprobs_parts(model, a) for model in plan.references(wildcards.run) for a in sets],
    }


def finetune_data(wildcards):
    """Return what a model learns from: a selection of candidates, or the solutions of a set of questions."""
    if wildcards.model not in plan.distilled:
        questions = plan.config["models"][wildcards.model]["source"]["finetune"]["questions"]
        return {"questions": plan.questions_parts(questions)}
    distilled = plan.distilled[wildcards.model]
    candidates = plan.candidates(distilled.run, distilled.teacher)
    pool = plan.pools(distilled.run)[distilled.teacher]
    return {
        "questions": plan.questions_parts(candidates.questions),
        "rollouts": [plan.rollouts_parts("rollouts", rollouts) for rollouts in pool],
        "selection": planning.selection_path(distilled.run, candidates, distilled.strategy),
    }


def selection_data(wildcards):
    """Return the rankings that a strategy selects from and, where it counts which answers are right, the grades.

    The author is a teacher, or `pooled`.
    """
    pool = plan.pools(wildcards.run)[wildcards.author]
    found = {"rankings": [planning.ranking_path(wildcards.run, rollouts) for rollouts in pool]}
    if any(strategy.only_right for strategy in plan.strategies_behind(wildcards.run, wildcards.strategy).values()):
        found["grades"] = [plan.rollouts_parts("grades", rollouts) for rollouts in pool]
    return found


def exported_data(wildcards):
    """Return what an exported selection is made from; the author is a teacher, or `pooled`."""
    pool = plan.pools(wildcards.run)[wildcards.author]
    return {
        "questions": plan.questions_parts(wildcards.questions),
        "rollouts": [plan.rollouts_parts("rollouts", rollouts) for rollouts in pool],
        "rankings": [planning.ranking_path(wildcards.run, rollouts) for rollouts in pool],
        "selection": planning.selection_path(wildcards.run, rollout_set(wildcards), wildcards.strategy),
        "teachers": [planning.model_path(rollouts.author) for rollouts in pool],
        "student": planning.model_path(student_of(wildcards)),
    }


def model_files(wildcards):
    """Return the files of a local model, so that new weights in the same folder are noticed."""
    folder = plan.config["models"][wildcards.model]["source"]["folder"]
    if folder is None:
        return []
    # Snakemake would read braces in a name as wildcards; no file that counts has any.
    found = sorted(str(path) for path in Path(folder).glob("*.*") if not set("{}<>") & set(path.name))
    return found or [f"{folder}/config.json"]


# Options that depend on the job. Paths follow from inputs, which have the prefix of a workflow that uses this one with one.


def part_beside(path, wildcards):
    """Return the path of the job's part, beside that of its rejects or of the list of all parts."""
    return Path(path).with_name(f"{wildcards.part}.arrow")


def questions_beside(card, wildcards):
    """Return the path of the questions of the job's part; `card` is that of a model's card."""
    return Path(card).parents[2] / "questions" / wildcards.questions / f"{wildcards.part}.arrow"


def styles(wildcards):
    """Return the styles of the world that the teacher and the student of a trace were trained on."""
    return as_json({"teacher": plan.style_of(wildcards.teacher), "student": plan.style_of(student_of(wildcards))})


def authors(wildcards):
    """Return the authors of the world whose corpora the teacher and the student of a trace were trained on."""
    found = {"teacher": wildcards.teacher, "student": student_of(wildcards)}
    return as_json({role: plan.author_of(model).style for role, model in found.items()})


def written_with_rollouts(wildcards):
    """Return whether the rollouts job itself sees to the questions of its part, where they are not written yet.

    So questions that are appended to a set run the jobs of new parts alone, not of all that use the set: a job of the
    rule `questions` above them would. Hub data grow by no one's hand here, and a computing node may not reach the hub.
    """
    return plan.config["questions"][wildcards.questions]["source"]["hub"] is None


def made_from(wildcards):
    """Return what a rollouts job is recorded to be made from, beyond its inputs and settings.

    That is a digest of the questions, where the job itself sees to them, and where it cuts another author's responses.
    """
    digest_of_questions = part_digests(wildcards.questions)[wildcards.part] if written_with_rollouts(wildcards) else ""
    cut_beyond = plan.begun_from(wildcards.sampling)
    return digest_of_questions if cut_beyond is None else f"{digest_of_questions} begun from {cut_beyond}"


def beginnings(wildcards):
    """Return what changes if the responses do that those of a rollouts job begin with; nothing if they begin with none."""
    begun = plan.begun_with(rollout_set(wildcards))
    return plan.written_rollouts(begun, wildcards.part) if begun else []


def questions_options(wildcards, input):
    """Return the options of a rollouts job that name what it answers, and with which it can write the questions.

    That is the questions of its part and, where another author begins the responses, that author's.
    """
    found = f"--questions {questions_beside(input.model, wildcards)}"
    if input.begun:
        found += f" --begun {part_beside(input.begun, wildcards)} --begun-from {plan.begun_from(wildcards.sampling)}"
    if not written_with_rollouts(wildcards):
        return found
    digest_of_questions = part_digests(wildcards.questions)[wildcards.part]
    return f"{found} {options_of_source(wildcards.questions)} --made-from {digest_of_questions}"


def logprobs_options(wildcards):
    """Return the options of a scoring job that depend on its scorer."""
    found = f"--settings {shlex.quote(settings_of(wildcards.scorer))}"
    if takes_recorded(wildcards):
        found += " --own-logprobs recorded"
    if top := top_probabilities(wildcards.scorer, rollout_set(wildcards), wildcards.context):
        found += f" --top-probabilities {top}"
    return found


def responses_options(wildcards, input):
    """Return the options of a scoring job that name what it scores."""
    found = f"--rollouts {part_beside(input.rollouts, wildcards)} "
    found += f"--questions {questions_beside(input.model, wildcards)}"
    return f"{found} --sentences {part_beside(input.sentences, wildcards)}" if input.sentences else found


def selection_options(wildcards):
    """Return the options of a selection job that depend on its strategy and its pool."""
    strategies = plan.strategies_behind(wildcards.run, wildcards.strategy)
    options = {
        "teachers": [rollouts.author for rollouts in plan.pools(wildcards.run)[wildcards.author]],
        "strategies": {name: asdict(strategy) for name, strategy in strategies.items()},
    }
    if equal := plan.equal(wildcards.run):
        options["equal"] = asdict(equal)
    return " ".join(f"--{name} {shlex.quote(canonical_json(value))}" for name, value in options.items())


def author_of_tokens(wildcards):
    """Return the option of a job that imports tokens: their author's settings."""
    if not responses_of(wildcards)["token_ids"]:
        return ""
    return f"--model-settings {shlex.quote(settings_of(wildcards.author))}"
