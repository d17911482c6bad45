"""What a config asks for: which models, rollout sets, selections and traces there are, and where their artifacts lie.

The Snakefile, the report and notebooks read a config through this module, so that a path is spelt in one place only.
All paths are relative to the folder that the workflow runs in.
"""

import copy
import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from distrace.errors import DistraceError
from distrace.prompts import format_text
from distrace.settings import Execution, ModelSettings, Sampling, Training

SCHEMA = Path(__file__).parent.parent / "schemas" / "config.schema.yaml"
RESULTS = "results"
FLOAT32 = "@float32"  # behind the name of a model: the same model, run in float32
_FIXED_DTYPE = ("server",)  # engines that cannot run a model in another number format


@dataclass(frozen=True)
class RolloutSet:
    """Who wrote, on which questions, with which sampling settings (all by name)."""

    author: str
    questions: str
    sampling: str

    @property
    def folder(self) -> str:
        return f"{self.author}/{self.questions}/{self.sampling}"


@dataclass(frozen=True)
class Distilled:
    """A model that a run trains from its student, on what one strategy selects from one teacher's candidates."""

    name: str
    run: str
    teacher: str
    strategy: str
    seed: int


@dataclass(frozen=True)
class Trace:
    """A rollout set of a distilled model, compared with a teacher under the settings of a run."""

    run: str
    teacher: str
    rollouts: RolloutSet

    @property
    def folder(self) -> str:
        return f"{self.run}/{self.teacher}/{self.rollouts.folder}"


