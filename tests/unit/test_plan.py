import copy
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from configs import CONFIG, SERVER, config_with
from distrace.errors import DistraceError
from distrace.identity import canonical_json
from distrace.measures.scores import ALWAYS
from distrace.measures.strategies import Equal, Strategy
from distrace.plan import (
    RolloutSet,
    Trace,
    attribution_path,
    distilldetect_path,
    load_plan,
    logprobs_path,
    model_path,
    positions_path,
    ranking_path,
    selection_path,
)
from distrace.settings import Execution, ModelSettings, Sampling, Server, Training, TrainingExecution
from distrace.world import DIALS, NO_DIALS, Dials

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan():
    return load_plan(copy.deepcopy(CONFIG))


def test_a_plan_made_of_its_own_config_is_the_same(plan):
    assert load_plan(copy.deepcopy(plan.config)) == plan


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


def test_where_candidates_are_pooled_a_model_is_trained_for_all_teachers_and_traced_with_each():
    plan = load_plan(config_with("runs/main/pooled", True))
    assert list(plan.distilled) == [f"main.pooled.{s}.{seed}" for s in ("teacher_count", "random") for seed in (0, 5)]
    candidates = [plan.candidates("main", teacher) for teacher in ("big", "other")]
    assert plan.pools("main") == {"pooled": candidates}
    assert plan.base_of("main.pooled.random.0") == "small"
    traced = {(trace.teacher, trace.rollouts.author) for trace in plan.traces("main")}
    assert traced == {(t, f"main.pooled.teacher_count.{s}") for t in ("big", "other") for s in (0, 5)}
    selections = [path for path in plan.report_inputs() if path.startswith("results/selection/")]
    assert selections == [f"results/selection/main/pooled/gsm/explore/{s}.arrow" for s in ("teacher_count", "random")]
    rankings = [path for path in plan.report_inputs() if path.startswith("results/ranking/")]
    assert rankings == [ranking_path("main", rollouts) for rollouts in candidates]
    given = config_with("runs/main/pooled", True)
    given["runs"]["given"]["distilled"] = "main.pooled.random.5"
    assert load_plan(given).tested("given")[-1] == "main.pooled.random.5"


def test_candidates_that_are_not_pooled_are_a_pool_for_each_teacher(plan):
    candidates = [plan.candidates("main", teacher) for teacher in ("big", "other")]
    assert plan.pools("main") == {"big": candidates[:1], "other": candidates[1:]}
    assert plan.pools("given") == {}


@pytest.fixture
def with_strategies():
    config = config_with("runs/main/strategies", ["random", "twin", "few"])
    config["strategies"] = {
        "few": {"score": "shortest", "tokens": 900, "only_right": True},
        "twin": {"length_matched_to": "most"},
        "most": {"score": "grape", "pick": "lowest", "per_question": 3, "only_right": True},
    }
    return config


def test_a_strategy_is_one_of_the_config_or_a_score_or_a_twin(with_strategies):
    plan = load_plan(with_strategies)
    assert plan.strategy("grape") == Strategy("grape", "highest")
    assert plan.strategy("shortest") == Strategy("shortest", "lowest")
    assert plan.strategy("few") == Strategy("shortest", "lowest", tokens=900, only_right=True)
    assert plan.strategy("most") == Strategy("grape", "lowest", per_question=3, only_right=True)
    assert plan.strategy("twin") == Strategy(only_right=True, length_matched_to="most")
    assert plan.strategy("length_matched") == Strategy(length_matched_to="teacher_count")


def test_a_selection_depends_on_its_strategy_and_what_that_is_matched_to_and_if_equal_on_all_of_the_run(
    with_strategies,
):
    plan = load_plan(with_strategies)
    assert list(plan.strategies_behind("main", "random")) == ["random"]
    assert list(plan.strategies_behind("main", "twin")) == ["twin", "most"]
    assert plan.equal("main") is None
    with_strategies["runs"]["main"]["equal"] = "tokens"
    equal = load_plan(with_strategies)
    assert set(equal.strategies_behind("main", "random")) == {"random", "twin", "few", "most"}
    assert equal.equal("main") == Equal("tokens", ["random", "twin", "few"])


