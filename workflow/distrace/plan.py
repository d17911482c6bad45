"""What a config asks for: its models, rollout sets, selections and traces, and the paths of their artifacts.

The rules, the report and notebooks read a config through this module. All paths are relative to the folder that the
workflow runs in. They are spelt here and, with wildcards, in `workflow/rules/`, and nowhere else.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from distrace.config import (
    POOLED,
    Config,
    base_name,
    complete,
    corpora,
    distilled_names,
    picks,
    score_needs,
    scores_named,
    strategy_config,
)
from distrace.measures.scores import ALWAYS, SCORES, TOP, TOP_PROBABILITIES
from distrace.measures.strategies import Equal, Strategy
from distrace.parts import LIST, part_names
from distrace.questions import Cut, Questions, count_parts, part_digests
from distrace.settings import Execution, ModelSettings, Sampling, Training, TrainingExecution
from distrace.text.prompts import format_text
from distrace.training.launch import read_accelerate
from distrace.world import DIALS, NO_DIALS, Author, Dials, sentences_of, turned

RESULTS = "results"
MOST_LISTED = 200  # parts that one list is made from: Snakemake prints them all where their job fails
WHOLE = "full"  # the context of a trace: question and response so far
FLOAT32 = "@float32"  # after the name of a model: the same model, run in float32
# Keys of a model that change no result; of `server`, the name of the model is in the model's source.
EXECUTION = {*Execution.__annotations__, "threads", "mem_mb", "runtime", "parameters", "tokens_per_second"}
_FIXED_DTYPE = ("server",)  # engines that cannot run a model in another number format

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class RolloutSet:
    """The responses of an author to a set of questions with a sampling, each given by name."""

    author: str
    questions: str
    sampling: str

    @property
    def folder(self) -> str:
        """The folder of the set, below that of a kind of artifact."""
        return f"{self.author}/{self.questions}/{self.sampling}"


@dataclass(frozen=True)
class Distilled:
    """A model that a run trains from its student on what one strategy selects from one teacher's candidates.

    Where a run pools the candidates of its teachers, `teacher` is `pooled`.
    """

    name: str
    run: str
    teacher: str
    strategy: str
    seed: int


@dataclass(frozen=True)
class Trace:
    """A rollout set of a distilled model, labelled with a teacher and the settings of a run.

    The three models that score it see the same `context`.
    """

    run: str
    teacher: str
    rollouts: RolloutSet
    context: str = WHOLE

    @property
    def folder(self) -> str:
        """The folder of the trace, below that of a kind of artifact; another context's lies in the whole one's."""
        return f"{self.run}/{self.teacher}/{self.within(self.rollouts)}"

    def within(self, rollouts: RolloutSet) -> str:
        """Return the folder of a rollout set, and in it that of the trace's context unless that is the whole one."""
        return rollouts.folder if self.context == WHOLE else f"{rollouts.folder}/{self.context}"