@dataclass(frozen=True)
class Plan:
    """A valid config with every default filled in, and what follows from it."""

    config: dict

    @cached_property
    def distilled(self) -> dict[str, Distilled]:
        """The models that the runs train, by name."""
        return distilled_models(self.config["runs"])

    @property
    def models(self) -> list[str]:
        """The names of all models: those of the config, then those that the runs train."""
        return [*self.config["models"], *self.distilled]

    def models_from(self, *kinds: str) -> list[str]:
        """Give the names of the config's models with such a source (`hub`, `folder`, `finetune`, `fresh`)."""
        return [name for name, model in self.config["models"].items() if any(model["source"][k] for k in kinds)]

    def model_config(self, name: str) -> dict:
        """Give the config of a model; a trained model runs as the student that it was, NAME@float32 as NAME does."""
        if name.endswith(FLOAT32):
            config = self.model_config(name.removesuffix(FLOAT32))
            # Flash attention knows no float32, and weights of 16 bits take twice the memory.
            attention = "sdpa" if config["attention"] == "flash_attention_2" else config["attention"]
            return config | {"dtype": "float32", "attention": attention, "mem_mb": 2 * config["mem_mb"]}
        if name in self.distilled:
            return self.config["models"][self.config["runs"][self.distilled[name].run]["student"]]
        return self.config["models"][name]

    def model_settings(self, name: str) -> ModelSettings:
        """Give how a model is run; a prompt format of the user's is its text, not its path."""
        config = self.model_config(name)
        return _pick(ModelSettings, config | {"format": format_text(config["format"])})

    def takes_recorded(self, scorer: str, author: str, context: str) -> bool:
        """Tell whether a scorer's log-probs are those recorded when it wrote the responses itself."""
        return scorer == author and context == "full" and self.model_config(scorer)["own_log_probs"] == "recorded"

    def execution(self, name: str) -> Execution:
        """Give what changes the speed of a model's jobs, not their results."""
        return _pick(Execution, self.model_config(name))

    def model_source(self, name: str) -> dict:
        """Give where a hub or local model comes from; of a served one also its name there, which says what it is."""
        config = self.config["models"][name]
        return config["source"] | ({"served": config["server"]["model"]} if config["server"] else {})

    def samplings(self, imported: bool) -> list[str]:
        """Give the names of the samplings that take responses from a file, or of those that run a model."""
        return [name for name, sampling in self.config["sampling"].items() if bool(sampling["responses"]) == imported]

    def sampling(self, name: str) -> Sampling:
        return _pick(Sampling, self.config["sampling"][name] | {"seed": self.config["seed"]})

    def fresh(self, name: str) -> dict:
        """Give the settings of a fresh model, but for where its tokenizer's texts come from; seeds add up."""
        settings = self.config["models"][name]["source"]["fresh"]
        return {key: value for key, value in settings.items() if key != "questions"} | {
            "seed": self.config["seed"] + settings["seed"]
        }

    def base_of(self, name: str) -> str:
        """Give the model that a trained model starts from."""
        if name in self.distilled:
            return self.config["runs"][self.distilled[name].run]["student"]
        return self.config["models"][name]["source"]["finetune"]["base"]

    def training(self, name: str) -> Training:
        """Give how a model is fine-tuned; the seed of a distilled model is added to the config's."""
        if name in self.distilled:
            model = self.distilled[name]
            settings, seed = self.config["runs"][model.run]["training"], model.seed
        else:
            settings, seed = self.config["models"][name]["source"]["finetune"]["training"], 0
        return _pick(Training, self.config["training"][settings] | {"seed": self.config["seed"] + seed})

    def candidates(self, run: str, teacher: str) -> RolloutSet:
        wanted = self.config["runs"][run]["candidates"]
        return RolloutSet(teacher, wanted["questions"], wanted["sampling"])

    def tested(self, run: str) -> list[str]:
        """Give the models whose answers to a run's test questions are graded."""
        settings = self.config["runs"][run]
        students = [settings["distilled"]] if settings["distilled"] else self._trained_by(run)
        return list(dict.fromkeys([*settings["teachers"], settings["student"], *students]))

    def tests(self, run: str) -> list[RolloutSet]:
        """Give the graded rollout sets of a run."""
        test = self.config["runs"][run]["test"]
        return [RolloutSet(author, q, test["sampling"]) for author in self.tested(run) for q in test["questions"]]

    def traces(self, run: str) -> list[Trace]:
        """Give the traces of a run: each traced distilled model on each set of test questions."""
        settings = self.config["runs"][run]
        wanted = settings["trace"] if settings["trace"] is not None else settings["strategies"][:1]
        if settings["distilled"]:
            pairs = [(teacher, settings["distilled"]) for teacher in settings["teachers"]]
        else:
            pairs = [(m.teacher, m.name) for m in self.distilled.values() if m.run == run and m.strategy in wanted]
        test = settings["test"]
        return [Trace(run, t, RolloutSet(d, q, test["sampling"])) for t, d in pairs for q in test["questions"]]

    def scorers(self, trace: Trace) -> dict[str, str]:
        """Give the models that score the sentences of a trace, by role."""
        student = self.config["runs"][trace.run]["student"]
        return {"teacher": trace.teacher, "student": student, "distilled": trace.rollouts.author}

    def in_float32(self, scorer: str) -> str:
        """Give the name of a scorer run in float32: its own if it is so anyway, or cannot be."""
        config = self.model_config(scorer)
        if config["dtype"] == "float32" or config["engine"] in _FIXED_DTYPE:
            return scorer
        return scorer + FLOAT32

    def of_unknown_precision(self, trace: Trace) -> list[str]:
        """Give the scorers of a trace whose precision a run would check but cannot."""
        if not self.config["runs"][trace.run]["check_precision"]:
            return []
        scorers = dict.fromkeys(self.scorers(trace).values())
        return [scorer for scorer in scorers if self.model_config(scorer)["engine"] in _FIXED_DTYPE]

    def precision_path(self, trace: Trace) -> str | None:
        """Give the path of the labels of a trace's first part in float32, None where no scorer is to be checked."""
        others = [scorer for scorer in self.scorers(trace).values() if self.in_float32(scorer) != scorer]
        if not others or not self.config["runs"][trace.run]["check_precision"]:
            return None
        return self.part_paths("precision", trace.folder, trace.rollouts.questions)[0]

    def attributed(self, run: str) -> list[RolloutSet]:
        """Give the rollout sets of a given distilled model that are attributed to one of a run's several teachers."""
        settings = self.config["runs"][run]
        if settings["distilled"] is None or len(settings["teachers"]) == 1:
            return []
        return list(dict.fromkeys(trace.rollouts for trace in self.traces(run)))

    def style_of(self, model: str) -> str | None:
        """Give the style of the world that a model was trained on from scratch, None for a model of the real world."""
        finetune = self.config["models"].get(model, {"source": {}})["source"].get("finetune")
        return self._style(finetune["questions"]) if finetune else None

    def has_truth(self, trace: Trace) -> bool:
        """Tell whether the origin of the sentences of a trace is known: its questions and models are of the world."""
        student = self.config["runs"][trace.run]["student"]
        in_world = self.config["questions"][trace.rollouts.questions]["source"]["world"] is not None
        return in_world and None not in (self.style_of(trace.teacher), self.style_of(student))

    def separations(self, trace: Trace) -> list[str]:
        """Give the paths of the separation of a trace: on the answers of its teacher, student and distilled model."""
        authors = (trace.teacher, self.config["runs"][trace.run]["student"], trace.rollouts.author)
        sets = [RolloutSet(author, trace.rollouts.questions, trace.rollouts.sampling) for author in authors]
        return [path for s in sets for path in self.rollout_parts(f"separation/{trace.run}/{trace.teacher}", s)]

    def _style(self, questions: str) -> str | None:
        return (self.config["questions"][questions]["source"]["world"] or {}).get("style")

    def _trained_by(self, run: str) -> list[str]:
        return [model.name for model in self.distilled.values() if model.run == run]

    def parts(self, questions: str) -> list[str]:
        """Give the names of the parts of a set of questions."""
        count = self.config["questions"][questions]["parts"]
        return [str(part).zfill(len(str(count - 1))) for part in range(count)]

    def part_paths(self, kind: str, folder: str, questions: str) -> list[str]:
        """Give the paths of all parts of an artifact."""
        return [f"{RESULTS}/{kind}/{folder}/{part}.arrow" for part in self.parts(questions)]

    def question_parts(self, questions: str) -> list[str]:
        """Give the paths of all parts of a set of questions."""
        return self.part_paths("questions", questions, questions)

    def rollout_parts(self, kind: str, rollouts: RolloutSet) -> list[str]:
        """Give the paths of all parts of an artifact of a rollout set; `kind` may hold folders (logprobs/NAME/full)."""
        return self.part_paths(kind, rollouts.folder, rollouts.questions)

    def sentences_path(self, rollouts: RolloutSet, part: str) -> str:
        """Give the path of one part of the sentences of a rollout set."""
        return f"{RESULTS}/sentences/{self.config['splitter']}/{rollouts.folder}/{part}.arrow"

    def trace_parts(self, trace: Trace) -> list[str]:
        return self.part_paths("provenance", trace.folder, trace.rollouts.questions)