def test_a_distilled_model_runs_as_the_student_it_starts_from(plan):
    assert plan.base_of("main.big.random.0") == "small"
    assert plan.model_settings("main.big.random.0") == plan.model_settings("small")
    assert plan.base_of("tuned") == "small"


def test_a_run_trains_from_the_model_that_it_names_and_compares_with_its_student():
    config = config_with("runs/main/start", "tuned")
    config["models"]["tuned"]["format"] = "think"
    config["runs"]["more"] = copy.deepcopy(config["runs"]["main"]) | {"start": "main.{teacher}.{strategy}.{seed}"}
    plan = load_plan(config)
    assert plan.base_of("main.big.random.0") == "tuned"
    assert plan.base_of("more.other.random.5") == "main.other.random.5"
    assert plan.model_settings("more.other.random.5") == plan.model_settings("tuned")
    assert plan.model_settings("tuned") != plan.model_settings("small")
    assert {plan.scorers(trace)["student"] for trace in plan.traces("more")} == {"small"}


def test_where_a_model_is_trained_is_read_from_the_file_that_its_training_names(tmp_path):
    file = tmp_path / "accelerate.yaml"
    file.write_text("{distributed_type: FSDP, num_processes: 4}")
    config = config_with("training/short", {"micro_batch_size": 2, "accelerate": str(file), "report_to": ["wandb"]})
    plan = load_plan(config | {"training": config["training"] | {"plain": {"keep_checkpoints": 3}}})
    fsdp = {"distributed_type": "FSDP", "num_processes": 4}
    for name in ("tuned", "main.big.random.0"):
        assert plan.accelerate(name) == fsdp
        assert plan.training_execution(name, 4) == TrainingExecution(fsdp, ["wandb"], 0, 4)
        assert plan.training(name).micro_batch_size == 2
    plan.config["runs"]["main"]["training"] = "plain"
    assert plan.training_execution("main.big.random.0", 0) == TrainingExecution(None, None, 3, 0)


def test_what_changes_no_result_is_left_out_of_what_the_report_depends_on(tmp_path):
    file = tmp_path / "accelerate.yaml"
    file.write_text("{distributed_type: FSDP, num_processes: 2}")
    training = {"max_steps": 3, "micro_batch_size": 4}
    elsewhere = training | {"accelerate": str(file), "report_to": ["mlflow"], "keep_checkpoints": 3}
    plans = [load_plan(config_with("training/short", settings)) for settings in (training, elsewhere)]
    assert plans[0].config != plans[1].config
    assert plans[0].without_execution() == plans[1].without_execution()
    packed = load_plan(config_with("training/short", training | {"packing": True}))
    assert packed.without_execution() != plans[0].without_execution()


def test_a_model_in_float32_is_the_same_model_in_another_number_format():
    plan = load_plan(config_with("models/small/attention", "flash_attention_2"))
    assert plan.in_float32("small") == "small@float32"
    assert plan.model_settings("small@float32") == ModelSettings(format="plain")
    assert plan.model_settings("main.big.random.0@float32") == ModelSettings(format="plain")
    assert plan.model_config("small@float32")["mem_mb"] is None
    plan.config["models"]["small"]["mem_mb"] = 5000
    assert plan.model_config("small@float32")["mem_mb"] == 10_000
    assert model_path("small@float32") == model_path("small")
    assert plan.in_float32("big") == "big"
    plan.config["models"]["small"]["engine"] = "server"
    assert plan.in_float32("small") == "small"


def test_the_first_part_of_each_trace_with_another_number_format_is_compared(plan):
    traces = plan.traces("main")
    [first, *_] = [t for t in traces if t.rollouts.questions == "gsm"]
    assert plan.float32_check_path(first) == f"results/float32_check/main/big/{first.rollouts.folder}/0.arrow"
    assert all(plan.float32_check_path(trace) for trace in traces)
    assert plan.scorers(first) == {"teacher": "big", "student": "small", "distilled": "main.big.teacher_count.0"}
    without = load_plan(config_with("runs/main/check_float32", False))
    assert [without.float32_check_path(trace) for trace in without.traces("main")] == [None] * len(traces)
    in_float32 = load_plan(config_with("models/small/dtype", "float32"))
    assert not any(map(in_float32.float32_check_path, in_float32.traces("main")))


