# The plan that follows from the config, and the functions that rules share.
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

PACKAGE_FOLDER = str(Path(str(workflow.current_basedir)).parent)
sys.path.insert(0, PACKAGE_FOLDER)

from distrace import plan as planning
from distrace.errors import DistraceError
from distrace.identity import NODE_VERSIONS, canonical_json, source_digest

# Jobs find the package beside the rules, also in a conda environment and on a cluster node.
os.environ["PYTHONPATH"] = os.pathsep.join([PACKAGE_FOLDER, *filter(None, [os.environ.get("PYTHONPATH")])])

try:
    plan = planning.load_plan(config)
except DistraceError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    author="[^/]+",
    context="[^/]+",
    model="[^/]+",
    part="[0-9]+",
    questions="[^/]+",
    run="[^/]+",
    sampling="[^/]+",
    scorer="[^/]+",
    splitter="[^/]+",
    strategy="[^/]+",
    teacher="[^/]+",


def names(models):
    """Give a wildcard constraint that holds for these names alone."""
    return "|".join(map(re.escape, models)) or "(?!)"


def as_json(settings):
    return canonical_json(settings if isinstance(settings, dict) else asdict(settings))


def parts_of(kind, author=None):
    """Give an input function: all parts of an artifact of the job's rollout set; `kind` may hold wildcards."""
    return lambda w: plan.rollout_parts(kind.format(**w, student=student_of(w)), rollout_set(w))


def rollout_set(wildcards):
    return planning.RolloutSet(wildcards.author, wildcards.questions, wildcards.sampling)


def student_of(wildcards):
    return plan.config["runs"][wildcards.run]["student"] if "run" in wildcards.keys() else None


def thresholds(wildcards):
    run = plan.config["runs"][wildcards.run]
    return as_json({"alpha": run["alpha"], "beta": run["beta"]})


# What changes only a job's speed comes as a resource, which is no reason to run a job again.
EXECUTION = """--execution '{{"gpus": {resources.gpu}, "token_budget": {resources.token_budget}}}' """
