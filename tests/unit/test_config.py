import copy
import dataclasses
from pathlib import Path

import pytest
import yaml

from configs import CONFIG, SERVER, config_with
from distrace.config import SCHEMA, refuse_repeated_keys
from distrace.engines import ENGINES
from distrace.errors import DistraceError
from distrace.measures.scores import SCORES
from distrace.measures.strategies import LENGTH_MATCHED
from distrace.nodes.imported_rollouts import Responses
from distrace.nodes.questions import Questions
from distrace.plan import load_plan
from distrace.settings import Execution, Grader, ModelSettings, Sampling, Server, Training, TrainingExecution
from distrace.text.splitting import SPLITTERS

ROOT = Path(__file__).parents[2]
STRATEGIES = sorted([*SCORES, LENGTH_MATCHED])


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
        ("strategies/mine", {"score": "grape", "pick": "best"}, "strategies.mine.pick: 'best' is not one of"),
        ("strategies/mine", {"score": "grape", "per_question": 0}, "strategies.mine.per_question: 0 is less than"),
        ("strategies/mine", {"score": "grape", "respones": 5}, "unknown key 'respones', did you mean 'responses'?"),
        ("runs/main/equal", "token", "runs.main.equal: 'token' is not one of"),
        ("runs/main/beta", 1.5, "runs.main.beta: 1.5 is greater than the maximum of 1"),
        ("runs/main/alpha", -0.1, "runs.main.alpha: -0.1 is less than the minimum of 0"),
        ("runs/main/alpha", float("nan"), "runs.main.alpha: nan is not of type 'number'"),
        ("runs/main/alpha", True, "runs.main.alpha: True is not of type 'number'"),
        ("runs/main/candidates/question", "gsm", "unknown key 'question', did you mean 'questions'?"),
        ("runs/main/candidates", 3, "runs.main.candidates: 3 is not of type 'object'"),
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
        ("training/short/held_out", -1, "training.short.held_out: -1 is less than the minimum of 0"),
        ("training/short/packing", 1, "training.short.packing: 1 is not of type 'boolean'"),
        ("training/short/keep_checkpoints", -1, "training.short.keep_checkpoints: -1 is less than the minimum of 0"),
        ("training/short/report_to", ["tensorbord"], "training.short.report_to.0: 'tensorbord' is not one of"),
        ("training/short/report_to", "wandb", "training.short.report_to: 'wandb' is not of type 'array', 'null'"),
        ("training/short/learning_rate", float("inf"), "training.short.learning_rate: inf is not of type 'number'"),
        ("questions/test/parts", "two", "questions.test.parts: 'two' is not of type 'integer'"),
        ("questions/test", None, "questions.test: None is not of type 'object'"),
        (
            "scores/mine",
            {"file": "x.py", "pick": "most"},
            "scores.mine.pick: 'most' is not one of ['highest', 'lowest']",
        ),
        ("scores/mine", {"file": "x.py", "needs": ["window"]}, "scores.mine.needs.0: 'window' does not match"),
    ],
)
def test_a_value_of_the_wrong_form_gets_one_line(path, value, line):
    [found] = mistakes(config_with(path, value))
    assert line in found


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("models/small/format", "chatt", "models.small.format: no format 'chatt': it is none of chat, plain, "),
        ("models/small/format", "chatt", "nor a file; did you mean 'chat'?"),
        ("models/small/format", "{{ message", "models.small.format: format: the template fails: unexpected end"),
        ("models/small/format", "{{ question }}:", "leaves the question out; put {{ message }} into it"),
        ("models/small/format", "/", "models.small.format: no format '/': it is none of"),
        ("models/small/instruction", "{{ q", "models.small.instruction: the template fails: unexpected end"),
        ("models/small/instruction", "{{ questoin }}", "models.small.instruction: the template fails: 'questoin' is"),
        ("models/small/instruction", "Think.", "models.small.instruction: 'Think.' leaves the question out; put "),
        ("models/small/source", {"folder": "a{b}"}, "models.small.source.folder: 'a{b}' holds { }, which Snakemake"),
        ("questions/test/source", {"file": "a<b>.csv"}, "questions.test.source.file: 'a<b>.csv' holds < >, which"),
        ("sampling/answer/responses_of", {"big": {"file": "{a}.csv"}}, "sampling.answer.responses_of.big.file: '{a}"),
        ("training/short/max_steps", 0, "training.short.max_steps: 0 steps train nothing; give a number of steps"),
        ("runs/main/alpha", 0.3, "runs.main: alpha 0.3 is above beta 0.1: "),
        (
            "questions/test/source",
            {"world": {"split": "test", "count": 100_000, "swaps": [1, 1]}},
            "questions.test.source.world: split 'test' holds too few questions of 1 swap for a count of 100000: ",
        ),
        ("questions/test/source", {"world": {"split": "test", "count": 1, "swaps": [3, 2]}}, "world: swaps [3, 2]"),
    ],
)
def test_a_mistake_that_would_fail_a_model_hours_later_gets_one_line_now(path, value, line):
    [found] = mistakes(config_with(path, value))
    assert line in found
    assert "\n" not in found