def test_recorded_log_probs_are_taken_for_own_responses_in_the_full_context_alone():
    plan = load_plan(config_with("models/small/own_logprobs", "recorded"))
    distilled = "main.big.random.0"

    def taken(scorer: str, author: str, context: str = "full") -> bool:
        return plan.takes_recorded(scorer, RolloutSet(author, "gsm", "explore"), context)

    assert taken("small", "small")
    assert taken(distilled, distilled)
    assert not taken("small", distilled)
    assert not taken("small", "small", "window-3")
    assert not taken("small@float32", "small")
    assert not taken("big", "big")


def test_responses_that_another_author_began_are_to_the_same_questions_and_have_no_recorded_log_probs():
    config = config_with("sampling/mixed", {"begin": {"author": "small", "sampling": "answer"}})
    config["models"]["big"]["own_logprobs"] = "recorded"
    plan = load_plan(config)
    mixed = RolloutSet("big", "gsm", "mixed")
    assert plan.begun_with(mixed) == RolloutSet("small", "gsm", "answer")
    assert plan.begun_from("mixed") == 0.5
    assert plan.sampling("mixed") == plan.sampling("answer")
    assert plan.begun_with(RolloutSet("big", "gsm", "answer")) is plan.begun_from("answer") is None
    assert not plan.takes_recorded("big", mixed, "full")
    assert plan.takes_recorded("big", RolloutSet("big", "gsm", "answer"), "full")


def test_a_student_scores_candidates_further_only_for_scores_that_a_run_names(plan):
    candidates = plan.candidates("main", "big")
    assert plan.scores("main") == ALWAYS
    assert plan.score_contexts("main") == []
    assert plan.top_probabilities("small", candidates, "full") == 0
    named = load_plan(config_with("runs/main/scores", ["lark", "ifd", "lalp_1", "rsr"]))
    assert named.scores("main") == [*ALWAYS, "lark", "ifd", "lalp_1"]
    assert named.score_contexts("main") == ["alone", "window-1"]
    assert named.scores("given") == ALWAYS
    assert named.score_contexts("given") == []


@pytest.mark.parametrize(
    ("strategies", "contexts"),
    [(["ifd"], ["alone"]), (["twin"], ["window-4"]), (["likely", "ifd"], ["alone", "window-4"]), (["other"], [])],
)
def test_a_strategy_asks_for_what_its_score_needs_and_so_does_its_twin(strategies, contexts):
    config = config_with("runs/main/strategies", strategies)
    config["strategies"] = {
        "likely": {"score": "lalp_4", "per_question": 2},
        "twin": {"length_matched_to": "likely"},
        "other": {"score": "mine", "tokens": 100},
    }
    config["scores"] = {"mine": {"file": __file__, "pick": "lowest"}}
    plan = load_plan(config)
    assert plan.score_contexts("main") == contexts
    assert list(plan.own_scores("main")) == (["mine"] if "other" in strategies else [])
    assert plan.strategy("mine").pick == "lowest"


def test_the_most_probable_tokens_are_asked_of_the_student_on_the_candidates_alone():
    plan = load_plan(config_with("runs/main/scores", ["lark"]))
    for teacher in ("big", "other"):
        assert plan.top_probabilities("small", plan.candidates("main", teacher), "full") == 50
    assert plan.top_probabilities("big", plan.candidates("main", "big"), "full") == 0
    assert plan.top_probabilities("small", plan.candidates("main", "big"), "alone") == 0
    assert plan.top_probabilities("small", RolloutSet("big", "test", "answer"), "full") == 0
    assert plan.top_probabilities("small@float32", plan.candidates("main", "big"), "full") == 0


def test_a_score_of_the_users_says_what_it_needs():
    config = config_with("scores/mine", {"file": __file__, "needs": ["window-2", "top_probabilities"]})
    config["runs"]["main"]["scores"] = ["mine"]
    plan = load_plan(config)
    assert plan.own_scores("main") == {
        "mine": {"file": __file__, "pick": "highest", "needs": ["window-2", "top_probabilities"]}
    }
    assert (plan.own_scores("given"), plan.scores("main")) == ({}, ALWAYS)
    assert plan.score_contexts("main") == ["window-2"]
    assert plan.top_probabilities("small", plan.candidates("main", "big"), "full") == 50


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


