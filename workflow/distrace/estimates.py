"""What jobs will write, how long they take and what room they need, before they run.

Numbers of responses follow from the config. Tokens of a response are those of finished parts of the same author and
sampling, else as many as it may have. Speeds are those that the logs of finished jobs tell, else what the config says
(`tokens_per_second`), else what the size of the model allows (`resources.py`). Bytes are those of docs/disk.md.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.parts import LIST
from distrace.plan import RESULTS, Plan, RolloutSet
from distrace.questions import count_questions
from distrace.resources import (
    GENERATED,
    PROMPT_TOKENS,
    Work,
    derived_rate,
    gpus,
    model_size,
    questions_in_part,
    response_tokens,
    training,
)

WITHOUT_MODEL = 3.0  # seconds of a job that runs no model
WITH_MODEL = 10.0  # seconds until a model is loaded
BYTES = {"generate": 5.3, "score": 5.2, "label": 1.2}  # of a token
_SET = {"author", "questions", "sampling"}
_WILDCARDS = {
    "rollouts": _SET,
    "logprobs": _SET | {"scorer", "context"},
    "finetune": {"model"},
    "provenance": _SET,
}
_LOGS = 5  # finished jobs whose speed is looked up
_SPEED = re.compile(r", (\d+) tokens/s, done in")


@dataclass(frozen=True)
class Estimate:
    """What a job does: `task` is `generate`, `score`, `train` or empty.

    `responses` and `tokens` are None if nothing says how many. `measured` tells whether the speed is that of a
    finished job; `at_most`, that each response counts as long as it may be.
    """

    task: str = ""
    responses: int | None = 0
    tokens: float | None = 0
    seconds: float = WITHOUT_MODEL
    gpus: int = 0
    size: float = 0  # bytes
    measured: bool = False
    at_most: bool = False


def estimate(plan: Plan, rule: str, wildcards: Mapping[str, str], large: float) -> Estimate:
    """Return what a job will do; a model of `large` parameters asks for a GPU where the config does not say."""
    if not _WILDCARDS.get(rule, set()) <= wildcards.keys():  # a rule of another workflow that uses this one
        return Estimate()
    if rule == "rollouts":
        return _responses_job(plan, "generate", wildcards["author"], wildcards, large)
    if rule == "logprobs":
        return _responses_job(plan, "score", wildcards["scorer"], wildcards, large)
    if rule == "finetune":
        return _training_job(plan, wildcards["model"], large)
    if rule == "provenance":
        rollouts = _rollout_set(wildcards)
        _, tokens, _ = responses_in_part(plan, rollouts)
        return Estimate(size=BYTES["label"] * (tokens or 0) * len(plan.parts[rollouts.questions]))
    return Estimate()


def _responses_job(plan: Plan, task: str, model: str, wildcards: Mapping[str, str], large: float) -> Estimate:
    rollouts = _rollout_set(wildcards)
    responses, tokens, at_most = responses_in_part(plan, rollouts)
    found = Estimate(task, responses, tokens, size=BYTES[task] * (tokens or 0), at_most=at_most)
    if task == "score" and plan.takes_recorded(model, rollouts, wildcards["context"]):
        return found
    prompts = (responses or 0) * PROMPT_TOKENS if task == "score" else 0
    cost = GENERATED[plan.model_config(model)["engine"]] if task == "generate" else 1
    return _timed(plan, model, found, Work(task, (tokens or 0) + prompts, cost), large)


def _training_job(plan: Plan, model: str, large: float) -> Estimate:
    work, size = training(plan, model), model_size(plan, model)
    found = Estimate("train", tokens=work.tokens, size=4 * size.parameters if size else 0, at_most=True)
    return _timed(plan, model, found, work, large)


def _timed(plan: Plan, model: str, found: Estimate, work: Work, large: float) -> Estimate:
    asked = gpus(plan, model, large, work.task)
    measured = measured_rate(work.task, model)
    rate = measured or plan.model_config(model)["tokens_per_second"][work.task]
    rate = rate or derived_rate(plan, model, work, asked)
    seconds = WITH_MODEL + ((found.tokens if measured else work.tokens) or 0) / rate if rate else WITH_MODEL
    return replace(found, seconds=seconds, gpus=asked, measured=measured is not None)


def responses_in_part(plan: Plan, rollouts: RolloutSet) -> tuple[int | None, float | None, bool]:
    """Return how many responses a part of a set has, their tokens, and whether these are as many as they may be."""
    if plan.is_imported(rollouts):
        return None, None, False
    asked = questions_in_part(plan, rollouts.questions)
    if asked is None:
        known = _questions(plan, rollouts.questions)
        asked = None if known is None else math.ceil(known / len(plan.parts[rollouts.questions]))
    if asked is None:
        return None, None, False
    responses = asked * int(plan.config["sampling"][rollouts.sampling]["samples"])
    length = measured_length(rollouts)
    tokens = responses * (response_tokens(plan, rollouts.sampling) if length is None else length)
    return responses, tokens, length is None


def _questions(plan: Plan, name: str) -> int | None:
    try:
        return count_questions(plan.questions(name))
    except (DistraceError, OSError):
        return None  # no file yet


def _rollout_set(wildcards: Mapping[str, str]) -> RolloutSet:
    return RolloutSet(wildcards["author"], wildcards["questions"], wildcards["sampling"])


@cache
def measured_length(rollouts: RolloutSet) -> float | None:
    """Return the mean number of tokens of the responses in a finished part of this author and sampling."""
    for path in islice(Path(f"{RESULTS}/rollouts/{rollouts.author}").glob(f"*/{rollouts.sampling}/*.arrow"), 20):
        if path.name == LIST or path.name.endswith(".rejects.arrow"):
            continue
        try:
            found = open_artifact(path).read("token_ids")["token_ids"].list.len().mean()
        except DistraceError:
            continue
        if isinstance(found, float):
            return found
    return None


@cache
def measured_rate(task: str, model: str) -> float | None:
    """Return the tokens per second of a model's finished jobs, the median of some; None if no log tells."""
    place = {"generate": f"rollouts/{model}", "score": f"logprobs/{model}/full"}.get(task)
    logs = islice(Path("logs", place).rglob("*.log"), _LOGS) if place else ()
    found = [_SPEED.findall(path.read_text("utf-8", "replace")) for path in logs]
    speeds = [float(speeds[-1]) for speeds in found if speeds and float(speeds[-1])]
    return median(speeds) if speeds else None