@pytest.mark.parametrize("text", ["\xff\xfe", ""])
def test_a_format_file_that_is_no_template_is_named(tmp_path, text):
    (tmp_path / "form.jinja").write_bytes(text.encode("latin-1"))
    [found] = mistakes(config_with("models/small/format", str(tmp_path / "form.jinja")))
    assert str(tmp_path)[:20] in found
    assert "is no text" in found or "leaves the question out" in found


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("runs/main/teachers", ["bog"], "runs.main.teachers: no models named 'bog', did you mean 'big'?"),
        (
            "runs/main/student",
            "zzz",
            "runs.main.student: no models named 'zzz'; known: big, other, ready, small, tuned",
        ),
        (
            "runs/main/contexts",
            ["window-4", "window_1"],
            "runs.main.contexts: no context 'window_1'; there are alone, and window-K with a number K of sentences",
        ),
        ("runs/main/contexts", ["full"], "runs.main.contexts: no context 'full'; there are alone, and window-K"),
        (
            "runs/main/contexts",
            ["window-01"],
            "runs.main.contexts: no context 'window-01'; there are alone, and window-K",
        ),
        ("runs/main/candidates/questions", "gsn", "no questions named 'gsn', did you mean 'gsm'?"),
        ("runs/main/candidates/sampling", "explor", "no sampling named 'explor', did you mean 'explore'?"),
        ("runs/main/training", "long", "runs.main.training: no training named 'long'"),
        ("runs/main/test/questions", ["tset"], "runs.main.test.questions: no questions named 'tset'"),
        ("runs/main/test/sampling", "x", "runs.main.test.sampling: no sampling named 'x'; known: answer, explore"),
        (
            "runs/main/strategies",
            ["best"],
            f"runs.main.strategies: no strategies named 'best'; known: {', '.join(STRATEGIES)}",
        ),
        ("runs/main/strategies", ["grap"], "runs.main.strategies: no strategies named 'grap', did you mean 'grape'?"),
        ("strategies/grape", {"score": "random"}, "strategies.grape: there is a strategy of this name already"),
        ("strategies/length_matched", {"score": "random"}, "there is a strategy of this name already"),
        ("strategies/mine", {}, "strategies.mine: give either a `score` or another strategy in `length_matched_to`"),
        (
            "strategies/mine",
            {"score": "grape", "length_matched_to": "random"},
            "strategies.mine: give either a `score` or",
        ),
        ("strategies/mine", {"score": "grap"}, "strategies.mine.score: no scores named 'grap', did you mean 'grape'?"),
        ("strategies/mine", {"score": "length_matched"}, "no scores named 'length_matched'; known: "),
        (
            "strategies/mine",
            {"score": "grape", "responses": 5, "tokens": 9},
            "strategies.mine: give one of `per_question`, `responses` and `tokens`; found responses, tokens",
        ),
        ("strategies/mine", {"length_matched_to": "grap"}, "no strategies named 'grap', did you mean 'grape'?"),
        ("strategies/mine", {"length_matched_to": "mine"}, "'mine' is itself matched to another; name that one"),
        ("strategies/mine", {"length_matched_to": "length_matched"}, "'length_matched' is itself matched to another"),
        (
            "strategies/mine",
            {"length_matched_to": "grape", "only_right": True},
            "strategies.mine: `only_right` is that of 'grape', to which it is matched; leave it out",
        ),
        (
            "strategies/mine",
            {"length_matched_to": "grape", "per_question": 2},
            "strategies.mine: `per_question` is that of 'grape', to which it is matched",
        ),
        (
            "strategies/mine",
            {"length_matched_to": "grape", "pick": "lowest"},
            "strategies.mine: `pick` is that of 'grape'",
        ),
        ("runs/given/pooled", True, "runs.given: `pooled` is about selections, and a run with a `distilled` model"),
        ("runs/given/equal", "tokens", "runs.given: `equal` is about selections, and a run with a `distilled` model"),
        ("runs/main/scores", ["grap"], "runs.main.scores: no scores named 'grap', did you mean 'grape'?"),
        ("runs/given/scores", ["lark"], "runs.given.scores: a run with a `distilled` model ranks no candidates"),
        ("scores/mine", {"file": "nowhere.py"}, "scores.mine.file: no file 'nowhere.py'"),
        *(
            (
                f"scores/{name}",
                {"file": __file__},
                f"scores.{name}: the name is taken by a score, a strategy or a column",
            )
            for name in ("grape", "length_matched", "tokens", "teacher", "score")
        ),
        ("splitter", "words", "splitter: no splitters named 'words'; known: lines, paragraphs, sentences"),
        ("models/big/engine", "vlm", "models.big.engine: no engines named 'vlm', did you mean 'vllm'?"),
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
        ("sampling/answer/responses", {"file": "x.jsonl"}, "'answer' takes responses from one file for every"),
        (
            "sampling/explore/responses",
            {"file": "x.jsonl", "logprobs": "values"},
            "sampling.explore.responses: `logprobs` need `token_ids`",
        ),
        ("sampling/explore/responses", {}, "explore.responses: give exactly one of file, hub; found none"),
        ("sampling/explore/responses", {"hub": "a/b"}, "explore.responses: `hub` needs a `revision`"),
        (
            "sampling/explore/responses",
            {"file": "x.jsonl", "reasoning": "r", "format": "think"},
            "explore.responses: reasoning is in a column of its own or within the response",
        ),
        (
            "sampling/explore/responses",
            {"file": "x.jsonl", "glue_in_tokens": False},
            "explore.responses: `glue_in_tokens` says what `token_ids` hold",
        ),
        (
            "sampling/explore/responses",
            {"preset": "vllm-batch", "file": "x.jsonl"},
            "explore.responses.join: give exactly one of file, hub; found none",
        ),
        (
            "sampling/explore/responses",
            {"preset": "OpenThoughts", "file": "x.jsonl"},
            "explore.responses.preset: no presets named 'OpenThoughts', did you mean 'OpenThoughts3'?",
        ),
        ("models/big/engine", "server", "models.big: engine `server` and the key `server` need each other"),
        ("models/big/server", SERVER, "models.big: engine `server` and the key `server` need each other"),
        ("models/big/server", SERVER | {"url": "http://me:hush@host/v1"}, "models.big.server.url: must be http(s)://"),
        ("models/big/server", SERVER | {"url": "host:8000/v1"}, "models.big.server.url: must be http(s)://"),
        ("models/tuned/server", SERVER, "models.tuned.source: a served model's tokenizer comes from `hub` or `folder`"),
        ("models/small/server", SERVER, "models.tuned.source.finetune.base: 'small' is behind a server"),
        ("models/small/server", SERVER, "runs.main.student: 'small' is behind a server"),
        ("training/short/micro_batch_size", 3, "training.short: batch_size must be a multiple of micro_batch_size"),
        ("training/short/held_out", 2.5, "training.short.held_out: 2.5 is neither a share below 1 nor a whole number"),
        ("training/short/accelerate", "none.yaml", "training.short.accelerate: none.yaml: cannot be read"),
        ("runs/main/start", "tunde", "runs.main.start: no models named 'tunde', did you mean 'tuned'?"),
        ("runs/main/start", "main.{teacher}.{strat}.0", "runs.main.start: no models named 'main.big.{strat}.0'"),
        (
            "runs/main/start",
            "main.{teacher}.{strategy}.{seed}",
            "'main.big.teacher_count.0' would be trained from itself",
        ),
        ("runs/main/start", "main.big.random.0", "runs.main.start: 'main.big.random.0' would be trained from itself"),
        ("runs/given/start", "tuned", "runs.given.start: nothing is trained in a run with a `distilled` model"),
    ],
)
def test_a_choice_that_does_not_fit_the_others_gets_a_line(path, value, line):
    found = mistakes(config_with(path, value))
    assert any(line in one for one in found), found
    assert not any("hush" in one for one in found)