def test_a_trace_in_another_context_lies_in_the_whole_ones_folder_and_is_scored_in_it():
    plan = load_plan(config_with("runs/given/contexts", ["window-4", "alone"]))
    whole = plan.traces("given")[0]
    assert list(plan.in_contexts(whole)) == ["full", "window-4", "alone"]
    assert plan.in_contexts(whole)["full"] == whole
    other = plan.in_contexts(whole)["window-4"]
    assert plan.trace_parts(whole) == "results/provenance/given/big/ready/test/answer/parts.arrow"
    assert plan.trace_parts(other) == "results/provenance/given/big/ready/test/answer/window-4/parts.arrow"
    assert positions_path(other) == "results/positions/given/big/ready/test/answer/window-4.arrow"
    for scorer in ("big", "small", "ready"):
        assert f"results/logprobs/{scorer}/window-4/ready/test/answer/0.arrow" in plan.report_inputs()


def test_the_report_reads_of_a_further_context_nothing_else_and_the_explorer_nothing(plan):
    other = load_plan(config_with("runs/given/contexts", ["window-4"]))
    assert set(plan.report_inputs()) <= set(other.report_inputs())
    assert all("window-4" in path for path in set(other.report_inputs()) - set(plan.report_inputs()))
    assert other.explorer_inputs() == plan.explorer_inputs()


def test_a_model_that_another_run_trains_is_traced_like_a_ready_made_one():
    plan = load_plan(config_with("runs/given/distilled", "main.other.random.5"))
    answers = RolloutSet("main.other.random.5", "test", "answer")
    assert plan.traces("given") == [Trace("given", "big", answers), Trace("given", "other", answers)]
    assert plan.tested("given") == ["big", "other", "small", "main.other.random.5"]


def test_what_a_model_learned_is_that_of_its_run_and_of_the_models_that_it_starts_from(plan):
    assert plan.selections_behind("main.big.random.0") == [plan.distilled["main.big.random.0"]]
    assert plan.selections_behind("ready") == plan.selections_behind("small") == []
    config = config_with("runs/later", plan.config["runs"]["main"] | {"start": "main.{teacher}.random.0"})
    later = load_plan(config)
    learned = later.selections_behind("later.big.random.0")
    assert [model.name for model in learned] == ["later.big.random.0", "main.big.random.0"]


def test_only_a_trace_of_a_model_that_a_run_trained_has_evidence_and_it_is_the_same_for_all_teachers(plan):
    trace = plan.traces("main")[0]
    assert plan.evidence_parts(trace) == f"results/evidence/main/{trace.rollouts.folder}/parts.arrow"
    assert plan.evidence_parts(trace) in plan.report_inputs()
    assert [plan.evidence_parts(trace) for trace in plan.traces("given")] == [None, None]
    other = load_plan(config_with("runs/given/distilled", "main.other.random.5"))
    paths = {other.evidence_parts(trace) for trace in other.traces("given")}
    assert paths == {"results/evidence/given/main.other.random.5/test/answer/parts.arrow"}


def test_a_given_model_is_attributed_to_one_of_several_teachers(plan):
    assert plan.attributed("main") == []
    assert plan.attributed("given") == [RolloutSet("ready", "test", "answer")]
    assert load_plan(config_with("runs/given/teachers", ["big"])).attributed("given") == []
    path = attribution_path("given", RolloutSet("ready", "test", "answer"))
    assert path == "results/attribution/given/ready/test/answer.arrow"


def test_reference_students_and_distilldetect_are_asked_for_by_a_run():
    plan = load_plan(copy.deepcopy(CONFIG))
    assert (plan.references("given"), plan.detected("given")) == ({}, [])
    named = {"other": ["main.other.random.0", "main.other.random.5"], "big": ["tuned", "main.big.random.0"]}
    plan = load_plan(config_with("runs/given/attribution", {"references": named, "distilldetect": True}))
    assert plan.references("given") == {
        "tuned": "big",
        "main.big.random.0": "big",
        "main.other.random.0": "other",
        "main.other.random.5": "other",
    }
    assert plan.detected("given") == plan.attributed("given") == [RolloutSet("ready", "test", "answer")]
    path = distilldetect_path("given", RolloutSet("ready", "test", "answer"))
    assert path == "results/distilldetect/given/ready/test/answer.arrow"
    assert path in plan.report_inputs()
    assert path not in load_plan(copy.deepcopy(CONFIG)).report_inputs()