def distilled_models(runs: dict) -> dict[str, Distilled]:
    """Give the models that runs train, by name: one for each teacher, strategy and seed."""
    models = [
        Distilled(f"{run}.{teacher}.{strategy}.{seed}", run, teacher, strategy, seed)
        for run, settings in runs.items()
        if settings["distilled"] is None
        for teacher in settings["teachers"]
        for strategy in settings["strategies"]
        for seed in settings["seeds"]
    ]
    return {model.name: model for model in models}


def ranking_path(run: str, rollouts: RolloutSet) -> str:
    """Give the path of the scores of a run's candidates."""
    return f"{RESULTS}/ranking/{run}/{rollouts.folder}.arrow"


def selection_path(run: str, rollouts: RolloutSet, strategy: str) -> str:
    """Give the path of what a strategy selects from a run's candidates."""
    return f"{RESULTS}/selection/{run}/{rollouts.folder}/{strategy}.arrow"


def attribution_path(run: str, rollouts: RolloutSet) -> str:
    """Give the path of the leans of a distilled model's and the student's answers between a run's teachers."""
    return f"{RESULTS}/attribution/{run}/{rollouts.folder}.arrow"


def model_path(name: str) -> str:
    """Give the path of a model's card for programs."""
    return f"{RESULTS}/models/{name.removesuffix(FLOAT32)}/model.json"


def load_plan(config: dict) -> Plan:
    """Check a config, fill in its defaults (in place), give its plan; raise DistraceError with a line per mistake."""
    errors = sorted(_filling_validator().iter_errors(config), key=lambda error: list(map(str, error.path)))
    lines = [_in_plain_words(error) for error in errors] or list(_wrong_references(config))
    if lines:
        raise DistraceError("the config cannot be used:\n" + "\n".join(f"  {line}" for line in lines))
    return Plan(config)