def test_the_candidates_of_one_teacher_are_not_pooled():
    config = config_with("runs/main/pooled", True)
    config["runs"]["main"]["teachers"] = ["big"]
    assert mistakes(config) == ["runs.main: `pooled` needs several teachers; there is only 'big'"]


@pytest.mark.parametrize("engine", ["vllm", "server"])
def test_a_score_of_other_tokens_probabilities_needs_the_transformers_engine_of_the_student(engine):
    config = config_with("runs/main/scores", ["lark", "rsr"])
    model = {"source": {"hub": "owner/small", "revision": "abc"}, "engine": engine}
    config["models"]["small"] = model | ({"server": SERVER} if engine == "server" else {})
    found = [line for line in mistakes(config) if "untrain" not in line and "is behind a server" not in line]
    assert found == [
        "runs.main.scores: a score such as `lark` needs the largest probabilities of each token, which engine "
        f"{engine!r} of the student 'small' does not tell; use engine `transformers`, or no such score"
    ]


TWO_EACH = {"big": ["tuned", "main.big.random.0"], "other": ["main.other.random.0", "main.other.random.5"]}


@pytest.mark.parametrize(
    ("references", "line"),
    [
        (
            {"big": TWO_EACH["big"]},
            "references: name models for each of the run's teachers ['big', 'other'], and no other",
        ),
        (TWO_EACH | {"small": ["big", "other"]}, "references: name models for each of the run's teachers"),
        (TWO_EACH | {"big": ["tuned"]}, "references.big: ['tuned'] is too short"),
        (
            TWO_EACH | {"big": ["tuned", "main.big.randm.0"]},
            "references.big: no models named 'main.big.randm.0', did you",
        ),
        (TWO_EACH | {"big": ["tuned", "ready"]}, "references.big: 'ready' is the model in question"),
        (TWO_EACH | {"big": ["tuned", "main.other.random.0"]}, "'main.other.random.0' learned from one teacher alone"),
    ],
)
def test_reference_students_are_other_models_two_or_more_for_each_teacher(references, line):
    config = config_with("runs/given/attribution", {"references": TWO_EACH})
    load_plan(copy.deepcopy(config))
    config["runs"]["given"]["attribution"]["references"] = references
    [found] = mistakes(config)
    assert line in found