def test_a_student_may_be_its_own_teacher():
    plan = load_plan(config_with("runs/main/teachers", ["small"]))
    assert plan.tested("main") == ["small", *plan.distilled]


def test_a_set_named_after_a_kind_keeps_its_parts():
    config = config_with("questions/gsm/parts", 2)
    config["questions"]["questions"] = config["questions"]["gsm"]
    plan = load_plan(config)
    written = "results/rollouts/ready/questions/answer"
    assert plan.rollouts_parts("rollouts", RolloutSet("ready", "questions", "answer")) == f"{written}/parts.arrow"
    assert plan.parts_in(written) == [f"{written}/0.arrow", f"{written}/1.arrow"]


def test_a_list_of_very_many_parts_is_made_from_lists_of_some():
    plan = load_plan(config_with("questions/gsm/parts", 450))
    folder = "results/rollouts/big/gsm/explore"
    assert plan.listed_in(folder) == [f"{folder}/parts-{block}.arrow" for block in range(3)]
    blocks = [plan.listed_in_block(folder, block) for block in range(3)]
    assert list(map(len, blocks)) == [200, 200, 50]
    assert blocks[2][-1] == f"{folder}/449.rejects.arrow"
    few = load_plan(config_with("questions/gsm/parts", 2))
    assert few.listed_in(folder) == [f"{folder}/0.rejects.arrow", f"{folder}/1.rejects.arrow"]


def test_who_reads_all_parts_is_given_one_path_however_many_there_are():
    plan = load_plan(config_with("questions/gsm/parts", 5000))
    answers = plan.candidates("main", "big")
    [trace, *_] = [trace for trace in plan.traces("main") if trace.rollouts.questions == "gsm"]
    rollouts = "big/gsm/explore"
    assert plan.questions_parts("gsm") == "results/questions/gsm/parts.arrow"
    assert plan.rollouts_parts("grades", answers) == f"results/grades/{rollouts}/parts.arrow"
    assert plan.sentences_parts(answers) == f"results/sentences/sentences/{rollouts}/parts.arrow"
    assert plan.logprobs_parts("small", answers) == f"results/logprobs/small/full/{rollouts}/parts.arrow"
    assert plan.trace_parts(trace) == f"results/provenance/main/big/{trace.rollouts.folder}/parts.arrow"
    assert plan.separation_parts(trace) == [
        f"results/separation/main/big/{author}/gsm/answer/parts.arrow"
        for author in ("big", "small", trace.rollouts.author)
    ]
    assert len(plan.parts_in(f"results/grades/{rollouts}")) == 5000
    few = load_plan(config_with("questions/gsm/parts", 12))
    assert plan.report_inputs() == few.report_inputs()
    assert plan.explorer_inputs() == few.explorer_inputs()


def test_the_explorer_reads_what_a_sentence_and_a_candidate_consist_of(plan):
    inputs = plan.explorer_inputs()
    assert len(inputs) == len(set(inputs))
    for trace in plan.traces("main"):
        logprobs = [plan.logprobs_parts(scorer, trace.rollouts) for scorer in plan.scorers(trace).values()]
        assert {plan.trace_parts(trace), *logprobs} <= set(inputs)
    for candidates in plan.all_candidates("main"):
        scored = [plan.logprobs_parts(scorer, candidates) for scorer in (candidates.author, "small")]
        assert {plan.sentences_parts(candidates), ranking_path("main", candidates), *scored} <= set(inputs)
    assert not [path for path in inputs if "/truth/" in path]


def test_the_separation_of_a_student_that_is_its_own_teacher_is_read_once():
    plan = load_plan(config_with("runs/main/teachers", ["small"]))
    [trace, *_] = plan.traces("main")
    assert [path.split("/")[4] for path in plan.separation_parts(trace)] == ["small", trace.rollouts.author]


