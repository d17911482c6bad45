import copy
import dataclasses
from pathlib import Path

import pytest
import yaml

from distrace.errors import DistraceError
from distrace.grades import Grader
from distrace.imports import Responses
from distrace.plan import (
    SCHEMA,
    RolloutSet,
    Trace,
    attribution_path,
    load_plan,
    model_path,
    ranking_path,
    selection_path,
)
from distrace.questions import Questions
from distrace.selection import STRATEGIES
from distrace.settings import Execution, ModelSettings, Sampling, Server, Training
from distrace.splitting import SPLITTERS

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load("""
questions:
  gsm: {source: {file: train.jsonl}, solution: answer, parts: 12}
  test: {source: {file: test.jsonl}}
models:
  big: {source: {hub: owner/big, revision: abc}}
  other: {source: {hub: owner/other, revision: abc}}
  small: {source: {folder: small}, dtype: bfloat16, format: plain, token_budget: 64}
  tuned: {source: {finetune: {base: small, questions: gsm, training: short}}}
  ready: {source: {folder: ready}}
sampling:
  explore: {samples: 4, temperature: 0.6}
  answer: {}
training:
  short: {max_steps: 3}
runs:
  main:
    teachers: [big, other]
    student: small
    candidates: {questions: gsm, sampling: explore}
    strategies: [teacher_count, random]
    training: short
    seeds: [0, 5]
    test: {questions: [gsm, test], sampling: answer}
  given:
    teachers: [big, other]
    student: small
    distilled: ready
    test: {questions: [test], sampling: answer}
""")

SERVER = {"url": "http://gpu-node:8000/v1", "model": "owner/big@abc"}


def config_with(path: str, value: object) -> dict:
    """Give the config with one value put at a path of keys; a `...` takes the key out."""
    config = copy.deepcopy(CONFIG)
    *way, last = path.split("/")
    place = config
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


def mistakes(config: object) -> list[str]:
    with pytest.raises(DistraceError, match=r"^the config cannot be used:\n") as found:
        load_plan(config)
    return [line.strip() for line in str(found.value).splitlines()[1:]]