@dataclass(frozen=True)
class Plan:
    """A valid config with every default filled in, and what follows from it."""

    config: Config

    @cached_property
    def distilled(self) -> dict[str, Distilled]:
        """The models that the runs train, by name."""
        return {name: Distilled(name, *parts) for name, parts in distilled_names(self.config["runs"]).items()}

    @property
    def models(self) -> list[str]:
        """The names of all models: those of the config, then those that the runs train."""
        return [*self.config["models"], *self.distilled]

    def models_from(self, *kinds: str) -> list[str]:
        """Return the names of the config's models with one of these sources (`hub`, `folder`, `finetune`, `fresh`)."""
        return [name for name, model in self.config["models"].items() if any(model["source"][k] for k in kinds)]

    def model_config(self, name: str) -> dict[str, Any]:
        """Return a model's config; a distilled model has that of its start, NAME@float32 that of NAME in float32."""
        if name.endswith(FLOAT32):
            config = self.model_config(name.removesuffix(FLOAT32))
            # Flash attention has no float32, and 16-bit weights take twice the memory in float32.
            attention = "sdpa" if config["attention"] == "flash_attention_2" else config["attention"]
            memory = config["mem_mb"] and 2 * config["mem_mb"]
            return config | {"dtype": "float32", "attention": attention, "mem_mb": memory}
        if name in self.distilled:
            return self.model_config(self.base_of(name))
        return dict(self.config["models"][name])

    def model_settings(self, name: str) -> ModelSettings:
        """Return how a model is run; a prompt format from a file is the text of the file, not its path."""
        config = self.model_config(name)
        return _pick(ModelSettings, config | {"format": format_text(config["format"])})

    def takes_recorded(self, scorer: str, rollouts: RolloutSet, context: str) -> bool:
        """Return whether a scorer's log-probs are those that were recorded when it wrote the responses itself.

        Of responses that another author began, none are: there is none for the tokens of the beginning.
        """
        if scorer != rollouts.author or context != "full" or self.begun_with(rollouts):
            return False
        return bool(self.model_config(scorer)["own_logprobs"] == "recorded")

    def execution(self, name: str, gpus: int | None = None) -> Execution:
        """Return what changes the speed of a model's jobs, not their results; `gpus` where the config names none."""
        config = self.model_config(name)
        return _pick(Execution, config | {"gpus": (gpus if config["gpus"] is None else config["gpus"]) or 0})

    def without_execution(self) -> Config:
        """Return the config without the keys that change the speed and place of jobs, but no result."""

        def without(section: str, keys: Collection[str]) -> Config:
            return {
                name: {key: value for key, value in settings.items() if key not in keys}
                for name, settings in self.config[section].items()
            }

        trainings = without("training", TrainingExecution.__annotations__)
        return self.config | {"models": without("models", EXECUTION), "training": trainings}

    def model_source(self, name: str) -> dict[str, Any]:
        """Return where a hub or local model comes from and, for a served model, its name on the server as `served`."""
        config = self.config["models"][name]
        return dict(config["source"]) | ({"served": config["server"]["model"]} if config["server"] else {})

    def questions(self, name: str) -> Questions:
        """Return where a set of questions comes from; the config's seed counts for those of the world alone.

        Of the dials, those are left out that change nothing, so that what they do not touch is not made again.
        """
        settings = self.config["questions"][name]
        if world := settings["source"]["world"]:
            kept = {key: value for key, value in world.items() if key not in DIALS}
            settings = settings | {"source": settings["source"] | {"world": kept | turned(world["style"], self.dials)}}
        return _pick(Questions, settings | {"seed": self.config["seed"] if settings["source"]["world"] else 0})

    def cut(self, questions: str) -> Cut:
        """Return how a set of questions is cut into parts."""
        return _pick(Cut, self.config["questions"][questions])

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """The names of the parts of each set of questions; files are read for it where a `part_size` is given."""
        return {
            name: part_names(count_parts(self.questions(name), self.cut(name))) for name in self.config["questions"]
        }

    def part_digests(self, questions: str) -> dict[str, str]:
        """Return, for each part of a set of questions, a digest of what its questions are made from; files are read."""
        digests = part_digests(self.questions(questions), self.cut(questions))
        return dict(zip(self.parts[questions], digests, strict=True))

    def responses(self, author: str, sampling: str) -> dict[str, Any] | None:
        """Return where an author's ready-made responses of a sampling are, and how to read them; None if none are."""
        settings = self.config["sampling"][sampling]
        found = settings["responses_of"].get(author) or settings["responses"]
        return found and {key: value for key, value in found.items() if key != "preset"}

    def is_imported(self, rollouts: RolloutSet) -> bool:
        """Return whether the responses of a rollout set come from a file."""
        return self.responses(rollouts.author, rollouts.sampling) is not None

    def imported(self) -> list[tuple[str, str]]:
        """Return author and sampling of all responses that come from files."""
        return [(a, s) for s in self.config["sampling"] for a in self.models if self.responses(a, s)]

    def sampling(self, name: str) -> Sampling:
        """Return how responses are drawn, with the seed of the config."""
        return _pick(Sampling, self.config["sampling"][name] | {"seed": self.config["seed"]})

    def begun_with(self, rollouts: RolloutSet) -> RolloutSet | None:
        """Return the rollout set whose responses those of a set begin with; None if its author writes them alone."""
        begin = self.config["sampling"][rollouts.sampling]["begin"]
        return RolloutSet(begin["author"], rollouts.questions, begin["sampling"]) if begin else None

    def begun_from(self, sampling: str) -> float | None:
        """Return the share of another author's response beyond which it is cut; None if responses begin with none."""
        begin = self.config["sampling"][sampling]["begin"]
        return begin["from"] if begin else None

    def fresh(self, name: str) -> dict[str, Any]:
        """Return the settings of a fresh model without its `questions`; its seed is added to the config's."""
        settings = self.config["models"][name]["source"]["fresh"]
        return {key: value for key, value in settings.items() if key != "questions"} | {
            "seed": self.config["seed"] + settings["seed"]
        }

    def base_of(self, name: str) -> str:
        """Return the model that a trained model starts from."""
        if name in self.distilled:
            model = self.distilled[name]
            return base_name(self.config["runs"][model.run], model.teacher, model.strategy, model.seed)
        return str(self.config["models"][name]["source"]["finetune"]["base"])

    def line_of(self, name: str) -> list[str]:
        """Return a model, the one that it was trained from, and so on to the first."""
        line = [name]
        while line[-1] in self.distilled or self.config["models"][line[-1]]["source"]["finetune"]:
            line.append(self.base_of(line[-1]))
        return line

    def selections_behind(self, name: str) -> list[Distilled]:
        """Return what a distilled model learned from, by the models that learned it: itself, its start, and so on."""
        return [self.distilled[model] for model in self.line_of(name) if model in self.distilled]

    def training(self, name: str) -> Training:
        """Return how a model is fine-tuned; the seed of a distilled model is added to the config's."""
        seed = self.distilled[name].seed if name in self.distilled else 0
        return _pick(Training, self._training_config(name) | {"seed": self.config["seed"] + seed})

    def accelerate(self, name: str) -> dict[str, Any] | None:
        """Return what the accelerate file of a model's training says, which is read for it; None if it has none."""
        file = self._training_config(name)["accelerate"]
        return read_accelerate(file) if file else None

    def training_execution(self, name: str, gpus: int) -> TrainingExecution:
        """Return where a model is trained, and what else changes no result, on so many GPUs."""
        found = {"accelerate": self.accelerate(name), "gpus": gpus}
        return _pick(TrainingExecution, self._training_config(name) | found)

    def _training_config(self, name: str) -> Config:
        if name in self.distilled:
            settings = self.config["runs"][self.distilled[name].run]["training"]
        else:
            settings = self.config["models"][name]["source"]["finetune"]["training"]
        return dict(self.config["training"][settings])

    def candidates(self, run: str, teacher: str) -> RolloutSet:
        """Return the rollout set of a teacher's candidates in a run; for `pooled`, the set that stands for all."""
        wanted = self.config["runs"][run]["candidates"]
        return RolloutSet(teacher, wanted["questions"], wanted["sampling"])

    def all_candidates(self, run: str) -> list[RolloutSet]:
        """Return the candidates of each teacher of a run; none if the run takes an existing distilled model."""
        settings = self.config["runs"][run]
        return [] if settings["distilled"] else [self.candidates(run, teacher) for teacher in settings["teachers"]]

    def scores(self, run: str) -> list[str]:
        """Return the scores that a run's ranking has columns for: those that cost no model, and those it names."""
        return list(dict.fromkeys([*ALWAYS, *(name for name in scores_named(self.config, run) if name in SCORES)]))

    def own_scores(self, run: str) -> dict[str, dict[str, Any]]:
        """Return the scores of the config's own that a run names, by name, each with its file."""
        own = self.config["scores"]
        return {name: own[name] for name in scores_named(self.config, run) if name in own}

    def score_contexts(self, run: str) -> list[str]:
        """Return the contexts, beside `full`, in which a run's student scores the candidates."""
        return sorted(score_needs(self.config, run) - {TOP_PROBABILITIES})

    def top_probabilities(self, scorer: str, rollouts: RolloutSet, context: str) -> int:
        """Return of how many most probable tokens a scorer's log-probs of a rollout set hold the sums, for a score."""
        asked = (
            TOP_PROBABILITIES in score_needs(self.config, run)
            for run, settings in self.config["runs"].items()
            if settings["student"] == scorer and rollouts in self.all_candidates(run)
        )
        return TOP if context == "full" and any(asked) else 0

    def pools(self, run: str) -> dict[str, list[RolloutSet]]:
        """Return what the strategies of a run select from: by teacher, or `pooled`, the candidates in the pool."""
        candidates = self.all_candidates(run)
        if self.config["runs"][run]["pooled"]:
            return {POOLED: candidates}
        return {rollouts.author: [rollouts] for rollouts in candidates}

    def strategy(self, name: str) -> Strategy:
        """Return how a strategy selects: `pick` is its score's own where the config does not say which.

        One that is matched to another takes only right responses if that one does.
        """
        settings = strategy_config(self.config, name) or {}
        if other := settings.get("length_matched_to"):
            return Strategy(length_matched_to=other, only_right=self.strategy(other).only_right)
        return _pick(Strategy, settings | {"pick": settings.get("pick") or picks(self.config)[settings["score"]]})

    def strategies_behind(self, run: str, name: str) -> dict[str, Strategy]:
        """Return a strategy of a run and those that its selection depends on, by name."""
        equal = self.equal(run)
        found = {other: self.strategy(other) for other in [name, *(equal.strategies if equal else [])]}
        matched_to = [strategy.length_matched_to for strategy in found.values() if strategy.length_matched_to]
        return found | {other: self.strategy(other) for other in matched_to}

    def equal(self, run: str) -> Equal | None:
        """Return what the strategies of a run get as much of; None if each selection is left as it is."""
        settings = self.config["runs"][run]
        return Equal(settings["equal"], settings["strategies"]) if settings["equal"] else None

    def tested(self, run: str) -> list[str]:
        """Return the models whose answers to a run's test questions are graded."""
        settings = self.config["runs"][run]
        students = [settings["distilled"]] if settings["distilled"] else self._trained_by(run)
        return list(dict.fromkeys([*settings["teachers"], settings["student"], *students]))

    def tests(self, run: str) -> list[RolloutSet]:
        """Return the graded rollout sets of a run."""
        test = self.config["runs"][run]["test"]
        return [RolloutSet(author, q, test["sampling"]) for author in self.tested(run) for q in test["questions"]]

    def traces(self, run: str) -> list[Trace]:
        """Return the traces of a run: each traced distilled model on each set of test questions."""
        settings = self.config["runs"][run]
        wanted = settings["trace"] if settings["trace"] is not None else settings["strategies"][:1]
        if settings["distilled"]:
            pairs = [(teacher, settings["distilled"]) for teacher in settings["teachers"]]
        else:
            trained = [m for m in self.distilled.values() if m.run == run and m.strategy in wanted]
            pairs = [(rollouts.author, m.name) for m in trained for rollouts in self.pools(run)[m.teacher]]
        test = settings["test"]
        return [Trace(run, t, RolloutSet(d, q, test["sampling"])) for t, d in pairs for q in test["questions"]]

    def in_contexts(self, trace: Trace) -> dict[str, Trace]:
        """Return a trace in the whole context, which is always there, and in each that its run names, by context."""
        named = self.config["runs"][trace.run]["contexts"]
        return {context: replace(trace, context=context) for context in [WHOLE, *named]}

    def scorers(self, trace: Trace) -> dict[str, str]:
        """Return the models that score the sentences of a trace, by role."""
        student = self.config["runs"][trace.run]["student"]
        return {"teacher": trace.teacher, "student": student, "distilled": trace.rollouts.author}

    def in_float32(self, scorer: str) -> str:
        """Return the name of a scorer run in float32: its own name if it runs in float32 anyway, or cannot."""
        config = self.model_config(scorer)
        if config["dtype"] == "float32" or config["engine"] in _FIXED_DTYPE:
            return scorer
        return scorer + FLOAT32

    def not_checkable(self, trace: Trace) -> list[str]:
        """Return the scorers of a trace that the run should check against float32, but cannot."""
        if not self.config["runs"][trace.run]["check_float32"]:
            return []
        scorers = dict.fromkeys(self.scorers(trace).values())
        return [scorer for scorer in scorers if self.model_config(scorer)["engine"] in _FIXED_DTYPE]

    def not_compared(self, trace: Trace) -> list[str]:
        """Return the scorers of a trace whose number format is not compared with float32, though it is another."""
        if self.config["runs"][trace.run]["check_float32"]:
            return self.not_checkable(trace)
        scorers = dict.fromkeys(self.scorers(trace).values())
        configs = {scorer: self.model_config(scorer) for scorer in scorers}
        return [name for name, c in configs.items() if c["dtype"] != "float32" or c["engine"] in _FIXED_DTYPE]

    def float32_checked(self, trace: Trace) -> dict[str, tuple[str, str]]:
        """Return, by role, the two log-prob files of a trace's first part: in the model's own dtype, and in float32.

        Roles whose model runs in float32 anyway are left out. Empty if the run does not check.
        """
        if not self.config["runs"][trace.run]["check_float32"]:
            return {}

        def first(scorer: str) -> str:
            return self.parts_in(f"{RESULTS}/logprobs/{scorer}/full/{trace.rollouts.folder}")[0]

        pairs = {role: (scorer, self.in_float32(scorer)) for role, scorer in self.scorers(trace).items()}
        return {role: (first(own), first(other)) for role, (own, other) in pairs.items() if own != other}

    def attributed(self, run: str) -> list[RolloutSet]:
        """Return the rollout sets tested for which of a run's teachers the given distilled model learned from."""
        settings = self.config["runs"][run]
        if settings["distilled"] is None or len(settings["teachers"]) == 1:
            return []
        return list(dict.fromkeys(trace.rollouts for trace in self.traces(run)))

    def references(self, run: str) -> dict[str, str]:
        """Return the models that are known to have learned from a run's teachers, each with its teacher."""
        named = self.config["runs"][run]["attribution"]["references"]
        return {model: teacher for teacher in self.config["runs"][run]["teachers"] for model in named.get(teacher, [])}

    def detected(self, run: str) -> list[RolloutSet]:
        """Return those of `attributed` whose author is also tested by what it came to expect (DistillDetect)."""
        return self.attributed(run) if self.config["runs"][run]["attribution"]["distilldetect"] else []

    def style_of(self, model: str) -> str | None:
        """Return the style of the world whose sentences a model was trained to write; None for any other model."""
        author = self.author_of(model)
        return sentences_of(author.style) if author else None

    def author_of(self, model: str) -> Author | None:
        """Return whose grammar of the world wrote what a model was trained on; None for any other model."""
        finetune = self.config["models"].get(model, {"source": {}})["source"].get("finetune")
        style = self._style(finetune["questions"]) if finetune else None
        return Author(style, self.dials) if style else None

    def has_truth(self, trace: Trace) -> bool:
        """Return whether the true origin of sentences is known: questions, teacher and student are of the world."""
        student = self.config["runs"][trace.run]["student"]
        in_world = self.config["questions"][trace.rollouts.questions]["source"]["world"] is not None
        return in_world and None not in (self.style_of(trace.teacher), self.style_of(student))

    @property
    def dials(self) -> Dials:
        """The dials of the world that the config's corpora are from; all at zero where there is none."""
        return next(iter(corpora(self.config).values()), NO_DIALS)

    def _style(self, questions: str) -> str | None:
        return (self.config["questions"][questions]["source"]["world"] or {}).get("style")

    def _trained_by(self, run: str) -> list[str]:
        return [model.name for model in self.distilled.values() if model.run == run]

    def parts_in(self, folder: str) -> list[str]:
        """Return the paths of all parts in a folder whose name ends in a rollout set."""
        return [f"{folder}/{part}.arrow" for part in self._part_names(folder)]

    def _part_names(self, folder: str) -> list[str]:
        return self.parts[folder.split("/")[-2]]

    def listed_in(self, folder: str) -> list[str]:
        """Return what the list of a folder's parts is made from: their rejects or, of very many, lists of some."""
        blocks = -(-len(self._part_names(folder)) // MOST_LISTED)
        if blocks == 1:
            return self.listed_in_block(folder, 0)
        return [f"{folder}/parts-{block}.arrow" for block in range(blocks)]

    def listed_in_block(self, folder: str, block: int) -> list[str]:
        """Return the rejects of those parts in a folder that a list of some of them is made from."""
        parts = self._part_names(folder)[block * MOST_LISTED : (block + 1) * MOST_LISTED]
        return [f"{folder}/{part}.rejects.arrow" for part in parts]

    def questions_parts(self, questions: str) -> str:
        """Return the path of the list of the parts of a set of questions."""
        return f"{RESULTS}/questions/{questions}/{LIST}"

    def rollouts_parts(self, kind: str, rollouts: RolloutSet) -> str:
        """Return the path of the parts of an artifact of a rollout set: `rollouts`, `grades` or `truth`."""
        folder = f"{RESULTS}/{kind}/{rollouts.folder}"
        by_part = kind == "rollouts" and not self.is_imported(rollouts)
        return self._list_or_part(folder) if by_part else f"{folder}/{LIST}"

    def written_rollouts(self, rollouts: RolloutSet, part: str) -> str:
        """Return the path of what changes if a part of a rollout set does, and is small: its rejects, or the list."""
        name = LIST if self.is_imported(rollouts) else f"{part}.rejects.arrow"
        return f"{RESULTS}/rollouts/{rollouts.folder}/{name}"

    def sentences_parts(self, rollouts: RolloutSet) -> str:
        """Return the path of the list of the parts of a rollout set's sentences."""
        return f"{RESULTS}/sentences/{self.config['splitter']}/{rollouts.folder}/{LIST}"

    def logprobs_parts(self, scorer: str, rollouts: RolloutSet, context: str = WHOLE) -> str:
        """Return the path of the parts of a rollout set's log-probs under a scorer in a context."""
        return self._list_or_part(f"{RESULTS}/logprobs/{scorer}/{context}/{rollouts.folder}")

    def _list_or_part(self, folder: str) -> str:
        """Return the path of the list of parts that have jobs of their own or, where there is only one, of the part."""
        parts = self.parts_in(folder)
        return parts[0] if len(parts) == 1 else f"{folder}/{LIST}"

    def trace_parts(self, trace: Trace) -> str:
        """Return the path of the list of the parts of a trace's labelled sentences."""
        return f"{RESULTS}/provenance/{trace.folder}/{LIST}"

    def evidence_parts(self, trace: Trace) -> str | None:
        """Return the path of the list of the parts of a trace's evidence; None if no run trained its distilled model.

        It is the same for all teachers of a run.
        """
        if trace.rollouts.author not in self.distilled:
            return None
        return f"{RESULTS}/evidence/{trace.run}/{trace.rollouts.folder}/{LIST}"

    def float32_check_path(self, trace: Trace) -> str | None:
        """Return the path of the float32 check of a trace's first part; None if nothing is checked."""
        if not self.float32_checked(trace):
            return None
        return self.parts_in(f"{RESULTS}/float32_check/{trace.folder}")[0]

    def separation_parts(self, trace: Trace) -> list[str]:
        """Return the lists of the parts of a trace's separation: one each for teacher, student and distilled model."""
        authors = (trace.teacher, self.config["runs"][trace.run]["student"], trace.rollouts.author)
        sets = [RolloutSet(author, trace.rollouts.questions, trace.rollouts.sampling) for author in authors]
        folders = dict.fromkeys(map(trace.within, sets))
        return [f"{RESULTS}/separation/{trace.run}/{trace.teacher}/{folder}/{LIST}" for folder in folders]

    def oracle_parts(self, trace: Trace) -> str:
        """Return the path of the list of the parts of a trace's oracle labels (in the world)."""
        return f"{RESULTS}/oracle/{trace.folder}/{LIST}"

    def exports(self) -> list[str]:
        """Return the paths of the dataset cards of all selections."""
        return [
            export_path(run, self.candidates(run, teacher), strategy)
            for run, settings in self.config["runs"].items()
            if settings["distilled"] is None
            for teacher in self.pools(run)
            for strategy in settings["strategies"]
        ]

    def selection_settings(self, run: str, teacher: str, strategy: str) -> dict[str, Any]:
        """Return what the config says of how a selection came about, for its dataset card; without paths of files."""
        settings, candidates, equal = self.config["runs"][run], self.candidates(run, teacher), self.equal(run)
        teachers = [rollouts.author for rollouts in self.pools(run)[teacher]]
        source = {key: value for key, value in self.questions(candidates.questions).source.items() if key != "file"}
        drawn = {} if self.is_imported(candidates) else asdict(self.sampling(candidates.sampling))
        return {
            "run": run,
            "strategy": strategy,
            "teacher": teacher,
            "student": settings["student"],
            "strategies": {name: asdict(found) for name, found in self.strategies_behind(run, strategy).items()},
            "equal": equal and equal.unit,
            "models": {name: asdict(self.model_settings(name)) for name in [*teachers, settings["student"]]},
            "questions": {"name": candidates.questions} | source,
            "sampling": {"name": candidates.sampling} | drawn,
            "beta": settings["candidates"]["beta"],
            "seed": self.config["seed"],
        }

    def report_inputs(self) -> list[str]:
        """Return the paths of all artifacts that the report reads or counts, each once."""
        paths = [path for run in self.config["runs"] for path in self._run_inputs(run)]
        paths += [training_path(name) for name in self.distilled]
        traces = [trace for run in self.config["runs"] for trace in self.traces(run)]
        paths += [path(trace) for trace in traces for path in (positions_by_question_path, sensitivity_path)]
        paths += filter(None, map(self.evidence_parts, traces))
        paths += [path for trace in traces for path in self._context_inputs(trace)]
        return list(dict.fromkeys(paths))

    def _run_inputs(self, run: str) -> Iterator[str]:
        for rollouts in self.tests(run):
            yield from self._graded(rollouts)
        for trace in self.traces(run):
            yield from self._trace_inputs(trace)
        yield from (attribution_path(run, rollouts) for rollouts in self.attributed(run))
        yield from (distilldetect_path(run, rollouts) for rollouts in self.detected(run))
        for candidates in self.all_candidates(run):
            yield from self._graded(candidates)
            yield ranking_path(run, candidates)
        for teacher in self.pools(run):
            pool = self.candidates(run, teacher)
            yield from (selection_path(run, pool, s) for s in self.config["runs"][run]["strategies"])

    def _context_inputs(self, trace: Trace) -> Iterator[str]:
        """Yield what the report reads of a trace in the further contexts of its run."""
        for context, other in self.in_contexts(trace).items():
            if context != WHOLE:
                yield from self._labelled_inputs(other)
                yield positions_by_question_path(other)

    def _trace_inputs(self, trace: Trace) -> Iterator[str]:
        yield from self._labelled_inputs(trace)
        if self.has_truth(trace):
            yield self.oracle_parts(trace)
        if checked := self.float32_check_path(trace):
            yield checked
            yield from (in_float32 for _, in_float32 in self.float32_checked(trace).values())

    def _labelled_inputs(self, trace: Trace) -> Iterator[str]:
        yield self.trace_parts(trace)
        yield positions_path(trace)
        if self.has_truth(trace):
            yield from self.separation_parts(trace)
            yield validation_path(trace)
        for scorer in self.scorers(trace).values():
            yield self.logprobs_parts(scorer, trace.rollouts, trace.context)

    def explorer_inputs(self) -> list[str]:
        """Return the paths of all artifacts that the explorer reads, each once."""
        return list(dict.fromkeys(path for run in self.config["runs"] for path in self._explored(run)))

    def _explored(self, run: str) -> Iterator[str]:
        student = self.config["runs"][run]["student"]
        for rollouts in self.tests(run):
            yield from self._graded(rollouts)
        for trace in self.traces(run):
            yield self.trace_parts(trace)
            yield from (self.logprobs_parts(scorer, trace.rollouts) for scorer in self.scorers(trace).values())
            if evidence := self.evidence_parts(trace):
                yield evidence
            if self.has_truth(trace):
                yield self.rollouts_parts("truth", trace.rollouts)
            if checked := self.float32_check_path(trace):
                yield checked
        for candidates in self.all_candidates(run):
            yield from self._graded(candidates)
            yield self.sentences_parts(candidates)
            yield from (self.logprobs_parts(scorer, candidates) for scorer in (candidates.author, student))
            yield ranking_path(run, candidates)
        for teacher in self.pools(run):
            pool = self.candidates(run, teacher)
            yield from (selection_path(run, pool, s) for s in self.config["runs"][run]["strategies"])

    def _graded(self, rollouts: RolloutSet) -> Iterator[str]:
        yield self.questions_parts(rollouts.questions)
        yield self.rollouts_parts("rollouts", rollouts)
        yield self.rollouts_parts("grades", rollouts)


def logprobs_path(scorer: str, rollouts: RolloutSet, part: str) -> str:
    """Return the path of one part of a rollout set's log-probs under a scorer, in context `full`."""
    return f"{RESULTS}/logprobs/{scorer}/full/{rollouts.folder}/{part}.arrow"


def positions_path(trace: Trace) -> str:
    """Return the path of a trace's label positions."""
    return f"{RESULTS}/positions/{trace.folder}.arrow"


def positions_by_question_path(trace: Trace) -> str:
    """Return the path of a trace's label positions, for each question."""
    return f"{RESULTS}/positions_by_question/{trace.folder}.arrow"


def sensitivity_path(trace: Trace) -> str:
    """Return the path of a trace's label counts under other thresholds and splitters."""
    return f"{RESULTS}/sensitivity/{trace.folder}.arrow"


def validation_path(trace: Trace) -> str:
    """Return the path of a trace's label counts by true origin (in the world)."""
    return f"{RESULTS}/validation/{trace.folder}.arrow"


def attribution_path(run: str, rollouts: RolloutSet) -> str:
    """Return the path of the leans, between a run's teachers, of the answers of distilled model and student."""
    return f"{RESULTS}/attribution/{run}/{rollouts.folder}.arrow"


def distilldetect_path(run: str, rollouts: RolloutSet) -> str:
    """Return the path of the losses of distilled model (the author) and student on the answers of a run's teachers."""
    return f"{RESULTS}/distilldetect/{run}/{rollouts.folder}.arrow"


def ranking_path(run: str, rollouts: RolloutSet) -> str:
    """Return the path of the scores of a run's candidates."""
    return f"{RESULTS}/ranking/{run}/{rollouts.folder}.arrow"


def selection_path(run: str, rollouts: RolloutSet, strategy: str) -> str:
    """Return the path of what a strategy selects from a run's candidates, those of one teacher or `pooled`."""
    return f"{RESULTS}/selection/{run}/{rollouts.folder}/{strategy}.arrow"


def export_path(run: str, rollouts: RolloutSet, strategy: str) -> str:
    """Return the path of the dataset card of an exported selection, from one teacher's candidates or `pooled` ones."""
    return f"{RESULTS}/export/{run}/{rollouts.folder}/{strategy}/README.md"


def model_path(name: str) -> str:
    """Return the path of a model's card."""
    return f"{RESULTS}/models/{name.removesuffix(FLOAT32)}/model.json"


def training_path(name: str) -> str:
    """Return the path of the training log of a fine-tuned model."""
    return f"{RESULTS}/models/{name}/training.arrow"


def load_plan(config: Config) -> Plan:
    """Return the plan of a config, with defaults filled in; raise DistraceError with a line for each mistake."""
    return Plan(complete(config))


def _pick(settings: type[Settings], values: dict[str, Any]) -> Settings:
    return settings(**{name: values[name] for name in settings.__annotations__ if name in values})