def test_every_selection_of_a_run_that_trains_is_exported(plan):
    assert plan.exports() == [
        f"results/export/main/{teacher}/gsm/explore/{strategy}/README.md"
        for teacher in ("big", "other")
        for strategy in ("teacher_count", "random")
    ]


def test_a_dataset_card_is_told_how_its_selection_came_about_and_no_path(plan):
    told = plan.selection_settings("main", "other", "random")
    assert (told["run"], told["teacher"], told["student"], told["strategy"]) == ("main", "other", "small", "random")
    assert told["models"].keys() == {"other", "small"}
    assert told["models"]["small"] == asdict(plan.model_settings("small"))
    assert (told["sampling"]["name"], told["sampling"]["temperature"], told["beta"]) == ("explore", 0.6, 0.1)
    assert "jsonl" not in canonical_json(told)


def test_the_export_of_a_pool_is_told_all_its_teachers_and_the_strategies_behind():
    config = config_with("runs/main/pooled", True)
    config["runs"]["main"] |= {"strategies": ["length_matched", "random"], "equal": "tokens"}
    plan = load_plan(config)
    assert plan.exports()[0] == "results/export/main/pooled/gsm/explore/length_matched/README.md"
    told = plan.selection_settings("main", "pooled", "length_matched")
    assert (told["teacher"], told["equal"]) == ("pooled", "tokens")
    assert told["models"].keys() == {"big", "other", "small"}
    assert told["strategies"]["length_matched"]["length_matched_to"] == "teacher_count"
    assert told["strategies"]["teacher_count"]["score"] == "teacher_count"


def test_a_dataset_card_of_imported_responses_is_told_no_sampling():
    plan = load_plan(config_with("sampling/explore", {"responses": {"file": "theirs.jsonl"}}))
    told = plan.selection_settings("main", "other", "random")
    assert told["sampling"] == {"name": "explore"}


def test_paths_are_those_of_the_contract(plan):
    candidates = plan.candidates("main", "big")
    assert candidates == RolloutSet("big", "gsm", "explore")
    assert plan.questions_parts("test") == "results/questions/test/parts.arrow"
    assert plan.logprobs_parts("small", candidates) == "results/logprobs/small/full/big/gsm/explore/parts.arrow"
    assert logprobs_path("small", candidates, "11") == "results/logprobs/small/full/big/gsm/explore/11.arrow"
    assert ranking_path("main", candidates) == "results/ranking/main/big/gsm/explore.arrow"
    assert selection_path("main", candidates, "random") == "results/selection/main/big/gsm/explore/random.arrow"
    assert model_path("big") == "results/models/big/model.json"
    assert plan.trace_parts(plan.traces("given")[1]) == "results/provenance/given/other/ready/test/answer/parts.arrow"


def world_plan(**dials: dict[str, float]):
    """Return the plan of the default run, with dials by the set of questions."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name, values in dials.items():
        config["questions"][name]["source"]["world"] |= values
    return load_plan(config)


def test_a_dial_reaches_the_corpora_that_it_changes_and_no_other_questions():
    dials = {"overlap": 0.3, "filler": 0, "paraphrase": 0}
    plan = world_plan(teacher_corpus=dials, student_corpus=dials)
    turned = {name: plan.questions(name).source["world"] for name in plan.config["questions"]}
    assert turned["student_corpus"]["overlap"] == 0.3
    assert all(not set(DIALS) & set(turned[name]) for name in ("teacher_corpus", "train", "test"))
    before = world_plan()
    same = [name for name in turned if plan.part_digests(name) == before.part_digests(name)]
    assert same == ["teacher_corpus", "train", "test", "test_longer"]
    assert (plan.dials, before.dials) == (Dials(overlap=0.3), NO_DIALS)


def test_corpora_with_different_dials_are_two_worlds_and_refused():
    line = r"questions\.student_corpus\.source\.world: other dials than 'teacher_corpus' has"
    with pytest.raises(DistraceError, match=line):
        world_plan(teacher_corpus={"overlap": 0.3})
    assert world_plan(test={"overlap": 0.3}).dials == NO_DIALS  # no corpus
