"""What a model's job asks for: memory, minutes and GPUs, from the size of the model and the tokens of the job's part.

Plain arithmetic on what is known before anything runs: no model is loaded, torch is not imported, nothing is fetched.
`docs/cluster.md` gives the formulas. They are bounds, not forecasts: every response counts as long as it may be. What
the config says (`mem_mb`, `runtime`, `gpus`) comes first.
"""

import json
import math
import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from distrace.model_files import parameters_in
from distrace.plan import FLOAT32, Plan, RolloutSet
from distrace.training.launch import gpus_of, processes_of

# Where the size of the model or of the part is not known.
UNKNOWN_MIB, UNKNOWN_MINUTES = 4000, 240
MIB = 2**20
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

PYTHON_MIB = 2000  # torch and transformers hold some 900, the two processes of Snakemake 320
CUDA_MIB = 3000  # what its libraries hold of the host's memory
SHARD_MIB = 5000  # weights on their way to a GPU
CACHE_MIB = 4096  # of keys and values on a CPU, while they are copied into a larger one; of vLLM, too
ROW_BYTES = 150  # a token, scored or generated: ids, characters, log-probs, in Python and in Arrow
TRAINING_ROW_BYTES, TRAINING_ROWS_MIB = 64, 4096  # of a token to train on; at most, as the rest lies on disk
CPU_BUDGET = 4096  # tokens at once; engines/transformers/memory.py

START_MINUTES = 30  # imports and weights from a slow disk
SAFETY = 1.5
MOST_MINUTES = 1440  # more than many clusters grant; a job that is cut off goes on where it stopped, with more time
CPU_FLOPS = 1e10  # of one thread; a core of its own gives four times as many
GPU_FLOPS = {"float32": 1e13, "bfloat16": 5e13, "float16": 5e13}
# The cost of a token against that of one that is scored.
GENERATED = {"transformers": 10, "vllm": 2, "server": 2}
TRAINED = 3
WINDOWED = 16  # each sentence is scored with those before it again
PROMPT_TOKENS = 256
# Parameters from which on a model asks for a GPU, where the config does not say: here, if this machine has one, and on
# a cluster, where a CPU may be all that a user was granted.
LARGE_HERE, LARGE_ON_CLUSTER = 1e8, 1e9


@dataclass(frozen=True)
class Size:
    """The size of a model; where only `parameters` is known, the others follow as in common models."""

    parameters: float
    hidden: int
    layers: int
    vocabulary: int


@dataclass(frozen=True)
class Work:
    """What a job does: `task` is `score`, `generate` or `train`, with `tokens` in all, or None if that is not known.

    `cost` is that of a token against one that is scored; `at_once` are the tokens of a training's forward pass.
    """

    task: str
    tokens: float | None
    cost: float = 1
    at_once: int = 0


# The size of a model


def model_size(plan: Plan, name: str) -> Size | None:
    """Return the size of a model; None if it runs behind a server, or if nothing says how large it is."""
    name = name.removesuffix(FLOAT32)
    config = plan.model_config(name)
    if config["engine"] == "server":
        return None
    if config["parameters"]:
        return guessed_size(config["parameters"])
    source = config["source"]
    if name in plan.distilled or source["finetune"]:
        return model_size(plan, plan.base_of(name))
    if source["fresh"]:
        return fresh_size(source["fresh"])
    return folder_size(source["folder"]) if source["folder"] else hub_size(source["hub"], source["revision"])


def guessed_size(parameters: float) -> Size:
    """Return the size of a model of which only the number of parameters is known."""
    return Size(parameters, hidden=math.ceil(math.sqrt(parameters / 400)), layers=32, vocabulary=150_000)


def fresh_size(fresh: dict[str, Any]) -> Size:
    """Return the size of an untrained model from its settings (nodes/fresh.py)."""
    hidden, layers, vocabulary = fresh["hidden"], fresh["layers"], fresh["vocabulary"]
    # Attention has four square matrices, the feed-forward layer three that are three times as wide.
    return Size(vocabulary * hidden + layers * (13 * hidden**2 + 2 * hidden) + hidden, hidden, layers, vocabulary)


