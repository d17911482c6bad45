"""The config: its schema, its defaults, and its mistakes in plain words.

`config.schema.yaml` describes every key for users. What a schema cannot say (a name that does not exist, two choices
that exclude each other) is checked here.
"""

import copy
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from distrace import world
from distrace.engines import ENGINES
from distrace.errors import DistraceError
from distrace.measures.scores import RANKING_COLUMNS, SCORES, TOP_PROBABILITIES
from distrace.measures.strategies import LENGTH_MATCHED, SELECTING
from distrace.text.prompts import FORMATS, require_message, require_question
from distrace.text.splitting import SPLITTERS
from distrace.training.launch import read_accelerate
from distrace.world import DIALS, Dials

SCHEMA = Path(__file__).parent / "config.schema.yaml"
PRESETS = Path(__file__).parent / "presets.yaml"
RESPONSE_PRESETS = Path(__file__).parent / "response_presets.yaml"
_RENAMED = {"own_log_probs": "own_logprobs", "window": "context_length", "check_precision": "check_float32"}

POOLED = "pooled"  # stands for the teacher, where the candidates of all teachers of a run are pooled

Config = dict[str, Any]
Complaints = Iterator[str]


def complete(config: Config) -> Config:
    """Return the config with every default filled in, in place; raise DistraceError with a line for each mistake."""
    lines = list(_fill_in_presets(config))
    if not lines:
        errors = sorted(_filling_validator().iter_errors(config), key=lambda error: list(map(str, error.path)))
        lines = [_in_plain_words(error) for error in errors] or list(_wrong_references(config))
    if lines:
        raise DistraceError("the config cannot be used:\n" + "\n".join(f"  {line}" for line in lines))
    return config