@pytest.fixture
def plan():
    return load_plan(copy.deepcopy(CONFIG))


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("model", {}, "top level: unknown key 'model', did you mean 'models'?"),
        ("models", ..., "top level: 'models' is a required property"),
        ("models/small/dtyp", "float16", "models.small: unknown key 'dtyp', did you mean 'dtype'?"),
        ("models/small/dtype", "float8", "models.small.dtype: 'float8' is not one of"),
        ("models/small/source/file", "x", "models.small.source: unknown key 'file', did you mean 'folder'?"),
        ("models/tuned/source/finetune/steps", 3, "models.tuned.source.finetune: unknown key 'steps'; known: "),
        ("models/tuned/source/finetune/base", ..., "models.tuned.source.finetune: 'base' is a required property"),
        ("models/a b", {"source": {"folder": "x"}}, "models: 'a b' does not match"),
        ("runs/main/betta", 0.1, "runs.main: unknown key 'betta', did you mean 'beta'?"),
        ("runs/main/beta", 1.5, "runs.main.beta: 1.5 is greater than the maximum of 1"),
        ("runs/main/alpha", -0.1, "runs.main.alpha: -0.1 is less than the minimum of 0"),
        ("runs/main/alpha", float("nan"), "runs.main.alpha: nan is not of type 'number'"),
        ("runs/main/alpha", True, "runs.main.alpha: True is not of type 'number'"),
        ("runs/main/candidates/question", "gsm", "unknown key 'question', did you mean 'questions'?"),
        ("runs/main/candidates", 3, "runs.main.candidates: 3 is not of type 'object'"),
        ("runs/main/strategies", ["best"], "runs.main.strategies.0: 'best' is not one of"),
        ("runs/main/teachers", [], "runs.main.teachers: [] should be non-empty"),
        ("runs/main/test/questions", ["test", "test"], "runs.main.test.questions: ['test', 'test'] has non-unique"),
        ("sampling/explore/samples", 0, "sampling.explore.samples: 0 is less than the minimum of 1"),
        ("sampling/explore/samples", 2.0, "sampling.explore.samples: 2.0 is not of type 'integer'"),
        ("sampling/explore/top_p", 0, "sampling.explore.top_p: 0 is less than or equal to the minimum of 0"),
        (
            "training/short/learning_rate",
            "1e-5",
            "training.short.learning_rate: YAML takes 1e-5 for text; write 1.0e-05",
        ),
        ("training/short/learning_rate", float("inf"), "training.short.learning_rate: inf is not of type 'number'"),
        ("questions/test/parts", "two", "questions.test.parts: 'two' is not of type 'integer'"),
        ("questions/test", None, "questions.test: None is not of type 'object'"),
        ("splitter", "words", "splitter: 'words' is not one of"),
    ],
)
def test_a_value_of_the_wrong_form_gets_one_line(path, value, line):
    [found] = mistakes(config_with(path, value))
    assert line in found


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("runs/main/teachers", ["bog"], "runs.main.teachers: no models named 'bog', did you mean 'big'?"),
        (
            "runs/main/student",
            "zzz",
            "runs.main.student: no models named 'zzz'; known: big, other, ready, small, tuned",
        ),
        ("runs/main/candidates/questions", "gsn", "no questions named 'gsn', did you mean 'gsm'?"),
        ("runs/main/candidates/sampling", "explor", "no sampling named 'explor', did you mean 'explore'?"),
        ("runs/main/training", "long", "runs.main.training: no training named 'long'"),
        ("runs/main/test/questions", ["tset"], "runs.main.test.questions: no questions named 'tset'"),
        ("runs/main/test/sampling", "x", "runs.main.test.sampling: no sampling named 'x'; known: answer, explore"),
        ("runs/given/distilled", "red", "runs.given.distilled: no models named 'red'"),
        ("runs/given/distilled", "main.big.randm.0", "did you mean 'main.big.random.0'?"),
        ("runs/main/trace", ["grape"], "runs.main.trace: 'grape' is not among the run's strategies"),
        ("runs/main/training", None, "runs.main: needs `candidates`, `strategies` and `training`"),
        ("runs/main/candidates", None, "runs.main: needs `candidates`, `strategies` and `training`"),
        ("runs/main/strategies", [], "runs.main: needs `candidates`, `strategies` and `training`"),
        ("models/tuned/source/finetune/base", "x", "models.tuned.source.finetune.base: no models named 'x'"),
        ("models/tuned/source/finetune/base", "tuned", "'tuned' would be trained from itself"),
        ("models/tuned/source/finetune/questions", "test", "questions 'test' have no `solution` to learn from"),
        (
            "models/small/source",
            {},
            "models.small.source: give exactly one of hub, folder, finetune, fresh; found none",
        ),
        ("models/small/source/hub", "a/b", "give exactly one of hub, folder, finetune, fresh; found hub, folder"),
        ("models/big/source/revision", None, "models.big.source: `hub` needs a `revision`"),
        ("models/small/source", {"fresh": {"questions": "gsm", "heads": 3}}, "heads 3 must divide hidden 64"),
        ("questions/test/source", {}, "questions.test.source: give exactly one of file, hub, world; found none"),
        ("questions/test/grader", {"pattern": "is .*"}, "questions.test.grader.pattern: 'is .*' has no group"),
        ("questions/test/grader", {"pattern": "("}, "questions.test.grader.pattern: '(' is no regular expression"),
        ("runs/main/habits", {"open": "("}, "runs.main.habits.open: '(' is no regular expression"),
        ("sampling/answer/responses", {"file": "x.jsonl"}, "'answer' takes responses from a file, the same for every"),
        (
            "sampling/explore/responses",
            {"file": "x.jsonl", "logprobs": "values"},
            "sampling.explore.responses: `logprobs` need `token_ids`",
        ),
        ("models/big/engine", "server", "models.big: engine `server` and the key `server` need each other"),
        ("models/big/server", SERVER, "models.big: engine `server` and the key `server` need each other"),
        ("models/big/server", SERVER | {"url": "http://me:hush@host/v1"}, "models.big.server.url: must be http(s)://"),
        ("models/big/server", SERVER | {"url": "host:8000/v1"}, "models.big.server.url: must be http(s)://"),
        ("models/tuned/server", SERVER, "models.tuned.source: a served model's tokenizer comes from `hub` or `folder`"),
        ("models/small/server", SERVER, "models.tuned.source.finetune.base: 'small' is behind a server"),
        ("models/small/server", SERVER, "runs.main.student: 'small' is behind a server"),
        ("training/short/micro_batch_size", 3, "training.short: batch_size must be a multiple of micro_batch_size"),
    ],
)
def test_a_choice_that_does_not_fit_the_others_gets_a_line(path, value, line):
    found = mistakes(config_with(path, value))
    assert any(line in one for one in found), found
    assert not any("hush" in one for one in found)