@pytest.mark.parametrize("attribution", [{"references": TWO_EACH}, {"distilldetect": True}])
def test_which_teacher_it_was_is_asked_of_a_given_model_alone(attribution):
    [found] = mistakes(config_with("runs/main/attribution", attribution))
    assert found.startswith("runs.main.attribution: which teacher it was is asked only of a `distilled` model")


def write_accelerate(folder: Path, processes: int) -> str:
    """Write an accelerate file for so many processes on a CPU; return its path."""
    file = folder / "accelerate.yaml"
    file.write_text(f"distributed_type: MULTI_CPU\nnum_processes: {processes}\n")
    return str(file)


def test_a_batch_that_the_processes_of_an_accelerate_file_cannot_share_is_told(tmp_path):
    config = config_with("training/short/accelerate", write_accelerate(tmp_path, 3))
    [found] = mistakes(copy.deepcopy(config))
    assert "batch_size 8 must be a multiple of the 3 processes of" in found
    write_accelerate(tmp_path, 4)
    load_plan(config)


def test_runs_that_start_from_each_others_models_are_found():
    config = config_with("runs/main/start", "more.big.{strategy}.0")
    config["runs"]["more"] = copy.deepcopy(config["runs"]["main"]) | {"start": "main.big.{strategy}.{seed}"}
    found = mistakes(config)
    assert [line.split(":")[0] for line in found] == ["runs.main.start", "runs.more.start"]
    assert all("would be trained from itself" in line for line in found)