@cache
def _filling_validator() -> Draft202012Validator:
    """Give a validator that fills in defaults before it looks inside, as the FAQ of jsonschema describes."""
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator, properties, instance, schema):
        if isinstance(instance, dict):
            for key, value in properties.items():
                if "default" in value and key not in instance:
                    instance[key] = copy.deepcopy(value["default"])
        yield from check_properties(validator, properties, instance, schema)

    # JSON Schema takes 2.0 for an integer, and .inf and .nan for numbers that no bound can hold.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    validator = validators.extend(Draft202012Validator, {"properties": fill}, type_checker=types)
    return validator(yaml.safe_load(SCHEMA.read_text("utf-8")))


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_checker: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_plain_words(error: ValidationError) -> str:
    if error.validator == "oneOf":
        deeper = [inner for inner in error.context if "null" not in str(inner.schema.get("type"))]
        return _in_plain_words(deeper[0]) if deeper else error.message
    where = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "type" and re.fullmatch(r"[-+]?[0-9]+e[-+]?[0-9]+", str(error.instance), re.IGNORECASE):
        return f"{where}: YAML takes {error.instance} for text; write {float(error.instance):.1e}"
    if error.validator != "additionalProperties" or not isinstance(error.schema.get("properties"), dict):
        return f"{where}: {error.message}"
    unknown = sorted(set(error.instance) - set(error.schema["properties"]), key=str)
    return "; ".join(f"{where}: unknown key {key!r}{_hint(key, error.schema['properties'])}" for key in unknown)


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known)) or 'none'}"


def _wrong_references(config: dict) -> Iterable[str]:
    """Give a line for every name that nothing has, and every choice that does not go together."""
    for name, questions in config["questions"].items():
        yield from _exactly_one(f"questions.{name}.source", questions["source"], ["file", "hub", "world"])
        yield from _wrong_pattern(f"questions.{name}.grader.pattern", questions["grader"]["pattern"])
    for name, model in config["models"].items():
        yield from _wrong_model(config, name, model["source"])
        yield from _wrong_server(f"models.{name}", model)
    for name, run in config["runs"].items():
        yield from _wrong_run(config, f"runs.{name}", run)
    for name, sampling in config["sampling"].items():
        if (responses := sampling["responses"]) and responses["logprobs"] and not responses["token_ids"]:
            yield f"sampling.{name}.responses: `logprobs` need `token_ids`, the tokens that they belong to"
    for name, training in config["training"].items():
        if training["batch_size"] % training["micro_batch_size"]:
            yield f"training.{name}: batch_size must be a multiple of micro_batch_size"


def _wrong_pattern(where: str, pattern: str | None) -> Iterable[str]:
    try:
        if pattern is not None and not re.compile(pattern).groups:
            yield f"{where}: {pattern!r} has no group; put ( ) round the answer"
    except re.error as error:
        yield f"{where}: {pattern!r} is no regular expression: {error}"


def _wrong_model(config: dict, name: str, source: dict) -> Iterable[str]:
    where = f"models.{name}.source"
    yield from _exactly_one(where, source, ["hub", "folder", "finetune", "fresh"])
    if finetune := source["finetune"]:
        yield from _unknown(config, "models", f"{where}.finetune.base", finetune["base"])
        yield from _untrainable(config, f"{where}.finetune.base", finetune["base"])
        yield from _unknown(config, "questions", f"{where}.finetune.questions", finetune["questions"])
        yield from _unknown(config, "training", f"{where}.finetune.training", finetune["training"])
        yield from _without_solutions(config, f"{where}.finetune.questions", finetune["questions"])
        if name in _ancestors(config, name):
            yield f"{where}.finetune.base: {name!r} would be trained from itself"
    if fresh := source["fresh"]:
        yield from _unknown(config, "questions", f"{where}.fresh.questions", fresh["questions"])
        yield from _without_solutions(config, f"{where}.fresh.questions", fresh["questions"])
        if fresh["hidden"] % fresh["heads"]:
            yield f"{where}.fresh: heads {fresh['heads']} must divide hidden {fresh['hidden']}"