@cache
def folder_size(folder: str) -> Size | None:
    """Return the size of a model in a folder by config and headers of weights; None if it is not there or broken."""
    weights = sorted(Path(folder).glob("*.safetensors"))
    if not weights or not (Path(folder) / "config.json").is_file():
        return None
    try:
        parameters = sum(map(parameters_in, weights))
        config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        config = config.get("text_config", config)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, struct.error):
        return None  # `before_run.py` and the node `model` say what is wrong
    known = guessed_size(parameters)
    return Size(
        parameters,
        config.get("hidden_size", known.hidden),
        config.get("num_hidden_layers", known.layers),
        config.get("vocab_size", known.vocabulary),
    )


@cache
def hub_size(hub: str, revision: str) -> Size | None:
    """Return the size of a hub model from its files, if they were fetched before, or from its name (`Qwen3-8B`)."""
    from huggingface_hub.constants import HF_HUB_CACHE  # only hub models need it

    repository = Path(HF_HUB_CACHE) / f"models--{hub.replace('/', '--')}"
    named = repository / "refs" / revision
    snapshot = repository / "snapshots" / (named.read_text().strip() if named.is_file() else revision)
    if (size := folder_size(str(snapshot))) is not None:
        return size
    billions = re.search(r"(\d+(?:\.\d+)?)\s*([bm])\b", hub.rpartition("/")[2], re.IGNORECASE)
    if billions is None:
        return None
    return guessed_size(float(billions[1]) * (1e9 if billions[2].lower() == "b" else 1e6))


# What a job does


def scoring(plan: Plan, context: str, rollouts: RolloutSet) -> Work:
    """Return the work of scoring one part of a rollout set."""
    return Work("score", _tokens(plan, rollouts), WINDOWED if context.startswith("window") else 1)


def generating(plan: Plan, rollouts: RolloutSet) -> Work:
    """Return the work of an author that answers one part of a set of questions."""
    engine = plan.model_config(rollouts.author)["engine"]
    return Work("generate", _tokens(plan, rollouts), GENERATED[engine])


def training(plan: Plan, model: str) -> Work:
    """Return the work of fine-tuning a model on its selection, or on the solutions of a set of questions."""
    settings = plan.training(model)
    at_once = settings.micro_batch_size * settings.max_length
    cost = TRAINED + settings.gradient_checkpointing
    if settings.max_steps > 0:
        return Work("train", settings.max_steps * settings.batch_size * settings.max_length, cost, at_once)
    examples = _examples(plan, model)
    return Work("train", None if examples is None else settings.epochs * examples * settings.max_length, cost, at_once)


def _examples(plan: Plan, model: str) -> int | None:
    """Return how many responses a model learns at most: of each question one, or as many as its strategy takes."""
    if model not in plan.distilled:
        return _questions(plan, str(plan.config["models"][model]["source"]["finetune"]["questions"]))
    distilled = plan.distilled[model]
    candidates, pool = plan.candidates(distilled.run, distilled.teacher), plan.pools(distilled.run)[distilled.teacher]
    questions, sampling = _questions(plan, candidates.questions), plan.config["sampling"][candidates.sampling]
    strategy = plan.strategy(distilled.strategy)
    if strategy.length_matched_to:
        strategy = plan.strategy(strategy.length_matched_to)
    if strategy.responses:
        return strategy.responses
    if questions is None or (strategy.tokens and any(map(plan.is_imported, pool))):
        return None
    # A budget of tokens may hold all candidates, if they are short.
    return questions * (len(pool) * sampling["samples"] if strategy.tokens else strategy.per_question or 1)


def _questions(plan: Plan, name: str) -> int | None:
    settings = plan.config["questions"][name]
    world = settings["source"]["world"]
    return settings["limit"] or (world["count"] if world else None)


def _tokens(plan: Plan, rollouts: RolloutSet) -> float | None:
    """Return how many tokens the responses of one part have at most, with their prompts; None if that is not known."""
    sampling = plan.config["sampling"][rollouts.sampling]
    in_part = questions_in_part(plan, rollouts.questions)
    if in_part is None or plan.is_imported(rollouts):
        return None
    return float(in_part * sampling["samples"] * (response_tokens(plan, rollouts.sampling) + PROMPT_TOKENS))


def response_tokens(plan: Plan, name: str) -> int:
    """Return how many tokens a response has at most; a beginning by another author takes about as many as there."""
    sampling = plan.config["sampling"][name]
    begin = sampling["begin"]
    return int(sampling["max_tokens"]) + (response_tokens(plan, begin["sampling"]) if begin else 0)