def refuse_repeated_keys(file: Path) -> None:
    """Raise DistraceError if a YAML file gives a key twice in one place: a reader keeps the last alone, silently.

    Also if it is broken, or holds itself.
    """

    def visit(node: yaml.Node | None) -> Iterator[str]:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from visit(item)
        if not isinstance(node, yaml.MappingNode):
            return
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in first:
                yield f"line {line}: the key {key.value!r} stands in line {first[key.value]} already"
            first.setdefault(str(key.value), line)
            yield from visit(value)

    try:
        lines = list(visit(yaml.compose(file.read_text("utf-8"), yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DistraceError(f"{file} is no YAML that can be used: {' '.join(str(error).split())}") from error
    if lines:
        raise DistraceError(f"{file} cannot be used:\n" + "\n".join(f"  {line}" for line in lines))


def distilled_names(runs: Config) -> dict[str, tuple[str, str, str, int]]:
    """Return run, teacher (or `pooled`), strategy and seed of each model that a run trains, by the model's name."""
    return {
        f"{run}.{teacher}.{strategy}.{seed}": (run, teacher, strategy, seed)
        for run, settings in runs.items()
        if settings["distilled"] is None
        for teacher in ([POOLED] if settings["pooled"] else settings["teachers"])
        for strategy in settings["strategies"]
        for seed in settings["seeds"]
    }


def base_name(run: Config, teacher: str, strategy: str, seed: int) -> str:
    """Return the model that a run trains a distilled model from: its `start`, filled in, or else its student."""
    start = str(run["start"] or run["student"])
    return start.replace("{teacher}", teacher).replace("{strategy}", strategy).replace("{seed}", str(seed))


def corpora(config: Config) -> dict[str, Dials]:
    """Return the dials of the world of each set of questions that has solutions from it, by the set's name."""
    worlds = {name: questions["source"]["world"] for name, questions in config["questions"].items()}
    styled = {name: world for name, world in worlds.items() if world and world["style"]}
    return {name: Dials(**{dial: world[dial] for dial in DIALS}) for name, world in styled.items()}


def picks(config: Config) -> dict[str, str]:
    """Return, for each score by name, which end of it is taken: `highest` or `lowest`."""
    own = {name: score["pick"] for name, score in config["scores"].items()}
    return {name: score.pick for name, score in SCORES.items()} | own


def strategy_config(config: Config, name: str) -> dict[str, Any] | None:
    """Return the settings of a strategy: one of the config, `length_matched`, or a score; None if there is none."""
    if name in config["strategies"]:
        return dict(config["strategies"][name])
    if name == LENGTH_MATCHED:
        return {"length_matched_to": "teacher_count"}
    return {"score": name} if name in picks(config) else None


def scores_named(config: Config, run: str) -> list[str]:
    """Return the scores that a run asks for by name: those of its strategies, and its `scores`."""
    settings = config["runs"][run]
    if settings["distilled"]:
        return []
    named = [*(_score_of(config, strategy) for strategy in settings["strategies"]), *settings["scores"]]
    return [name for name in named if name in picks(config)]


def _score_of(config: Config, strategy: str) -> str | None:
    """Return the score by which a strategy selects, or the one to which it is matched; None if there is none."""
    settings = strategy_config(config, strategy) or {}
    if other := settings.get("length_matched_to"):
        settings = strategy_config(config, other) or {}
    return settings.get("score")


def score_needs(config: Config, run: str) -> set[str]:
    """Return what a run's scores need of its student beyond log-probs in context `full` (`Score.needs`)."""
    own = config["scores"]
    return {
        need
        for name in scores_named(config, run)
        for need in (own[name]["needs"] if name in own else SCORES[name].needs)
    }


@cache
def presets() -> Config:
    """Return the usual tests by name: what the key `preset` of a set of questions stands for."""
    return dict(yaml.safe_load(PRESETS.read_text("utf-8")))


@cache
def response_presets() -> Config:
    """Return the usual shapes of ready-made responses by name: what the key `preset` of `responses` stands for."""
    return dict(yaml.safe_load(RESPONSE_PRESETS.read_text("utf-8")))


def _fill_in_presets(config: Config) -> Complaints:
    """Fill the keys of presets in, in place, where a set of questions, or responses, name one and do not give them."""
    for where, questions in _named(config, "questions", "questions"):
        yield from _fill_in(where, questions, presets(), is_whole=lambda given: given.keys() & {"file", "hub", "world"})
    for where, sampling in _named(config, "sampling", "sampling"):
        places = [(f"{where}.responses", sampling.get("responses"))] if isinstance(sampling, dict) else []
        places += _named(sampling, "responses_of", f"{where}.responses_of")
        for place, responses in places:
            yield from _fill_in(place, responses, response_presets())


def _named(config: object, section: str, where: str) -> list[tuple[str, Any]]:
    """Return what a section of a config names, each with its place; nothing if it is not of the form it must have."""
    found = config.get(section) if isinstance(config, dict) else None
    return [(f"{where}.{name}", value) for name, value in (found if isinstance(found, dict) else {}).items()]


def _fill_in(
    where: str, settings: Any, known: Config, is_whole: Callable[[Config], object] = lambda given: False
) -> Complaints:
    """Fill a preset in; dicts are joined with those of the preset, unless the given one `is_whole`."""
    preset = settings.get("preset") if isinstance(settings, dict) else None
    if not isinstance(preset, str):
        return
    if preset not in known:
        yield from _unknown({"presets": known}, "presets", f"{where}.preset", preset)
        return
    for key, value in copy.deepcopy(known[preset]).items():
        given = settings.setdefault(key, value)
        if isinstance(given, dict) and not is_whole({name: v for name, v in given.items() if v}):
            settings[key] = value | given


@cache
def _filling_validator() -> Any:
    """Return a validator that fills in defaults before it checks the values, as the FAQ of jsonschema describes."""
    check_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(
        validator: Any, properties: dict[str, Any], instance: object, schema: dict[str, Any]
    ) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for key, value in properties.items():
                if "default" in value and key not in instance:
                    instance[key] = copy.deepcopy(value["default"])
        yield from check_properties(validator, properties, instance, schema)

    # JSON Schema takes 2.0 for an integer, and lets .inf and .nan pass as numbers.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    validator = validators.extend(Draft202012Validator, {"properties": fill}, type_checker=types)
    return validator(yaml.safe_load(SCHEMA.read_text("utf-8")))


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_checker: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_plain_words(error: ValidationError) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "oneOf":
        deeper = [inner for inner in error.context or [] if "null" not in str(_types(inner))]
        return _in_plain_words(deeper[0]) if deeper else error.message
    where = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "type" and re.fullmatch(r"[-+]?[0-9]+e[-+]?[0-9]+", str(error.instance), re.IGNORECASE):
        return f"{where}: YAML takes {error.instance} for text; write {float(str(error.instance)):.1e}"
    if error.validator != "additionalProperties" or not isinstance(schema.get("properties"), dict):
        return f"{where}: {error.message}"
    unknown = sorted(set(instance) - set(schema["properties"]), key=str)
    return "; ".join(f"{where}: unknown key {key!r}{_hint(key, schema['properties'])}" for key in unknown)


def _types(error: ValidationError) -> object:
    schema: Any = error.schema
    return schema.get("type")


def _hint(word: str, known: Iterable[str]) -> str:
    known = list(known)
    if _RENAMED.get(word) in known:
        return f": it is called {_RENAMED[word]!r} since version 0.2"
    close = difflib.get_close_matches(str(word), known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known)) or 'none'}"


def _wrong_references(config: Config) -> Complaints:
    """Yield a line for every name that does not exist, and for choices that exclude each other."""
    yield from _unknown({"splitters": SPLITTERS}, "splitters", "splitter", config["splitter"])
    for name, questions in config["questions"].items():
        yield from _exactly_one(f"questions.{name}.source", questions["source"], ["file", "hub", "world"])
        yield from _wrong_cut(f"questions.{name}", questions)
        yield from _wrong_pattern(f"questions.{name}.grader.pattern", questions["grader"]["pattern"])
        yield from _wrong_world(f"questions.{name}.source.world", questions["source"]["world"])
        yield from _wrong_path(f"questions.{name}.source.file", questions["source"]["file"])
    yield from _wrong_dials(config)
    for name, model in config["models"].items():
        yield from _unknown({"engines": ENGINES}, "engines", f"models.{name}.engine", model["engine"])
        yield from _wrong_prompt(f"models.{name}", model)
        yield from _wrong_path(f"models.{name}.source.folder", model["source"]["folder"])
        yield from _wrong_model(config, name, model["source"])
        yield from _wrong_server(f"models.{name}", model)
    for name, score in config["scores"].items():
        yield from _wrong_score(f"scores.{name}", name, score)
    for name, strategy in config["strategies"].items():
        yield from _wrong_strategy(config, name, strategy)
    for name, run in config["runs"].items():
        yield from _wrong_run(config, f"runs.{name}", run)
        yield from _wrong_scores(config, name, run)
    for name, sampling in config["sampling"].items():
        yield from _wrong_responses(config, f"sampling.{name}", sampling)
        if sampling["begin"]:
            yield from _wrong_begin(config, name, sampling)
    for name, training in config["training"].items():
        yield from _wrong_training(f"training.{name}", training)
    yield from _wrong_starts(config)


def _wrong_path(where: str, path: str | None) -> Complaints:
    if path and (signs := sorted(set("{}<>") & set(path))):
        yield f"{where}: {path!r} holds {' '.join(signs)}, which Snakemake reads as signs of its own; rename it"


def _wrong_world(where: str, settings: dict[str, Any] | None) -> Complaints:
    if settings is None:
        return
    try:
        world.require_enough(settings["split"], settings["count"], settings["swaps"])
    except DistraceError as error:
        yield f"{where}: {str(error).removeprefix('the world: ')}"


def _wrong_prompt(where: str, model: dict[str, Any]) -> Complaints:
    """Yield a line for a format that there is not, and for templates that cannot be read or leave the question out."""
    for key, text, require in (
        ("instruction", model["instruction"], require_question),
        ("format", model["format"], require_message),
    ):
        try:
            require(text)
        except DistraceError as error:
            near = difflib.get_close_matches(text, FORMATS, n=1) if key == "format" else []
            meant = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{where}.{key}: {str(error).removeprefix('instruction: ')}{meant}"


def _wrong_training(where: str, training: dict[str, Any]) -> Complaints:
    if training["max_steps"] == 0:
        yield f"{where}.max_steps: 0 steps train nothing; give a number of steps, or -1 for as many as `epochs` need"
    if training["batch_size"] % training["micro_batch_size"]:
        yield f"{where}: batch_size must be a multiple of micro_batch_size"
    if training["held_out"] >= 1 and not isinstance(training["held_out"], int):
        yield f"{where}.held_out: {training['held_out']} is neither a share below 1 nor a whole number of questions"
    if training["accelerate"]:
        yield from _wrong_accelerate(where, training)


def _wrong_accelerate(where: str, training: dict[str, Any]) -> Complaints:
    try:
        processes = read_accelerate(training["accelerate"])["num_processes"]
    except DistraceError as error:
        yield f"{where}.accelerate: {error}"
        return
    if training["batch_size"] % processes:
        file = training["accelerate"]
        yield f"{where}: batch_size {training['batch_size']} must be a multiple of the {processes} processes of {file}"


def _wrong_starts(config: Config) -> Complaints:
    """Yield a line for each run whose models would start from one that does not exist, or from themselves."""
    distilled = distilled_names(config["runs"])
    bases = {name: base_name(config["runs"][run], t, s, seed) for name, (run, t, s, seed) in distilled.items()}
    for run, settings in config["runs"].items():
        where = f"runs.{run}.start"
        if settings["start"] and settings["distilled"]:
            yield f"{where}: nothing is trained in a run with a `distilled` model; leave out one of the two"
        starts = {name: bases[name] for name, (of_run, *_) in distilled.items() if of_run == run}
        for start in dict.fromkeys(starts.values() if settings["start"] else []):
            yield from _unknown({"models": {**config["models"], **distilled}}, "models", where, start)
            yield from _untrainable(config, where, start)
        if in_circle := [name for name in starts if name in _starts_of(bases, name)]:
            yield f"{where}: {in_circle[0]!r} would be trained from itself"


def _starts_of(bases: dict[str, str], name: str) -> set[str]:
    """Return the model that a distilled model is trained from, the one that this is trained from, and so on."""
    found: set[str] = set()
    while name in bases and bases[name] not in found:
        name = bases[name]
        found.add(name)
    return found


def _with_trained(config: Config) -> Config:
    """Return all `models`: those of the config, and those that its runs train."""
    return {"models": {**config["models"], **distilled_names(config["runs"])}}


def _wrong_responses(config: Config, where: str, sampling: dict[str, Any]) -> Complaints:
    given = {f"{where}.responses_of.{author}": responses for author, responses in sampling["responses_of"].items()}
    for author in sampling["responses_of"]:
        yield from _unknown(_with_trained(config), "models", f"{where}.responses_of", author)
    if sampling["responses"]:
        given[f"{where}.responses"] = sampling["responses"]
    for place, responses in given.items():
        yield from _exactly_one(place, responses, ["file", "hub"])
        yield from _wrong_path(f"{place}.file", responses["file"])
        if responses["logprobs"] and not responses["token_ids"]:
            yield f"{place}: `logprobs` need `token_ids`, the tokens that they belong to"
        if responses["format"] and responses["reasoning"]:
            yield f"{place}: reasoning is in a column of its own or within the response; give `reasoning` or `format`"
        if not responses["glue_in_tokens"] and not responses["token_ids"]:
            yield f"{place}: `glue_in_tokens` says what `token_ids` hold; give these, too"
        if responses["join"]:
            yield from _exactly_one(f"{place}.join", responses["join"], ["file", "hub"])
            yield from _wrong_path(f"{place}.join.file", responses["join"]["file"])


def _wrong_begin(config: Config, name: str, sampling: dict[str, Any]) -> Complaints:
    where, begin = f"sampling.{name}.begin", sampling["begin"]
    yield from _unknown(_with_trained(config), "models", f"{where}.author", begin["author"])
    yield from _unknown(config, "sampling", f"{where}.sampling", begin["sampling"])
    yield from _ready_made(config, f"{where}.sampling", begin["sampling"])
    if sampling["responses"] or sampling["responses_of"]:
        yield f"{where}: responses from a file are whole; give `begin`, or `responses` and `responses_of`, not both"
    if name in _drawn_first(config, name):
        yield f"{where}: before {begin['author']!r} can begin a response, those of {name!r} itself must be there"


def _drawn_first(config: Config, name: str) -> set[str]:
    """Return the samplings that must be drawn before another, whose responses begin with theirs."""
    trained = distilled_names(config["runs"])
    found: set[str] = set()
    waiting = [name]
    while waiting:
        begin = config["sampling"].get(waiting.pop(), {}).get("begin")
        if not begin:
            continue
        first = {begin["sampling"]}
        if begin["author"] in trained:  # it learns from candidates
            candidates = config["runs"][trained[begin["author"]][0]]["candidates"] or {}
            first |= {candidates.get("sampling")} - {None}
        waiting += first - found
        found |= first
    return found


def _wrong_dials(config: Config) -> Complaints:
    """Yield a line for each corpus of the world whose dials are not those of the first: a config has one world."""
    found = list(corpora(config).items())
    for name, dials in found[1:]:
        if dials != found[0][1]:
            yield f"questions.{name}.source.world: other dials than {found[0][0]!r} has; give all corpora the same"


def _wrong_cut(where: str, questions: dict[str, Any]) -> Complaints:
    if questions["parts"] and questions["part_size"]:
        yield f"{where}: give `parts` or `part_size`, not both"
    if questions["part_size"] and questions["source"]["hub"] and not questions["limit"]:
        yield f"{where}: hub data with a `part_size` need a `limit`, so that the parts can be counted beforehand"


def _wrong_pattern(where: str, pattern: str | None) -> Complaints:
    try:
        if pattern is not None and not re.compile(pattern).groups:
            yield f"{where}: {pattern!r} has no group; put ( ) round the answer"
    except re.error as error:
        yield f"{where}: {pattern!r} is no regular expression: {error}"


def _wrong_model(config: Config, name: str, source: dict[str, Any]) -> Complaints:
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


def _wrong_server(where: str, model: dict[str, Any]) -> Complaints:
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


def _untrainable(config: Config, where: str, model: str) -> Complaints:
    if config["models"].get(model, {}).get("server"):
        yield f"{where}: {model!r} is behind a server; only a model with its weights here can be trained"


def _ancestors(config: Config, name: str) -> set[str]:
    found: set[str] = set()
    while finetune := (config["models"].get(name) or {"source": {"finetune": None}})["source"]["finetune"]:
        name = finetune["base"]
        if name in found:
            break
        found.add(name)
    return found


def _without_solutions(config: Config, where: str, questions: str) -> Complaints:
    chosen = config["questions"].get(questions)
    if chosen and not (chosen["solution"] or (chosen["source"]["world"] or {}).get("style")):
        yield f"{where}: questions {questions!r} have no `solution` to learn from"


def _wrong_strategy(config: Config, name: str, strategy: dict[str, Any]) -> Complaints:
    where = f"strategies.{name}"
    if name in picks(config) or name == LENGTH_MATCHED:
        yield f"{where}: there is a strategy of this name already (docs/scores.md); give it another name"
    other = strategy["length_matched_to"]
    if (strategy["score"] is None) == (other is None):
        yield f"{where}: give either a `score` or another strategy in `length_matched_to`"
    if strategy["score"] is not None:
        yield from _unknown({"scores": picks(config)}, "scores", f"{where}.score", strategy["score"])
    amounts = [key for key in ("per_question", "responses", "tokens") if strategy[key]]
    if len(amounts) > 1:
        yield f"{where}: give one of `per_question`, `responses` and `tokens`; found {', '.join(amounts)}"
    if other is None:
        return
    yield from _unknown({"strategies": _strategies(config)}, "strategies", f"{where}.length_matched_to", other)
    if (strategy_config(config, other) or {}).get("length_matched_to"):
        yield f"{where}.length_matched_to: {other!r} is itself matched to another; name that one"
    for key in [key for key in ("pick", *amounts, "only_right") if strategy[key]]:
        yield f"{where}: `{key}` is that of {other!r}, to which it is matched; leave it out"


def _strategies(config: Config) -> list[str]:
    """Return the names of all strategies that a run can have."""
    return [*config["strategies"], LENGTH_MATCHED, *picks(config)]


def _wrong_run(config: Config, where: str, run: dict[str, Any]) -> Complaints:
    for teacher in run["teachers"]:
        yield from _unknown(config, "models", f"{where}.teachers", teacher)
    yield from _unknown(config, "models", f"{where}.student", run["student"])
    if run["alpha"] > run["beta"]:
        yield (
            f"{where}: alpha {run['alpha']} is above beta {run['beta']}: what is Shared by one would be Teacher or "
            "Student by the other; lower alpha or raise beta"
        )
    for questions in run["test"]["questions"]:
        yield from _unknown(config, "questions", f"{where}.test.questions", questions)
    yield from _unknown(config, "sampling", f"{where}.test.sampling", run["test"]["sampling"])
    yield from _ready_made(config, f"{where}.test.sampling", run["test"]["sampling"])
    if config["sampling"].get(run["test"]["sampling"], {}).get("begin"):
        yield f"{where}.test.sampling: another author begins responses of {run['test']['sampling']!r}"
    for name, pattern in run["habits"].items():
        yield from _wrong_habit(f"{where}.habits.{name}", pattern)
    for context in run["contexts"]:
        if not re.fullmatch("alone|window-(0|[1-9][0-9]*)", context):
            known = "there are alone, and window-K with a number K of sentences; the whole one is always there"
            yield f"{where}.contexts: no context {context!r}; {known}"
    for strategy in run["strategies"]:
        yield from _unknown({"strategies": _strategies(config)}, "strategies", f"{where}.strategies", strategy)
    for strategy in run["trace"] or []:
        if strategy not in run["strategies"]:
            yield f"{where}.trace: {strategy!r} is not among the run's strategies {run['strategies']}"
    yield from _wrong_attribution(config, f"{where}.attribution", run)
    if run["distilled"]:
        yield from _unknown(_with_trained(config), "models", f"{where}.distilled", run["distilled"])
        for key in [key for key in ("pooled", "equal") if run[key]]:
            yield f"{where}: `{key}` is about selections, and a run with a `distilled` model selects nothing"
        return
    if run["pooled"] and len(run["teachers"]) == 1:
        yield f"{where}: `pooled` needs several teachers; there is only {run['teachers'][0]!r}"
    if not run["candidates"] or not run["training"] or not run["strategies"]:
        yield f"{where}: needs `candidates`, `strategies` and `training`, or a ready-made `distilled` model"
        return
    yield from _unknown(config, "questions", f"{where}.candidates.questions", run["candidates"]["questions"])
    yield from _unknown(config, "sampling", f"{where}.candidates.sampling", run["candidates"]["sampling"])
    yield from _unknown(config, "training", f"{where}.training", run["training"])
    if not run["start"]:
        yield from _untrainable(config, f"{where}.student", run["student"])


def _wrong_attribution(config: Config, where: str, run: dict[str, Any]) -> Complaints:
    references, asked = run["attribution"]["references"], any(run["attribution"].values())
    if asked and (run["distilled"] is None or len(run["teachers"]) == 1):
        yield f"{where}: which teacher it was is asked only of a `distilled` model with several `teachers`"
    if references and set(references) != set(run["teachers"]):
        yield f"{where}.references: name models for each of the run's teachers {run['teachers']}, and no other"
    for teacher, models in references.items():
        for model in models:
            yield from _unknown(_with_trained(config), "models", f"{where}.references.{teacher}", model)
            if model == run["distilled"]:
                yield f"{where}.references.{teacher}: {model!r} is the model in question; a reference is another one"
    named = [model for models in references.values() for model in models]
    for model in dict.fromkeys(model for model in named if named.count(model) > 1):
        yield f"{where}.references: {model!r} learned from one teacher alone; name it once"


def _wrong_score(where: str, name: str, score: dict[str, Any]) -> Complaints:
    if name in {*SCORES, LENGTH_MATCHED, *RANKING_COLUMNS, *SELECTING}:
        yield f"{where}: the name is taken by a score, a strategy or a column of the ranking; choose another"
    if not Path(score["file"]).is_file():
        yield f"{where}.file: no file {score['file']!r} below the folder that the workflow runs in"


def _wrong_scores(config: Config, name: str, run: dict[str, Any]) -> Complaints:
    where = f"runs.{name}.scores"
    for score in run["scores"]:
        yield from _unknown({"scores": picks(config)}, "scores", where, score)
    if run["scores"] and run["distilled"]:
        yield f"{where}: a run with a `distilled` model ranks no candidates; leave it out"
    engine = config["models"].get(run["student"], {}).get("engine")
    if TOP_PROBABILITIES in score_needs(config, name) and engine in ("vllm", "server"):
        yield (
            f"{where}: a score such as `lark` needs the largest probabilities of each token, which engine {engine!r} "
            f"of the student {run['student']!r} does not tell; use engine `transformers`, or no such score"
        )


def _ready_made(config: Config, where: str, sampling: str) -> Complaints:
    if config["sampling"].get(sampling, {}).get("responses"):
        yield f"{where}: {sampling!r} takes responses from one file for every model; name authors in `responses_of`"


def _wrong_habit(where: str, pattern: str) -> Complaints:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        yield f"{where}: {pattern!r} is no regular expression: {error}"


def _unknown(config: Config, kind: str, where: str, name: str) -> Complaints:
    """Yield a line unless `config[kind]` has the name."""
    if name not in config[kind]:
        yield f"{where}: no {kind} named {name!r}{_hint(name, config[kind])}"


def _exactly_one(where: str, source: dict[str, Any], keys: list[str]) -> Complaints:
    chosen = [key for key in keys if source[key]]
    if len(chosen) != 1:
        yield f"{where}: give exactly one of {', '.join(keys)}; found {', '.join(chosen) or 'none'}"
    if source["hub"] and not source["revision"]:
        yield f"{where}: `hub` needs a `revision`, so that the result says what it was computed on"