def test_a_run_that_starts_elsewhere_may_have_a_student_that_cannot_be_trained():
    config = config_with("models/small", {"source": {"folder": "small"}, "engine": "server", "server": SERVER})
    del config["models"]["tuned"]
    assert any("'small' is behind a server" in line for line in mistakes(copy.deepcopy(config)))
    load_plan(config | {"runs": config["runs"] | {"main": config["runs"]["main"] | {"start": "ready"}}})
    config["runs"]["main"] |= {"start": "small"}
    assert any("runs.main.start: 'small' is behind a server" in line for line in mistakes(config))


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


@pytest.mark.parametrize(
    ("begin", "line"),
    [
        ({"author": "smal"}, "sampling.mixed.begin.author: no models named 'smal', did you mean 'small'?"),
        ({"author": "main.big.randm.0"}, "did you mean 'main.big.random.0'?"),
        ({"sampling": "answr"}, "sampling.mixed.begin.sampling: no sampling named 'answr', did you mean 'answer'?"),
        ({"sampling": "theirs"}, "sampling.mixed.begin.sampling: 'theirs' takes responses from one file"),
        ({"sampling": "mixed"}, "before 'small' can begin a response, those of 'mixed' itself must be there"),
        ({"sampling": "round"}, "before 'small' can begin a response, those of 'mixed' itself must be there"),
        ({"from": 1.0}, "sampling.mixed.begin.from: 1.0 is greater than or equal to the maximum of 1"),
        ({"questions": "gsm"}, "sampling.mixed.begin: unknown key 'questions'"),
    ],
)
def test_what_cannot_begin_responses_gets_a_line(begin, line):
    config = config_with("sampling/mixed", {"begin": {"author": "small", "sampling": "answer"} | begin})
    config["sampling"]["theirs"] = {"responses": {"file": "theirs.jsonl"}}
    config["sampling"]["round"] = {"begin": {"author": "small", "sampling": begin.get("sampling", "answer")}}
    if begin.get("sampling") == "round":
        config["sampling"]["round"]["begin"]["sampling"] = "mixed"
    assert any(line in found for found in mistakes(config)), mistakes(config)


def test_a_model_cannot_begin_the_candidates_that_it_learns_from():
    config = config_with("sampling/explore/begin", {"author": "main.big.random.0", "sampling": "answer"})
    [found] = mistakes(config)
    assert found.startswith(
        "sampling.explore.begin: before 'main.big.random.0' can begin a response, those of 'explore'"
    )


def test_a_distilled_model_can_begin_the_candidates_of_another_run():
    config = config_with("sampling/second", {"begin": {"author": "main.big.random.0", "sampling": "answer"}})
    config["runs"]["next"] = copy.deepcopy(config["runs"]["main"])
    config["runs"]["next"]["candidates"]["sampling"] = "second"
    assert load_plan(config).begun_from("second") == 0.5


def test_authors_with_saved_responses_are_models_of_the_config():
    config = config_with("sampling/answer/responses_of", {"biggest": {"file": "saved.jsonl"}})
    [found] = mistakes(config)
    assert found.startswith("sampling.answer.responses_of: no models named 'biggest'")