def test_a_name_that_yaml_takes_for_a_number_is_told():
    config = config_with("models/small/source", {"folder": "small"})
    config["models"][7] = {"source": {"folder": "x"}}
    assert mistakes(config) == ["models: 7 is not of type 'string'"]


def test_every_mistake_is_told_at_once():
    config = config_with("runs/main/student", "x")
    config["runs"]["given"]["student"] = "y"
    assert len(mistakes(config)) == 2


def test_models_that_train_each_other_in_a_circle_are_found():
    config = config_with("models/tuned/source/finetune/base", "again")
    config["models"]["again"] = copy.deepcopy(config["models"]["tuned"])
    config["models"]["again"]["source"]["finetune"]["base"] = "tuned"
    assert len(mistakes(config)) == 2


@pytest.mark.parametrize("config", [None, [], "config", 3])
def test_what_is_no_mapping_is_no_config(config):
    assert mistakes(config) == [f"top level: {config!r} is not of type 'object'"]


def test_a_plan_made_of_its_own_config_is_the_same(plan):
    assert load_plan(copy.deepcopy(plan.config)) == plan


def test_defaults_are_not_shared_between_entries(plan):
    plan.config["questions"]["test"]["grader"]["pattern"] = "changed"
    assert plan.config["questions"]["gsm"]["grader"]["pattern"] is None


@pytest.mark.parametrize(
    ("settings", "definition"),
    [
        (ModelSettings, "model"),
        (Execution, "model"),
        (Server, "server"),
        (Sampling, "sampling"),
        (Training, "training"),
        (Questions, "questions"),
        (Responses, "responses"),
    ],
)
def test_the_schema_has_the_defaults_of_the_settings(settings, definition):
    described = yaml.safe_load(SCHEMA.read_text())["$defs"][definition]["properties"]
    shared = [f for f in dataclasses.fields(settings) if "default" in described.get(f.name, {})]
    assert shared
    assert {f.name: described[f.name]["default"] for f in shared} == {f.name: f.default for f in shared}


def test_the_schema_names_what_the_code_knows():
    definitions = yaml.safe_load(SCHEMA.read_text())
    assert set(definitions["properties"]["splitter"]["enum"]) == set(SPLITTERS)
    assert set(definitions["$defs"]["run"]["properties"]["strategies"]["items"]["enum"]) <= set(STRATEGIES)
    grader = definitions["$defs"]["questions"]["properties"]["grader"]["properties"]
    assert {name: grader[name]["default"] for name in grader} == dataclasses.asdict(Grader())


def descriptions(schema: dict, name: str) -> list[str]:
    """Give the names of the properties inside that have no description."""
    missing = []
    for key, value in schema.get("properties", {}).items():
        if "description" not in value:
            missing.append(f"{name}.{key}")
        missing += descriptions(value, f"{name}.{key}")
    return missing