def _wrong_server(where: str, model: dict) -> Iterable[str]:
    server = model["server"]
    if (model["engine"] == "server") != bool(server):
        yield f"{where}: engine `server` and the key `server` need each other"
    if not server:
        return
    if not (model["source"]["hub"] or model["source"]["folder"]):
        yield f"{where}.source: a served model's tokenizer comes from `hub` or `folder`"
    url = urlsplit(server["url"])
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.password or url.query:
        # The value is not shown: it may hold a key.
        yield f"{where}.server.url: must be http(s)://HOST/..., without user, password or query; see `api_key_variable`"


def _untrainable(config: dict, where: str, model: str) -> Iterable[str]:
    if config["models"].get(model, {}).get("server"):
        yield f"{where}: {model!r} is behind a server; only a model with its weights here can be trained"


def _ancestors(config: dict, name: str) -> set[str]:
    found: set[str] = set()
    while finetune := (config["models"].get(name) or {"source": {"finetune": None}})["source"]["finetune"]:
        name = finetune["base"]
        if name in found:
            break
        found.add(name)
    return found


def _without_solutions(config: dict, where: str, questions: str) -> Iterable[str]:
    chosen = config["questions"].get(questions)
    if chosen and not (chosen["solution"] or (chosen["source"]["world"] or {}).get("style")):
        yield f"{where}: questions {questions!r} have no `solution` to learn from"


def _wrong_run(config: dict, where: str, run: dict) -> Iterable[str]:
    for teacher in run["teachers"]:
        yield from _unknown(config, "models", f"{where}.teachers", teacher)
    yield from _unknown(config, "models", f"{where}.student", run["student"])
    for questions in run["test"]["questions"]:
        yield from _unknown(config, "questions", f"{where}.test.questions", questions)
    yield from _unknown(config, "sampling", f"{where}.test.sampling", run["test"]["sampling"])
    yield from _ready_made(config, f"{where}.test.sampling", run["test"]["sampling"])
    for name, pattern in run["habits"].items():
        yield from _wrong_habit(f"{where}.habits.{name}", pattern)
    for strategy in run["trace"] or []:
        if strategy not in run["strategies"]:
            yield f"{where}.trace: {strategy!r} is not among the run's strategies {run['strategies']}"
    if run["distilled"]:
        models = {**config["models"], **distilled_models(config["runs"])}
        yield from _unknown({"models": models}, "models", f"{where}.distilled", run["distilled"])
        return
    if not run["candidates"] or not run["training"] or not run["strategies"]:
        yield f"{where}: needs `candidates`, `strategies` and `training`, or a ready-made `distilled` model"
        return
    yield from _unknown(config, "questions", f"{where}.candidates.questions", run["candidates"]["questions"])
    yield from _unknown(config, "sampling", f"{where}.candidates.sampling", run["candidates"]["sampling"])
    yield from _unknown(config, "training", f"{where}.training", run["training"])
    yield from _untrainable(config, f"{where}.student", run["student"])


def _ready_made(config: dict, where: str, sampling: str) -> Iterable[str]:
    if config["sampling"].get(sampling, {}).get("responses"):
        yield f"{where}: {sampling!r} takes responses from a file, the same for every model"


def _wrong_habit(where: str, pattern: str) -> Iterable[str]:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        yield f"{where}: {pattern!r} is no regular expression: {error}"


def _unknown(config: dict, kind: str, where: str, name: str) -> Iterable[str]:
    if name not in config[kind]:
        yield f"{where}: no {kind} named {name!r}{_hint(name, config[kind])}"


def _exactly_one(where: str, source: dict, keys: list[str]) -> Iterable[str]:
    chosen = [key for key in keys if source[key]]
    if len(chosen) != 1:
        yield f"{where}: give exactly one of {', '.join(keys)}; found {', '.join(chosen) or 'none'}"
    if source["hub"] and not source["revision"]:
        yield f"{where}: `hub` needs a `revision`, so that the result says what it was computed on"


def _pick(settings: type, values: dict) -> object:
    return settings(**{field.name: values[field.name] for field in fields(settings) if field.name in values})