def test_responses_are_begun_or_from_a_file_not_both_and_a_test_is_not_begun():
    begin = {"author": "small", "sampling": "explore"}
    [found] = mistakes(config_with("sampling/mixed", {"begin": begin, "responses": {"file": "theirs.jsonl"}}))
    assert found.endswith("whole; give `begin`, or `responses` and `responses_of`, not both")
    lines = mistakes(config_with("sampling/answer/begin", begin))
    assert lines == [
        f"runs.{run}.test.sampling: another author begins responses of 'answer'" for run in ("main", "given")
    ]


@pytest.mark.parametrize("config", [None, [], "config", 3])
def test_what_is_no_mapping_is_no_config(config):
    assert mistakes(config) == [f"top level: {config!r} is not of type 'object'"]


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
        (TrainingExecution, "training"),
        (Questions, "questions"),
        (Responses, "responses"),
    ],
)
def test_the_schema_has_the_defaults_of_the_settings(settings, definition):
    # All but `gpus`: null in the config stands for a number that follows from the model (resources.py).
    described = yaml.safe_load(SCHEMA.read_text())["$defs"][definition]["properties"]
    shared = [f for f in dataclasses.fields(settings) if "default" in described.get(f.name, {}) and f.name != "gpus"]
    assert shared
    assert {f.name: described[f.name]["default"] for f in shared} == {f.name: f.default for f in shared}


def test_the_schema_has_the_defaults_of_the_grader():
    grader = yaml.safe_load(SCHEMA.read_text())["$defs"]["questions"]["properties"]["grader"]["properties"]
    assert {name: grader[name]["default"] for name in grader} == dataclasses.asdict(Grader())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("runs/main/strategies", [strategy]) for strategy in STRATEGIES),
        *(("splitter", splitter) for splitter in SPLITTERS),
        *(("models/big/engine", engine) for engine in ENGINES),
    ],
)
def test_the_config_knows_every_strategy_splitter_and_engine(path, value):
    config = config_with(path, value)
    config["models"]["big"]["server"] = SERVER if value == "server" else None
    load_plan(config)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("models/small", "own_log_probs", "own_logprobs"),
        ("models/small", "window", "context_length"),
        ("runs/main", "check_precision", "check_float32"),
    ],
)
def test_a_key_by_the_name_it_had_before_is_told_its_name(path, old, new):
    [found] = mistakes(config_with(f"{path}/{old}", None))
    assert found == f"{path.replace('/', '.')}: unknown key {old!r}: it is called {new!r} since version 0.2"


def descriptions(schema: dict, name: str) -> list[str]:
    """Return the names of the properties inside that have no description."""
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


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *sorted(ROOT.glob("examples/*/config.yaml"))], ids=str)
def test_the_configs_of_the_project_are_valid(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    load_plan(yaml.safe_load(path.read_text()))


def test_a_key_that_stands_twice_in_one_place_is_an_error_that_names_both_lines(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("seed: 1\nruns:\n  a: {alpha: 1}\n  b: [{beta: 2, beta: 3}]\nseed: 2\n")
    with pytest.raises(DistraceError) as raised:
        refuse_repeated_keys(file)
    assert str(raised.value).splitlines()[1:] == [
        "  line 4: the key 'beta' stands in line 4 already",
        "  line 5: the key 'seed' stands in line 1 already",
    ]


@pytest.mark.parametrize("text", ["", "a: &x {k: 1}\nb: {<<: *x, k: 2}\nc: {k: 3}\n"])
def test_keys_that_stand_once_in_each_place_are_fine(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    refuse_repeated_keys(file)


@pytest.mark.parametrize("sampling", [None, "greedy", ["greedy"]])
def test_a_sampling_that_is_no_mapping_is_a_mistake_like_others(sampling):
    config = copy.deepcopy(CONFIG)
    config["sampling"]["explore"] = sampling
    assert any("sampling.explore" in line for line in mistakes(config))


@pytest.mark.parametrize("text", ["@", "\x00", "a: [", "a: &b [*b]", "a: {" * 5000, "\udcff: 1"])
def test_yaml_that_is_broken_or_holds_itself_is_one_line(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DistraceError, match=r"config\.yaml is no YAML that can be used: ") as found:
        refuse_repeated_keys(file)
    assert "\n" not in str(found.value)