def questions_in_part(plan: Plan, name: str) -> int | None:
    """Return how many questions a part of a set has at most; None if the config does not tell."""
    size, questions = plan.config["questions"][name]["part_size"], _questions(plan, name)
    if size:
        return int(min(size, questions or size))
    return None if questions is None else math.ceil(questions / len(plan.parts[name]))


# What it asks for


def mem_mb(plan: Plan, name: str, work: Work, gpus: int) -> int:
    """Return the MiB of memory that a model's job asks for: what its config says, or an estimate."""
    config = plan.model_config(name)
    size = model_size(plan, name)
    if config["mem_mb"]:
        return int(config["mem_mb"])
    if size is None:
        return UNKNOWN_MIB
    training = work.task == "train"
    rows = 1000 if work.tokens is None else (TRAINING_ROW_BYTES if training else ROW_BYTES) * work.tokens / MIB
    rows = min(rows, TRAINING_ROWS_MIB) if training else rows
    needed = _training_mib(plan, name, size, work, gpus) if training else _running_mib(config, size, work, gpus)
    return math.ceil((PYTHON_MIB + rows + needed) / 100) * 100


def _running_mib(config: dict[str, Any], size: Size, work: Work, gpus: int) -> float:
    """Return the MiB of weights, caches and activations of a model that scores or generates."""
    weights = size.parameters * BYTES[config["dtype"]] / MIB
    if gpus:
        return CUDA_MIB + min(weights, SHARD_MIB)
    # Some twenty activations of the widest layer, about four times as wide as the model, live at once.
    activations = (config["token_budget"] or CPU_BUDGET) * 20 * 4 * size.hidden * BYTES[config["dtype"]] / MIB
    cache = CACHE_MIB * min(1, size.parameters / 1e8) if work.task == "generate" or config["engine"] == "vllm" else 0
    return 1.1 * weights + cache + activations


def _training_mib(plan: Plan, name: str, size: Size, work: Work, gpus: int) -> float:
    """Return the MiB of weights, gradients, optimiser and activations of a model that is trained in float32."""
    settings = plan.training(name)
    weights = 4 * size.parameters / MIB
    if gpus:
        return (CUDA_MIB + weights) * processes_of(plan.training_execution(name, gpus))
    held = weights * (1.2 if settings.method == "lora" else 4)  # gradients and two moments
    per_layer = 17 * size.hidden * BYTES[settings.dtype]  # arXiv 2205.05198, without what flash attention saves
    layers = math.sqrt(size.layers) * 2 if settings.gradient_checkpointing else size.layers
    logits = size.vocabulary * (BYTES[settings.dtype] + 8)
    processes = processes_of(plan.training_execution(name, gpus))
    return processes * (held + work.at_once * (layers * per_layer + logits) / MIB)


def minutes(plan: Plan, name: str, work: Work, gpus: int) -> int:
    """Return the minutes that a model's job may take: what its config says, or an estimate."""
    config = plan.model_config(name)
    if config["runtime"]:
        return int(config["runtime"])
    rate = config["tokens_per_second"][work.task] or derived_rate(plan, name, work, gpus)
    if rate is None or work.tokens is None:
        return UNKNOWN_MINUTES
    return min(START_MINUTES + math.ceil(SAFETY * work.tokens / rate / 60), MOST_MINUTES)


def derived_rate(plan: Plan, name: str, work: Work, gpus: int) -> float | None:
    """Return tokens per second: two operations a parameter and token, at a modest share of what hardware can do."""
    size, config = model_size(plan, name), plan.model_config(name)
    if size is None:
        return None
    flops = gpus * GPU_FLOPS[config["dtype"]] or config["threads"] * CPU_FLOPS
    return flops / (2 * size.parameters * work.cost)


def gpus(plan: Plan, name: str, large: float, task: str = "score") -> int:
    """Return the GPUs of a model's job: what its config says, or one for a model of `large` parameters or more.

    A job that trains has one for each process of its accelerate file, if the config names one.
    """
    if task == "train" and (accelerate := plan.accelerate(name)):
        return gpus_of(accelerate)
    config = plan.model_config(name)
    if config["gpus"] is not None:
        return int(config["gpus"])
    size = model_size(plan, name)
    return int(size is not None and size.parameters >= large)