def test_every_key_of_the_schema_is_described_and_has_a_default_or_is_required():
    schema = yaml.safe_load(SCHEMA.read_text())
    for name, part in {"config": schema, **schema["$defs"]}.items():
        assert descriptions(part, name) == []
        for key, value in part.get("properties", {}).items():
            assert "default" in value or key in part.get("required", []), f"{name}.{key}"


def test_settings_come_from_the_config_and_seeds_add_up():
    plan = load_plan(CONFIG | {"seed": 100})
    assert plan.model_settings("small") == ModelSettings(dtype="bfloat16", format="plain")
    assert plan.sampling("explore") == Sampling(samples=4, temperature=0.6, seed=100)
    assert plan.training("tuned") == Training(max_steps=3, seed=100)
    assert plan.training("main.big.random.5") == Training(max_steps=3, seed=105)


def test_of_a_server_only_the_name_of_the_model_is_part_of_a_result():
    config = config_with("models/big/engine", "server")
    config["models"]["big"]["server"] = SERVER | {"concurrency": 3}
    plan = load_plan(config)
    assert plan.model_source("big")["served"] == "owner/big@abc"
    assert "served" not in plan.model_source("other")
    assert Server(**plan.execution("big").server) == Server("http://gpu-node:8000/v1", "owner/big@abc", concurrency=3)
    assert plan.model_settings("big") == ModelSettings(engine="server")
    assert plan.execution("small") == Execution(token_budget=64)


def test_a_run_trains_a_model_for_each_teacher_strategy_and_seed(plan):
    assert list(plan.distilled) == [
        f"main.{teacher}.{strategy}.{seed}"
        for teacher in ("big", "other")
        for strategy in ("teacher_count", "random")
        for seed in (0, 5)
    ]
    assert plan.models == [*CONFIG["models"], *plan.distilled]
    assert plan.models_from("hub", "finetune") == ["big", "other", "tuned"]


def test_a_distilled_model_runs_as_the_student_it_starts_from(plan):
    assert plan.base_of("main.big.random.0") == "small"
    assert plan.model_settings("main.big.random.0") == plan.model_settings("small")
    assert plan.base_of("tuned") == "small"


def test_a_model_in_float32_is_the_same_model_in_another_number_format():
    plan = load_plan(config_with("models/small/attention", "flash_attention_2"))
    assert plan.in_float32("small") == "small@float32"
    assert plan.model_settings("small@float32") == ModelSettings(format="plain")
    assert plan.model_settings("main.big.random.0@float32") == ModelSettings(format="plain")
    assert plan.model_config("small@float32")["mem_mb"] == 2 * plan.model_config("small")["mem_mb"]
    assert model_path("small@float32") == model_path("small")
    assert plan.in_float32("big") == "big"
    plan.config["models"]["small"]["engine"] = "server"
    assert plan.in_float32("small") == "small"


def test_the_first_part_of_each_trace_with_another_number_format_is_compared(plan):
    traces = plan.traces("main")
    [first, *_] = [t for t in traces if t.rollouts.questions == "gsm"]
    assert plan.precision_path(first) == f"results/precision/main/big/{first.rollouts.folder}/00.arrow"
    assert all(plan.precision_path(trace) for trace in traces)
    assert plan.scorers(first) == {"teacher": "big", "student": "small", "distilled": "main.big.teacher_count.0"}
    without = load_plan(config_with("runs/main/check_precision", False))
    assert [without.precision_path(trace) for trace in without.traces("main")] == [None] * len(traces)
    in_float32 = load_plan(config_with("models/small/dtype", "float32"))
    assert not any(map(in_float32.precision_path, in_float32.traces("main")))


def test_recorded_log_probs_are_taken_for_own_responses_in_the_full_context_alone():
    plan = load_plan(config_with("models/small/own_log_probs", "recorded"))
    distilled = "main.big.random.0"
    assert plan.takes_recorded("small", "small", "full")
    assert plan.takes_recorded(distilled, distilled, "full")
    assert not plan.takes_recorded("small", distilled, "full")
    assert not plan.takes_recorded("small", "small", "window-3")
    assert not plan.takes_recorded("small@float32", "small", "full")
    assert not plan.takes_recorded("big", "big", "full")


def test_every_model_of_a_run_answers_every_set_of_test_questions(plan):
    authors = ["big", "other", "small", *plan.distilled]
    assert plan.tested("main") == authors
    assert plan.tests("main") == [RolloutSet(a, q, "answer") for a in authors for q in ("gsm", "test")]
    assert plan.tested("given") == ["big", "other", "small", "ready"]


def test_the_models_of_the_first_strategy_are_traced_unless_others_are_named(plan):
    def traced(plan) -> set[str]:
        return {trace.rollouts.author for trace in plan.traces("main")}

    assert traced(plan) == {f"main.{t}.teacher_count.{s}" for t in ("big", "other") for s in (0, 5)}
    named = load_plan(config_with("runs/main/trace", ["random"]))
    assert traced(named) == {f"main.{t}.random.{s}" for t in ("big", "other") for s in (0, 5)}
    assert traced(load_plan(config_with("runs/main/trace", []))) == set()
    assert all(trace.teacher in trace.rollouts.author for trace in plan.traces("main"))


def test_a_ready_made_model_is_traced_against_each_teacher(plan):
    answers = RolloutSet("ready", "test", "answer")
    assert plan.traces("given") == [Trace("given", "big", answers), Trace("given", "other", answers)]


def test_a_model_that_another_run_trains_is_traced_like_a_ready_made_one():
    plan = load_plan(config_with("runs/given/distilled", "main.other.random.5"))
    answers = RolloutSet("main.other.random.5", "test", "answer")
    assert plan.traces("given") == [Trace("given", "big", answers), Trace("given", "other", answers)]
    assert plan.tested("given") == ["big", "other", "small", "main.other.random.5"]


def test_a_given_model_is_attributed_to_one_of_several_teachers(plan):
    assert plan.attributed("main") == []
    assert plan.attributed("given") == [RolloutSet("ready", "test", "answer")]
    assert load_plan(config_with("runs/given/teachers", ["big"])).attributed("given") == []
    path = attribution_path("given", RolloutSet("ready", "test", "answer"))
    assert path == "results/attribution/given/ready/test/answer.arrow"


def test_a_student_may_be_its_own_teacher():
    plan = load_plan(config_with("runs/main/teachers", ["small"]))
    assert plan.tested("main") == ["small", *plan.distilled]


def test_parts_have_names_of_one_length_in_order(plan):
    assert plan.parts("gsm") == [f"{part:02}" for part in range(12)]
    assert plan.parts("test") == ["0"]


def test_paths_are_those_of_the_contract(plan):
    candidates = plan.candidates("main", "big")
    assert candidates == RolloutSet("big", "gsm", "explore")
    assert plan.question_parts("test") == ["results/questions/test/0.arrow"]
    assert (
        plan.rollout_parts("logprobs/small/full", candidates)[11]
        == "results/logprobs/small/full/big/gsm/explore/11.arrow"
    )
    assert plan.sentences_path(candidates, "03") == "results/sentences/sentences/big/gsm/explore/03.arrow"
    assert ranking_path("main", candidates) == "results/ranking/main/big/gsm/explore.arrow"
    assert selection_path("main", candidates, "random") == "results/selection/main/big/gsm/explore/random.arrow"
    assert model_path("big") == "results/models/big/model.json"
    assert plan.trace_parts(plan.traces("given")[1]) == ["results/provenance/given/other/ready/test/answer/0.arrow"]


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *sorted(ROOT.glob("examples/*/config.yaml"))], ids=str)
def test_the_configs_of_the_project_are_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    load_plan(yaml.safe_load(path.read_text()))
