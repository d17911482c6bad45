"""A world with siblings: teachers of one line, and students of each, of rewritten traces, or of their own answers.

It calls the nodes of the workflow one after another in this process, since their jobs would spend most of the time on
starting. What is in the folder already is not made again, so a stopped run goes on.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from distrace import kinds, world
from distrace.artifacts import open_artifact, write_with_rejects
from distrace.nodes.finetune import write_finetuned
from distrace.nodes.fresh import Fresh, write_fresh
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.rollouts import sample_rollouts
from distrace.nodes.sentences import write_sentences
from distrace.questions import Cut, Questions, write_parts
from distrace.settings import Execution, ModelSettings, Sampling, Training

# The true teacher, the same one trained on, the same corpus learned with another seed, and one with words of its own.
TEACHERS = ("first", "first_on", "first_again", "other")
STUDENTS = 4  # of each teacher, each trained on questions of its own
OTHERS = 2  # students of each rewritten trace, and of the student's own answers
REWRITTEN = {"rewritten_as_student": "student", "rewritten_as_other": "teacher_b"}
TRAIN = 500  # questions that one student learns from

_CORPORA = {
    "first": {"split": "teacher_corpus", "style": "teacher", "count": 4000, "skip": 0},
    "first_on": {"split": "teacher_corpus", "style": "teacher", "count": 8000, "skip": 4000},
    "other": {"split": "teacher_b_corpus", "style": "teacher_b", "count": 4000, "skip": 0},
    "student": {"split": "student_corpus", "style": "student", "count": 4000, "skip": 0},
}
# Each model that is trained from scratch: its corpus, the size of its vocabulary, and what is added to the seed.
_SCRATCH = {"first": ("first", 400, 0), "first_again": ("first", 400, 10), "other": ("other", 400, 2)}
_STUDENT = ("student", 360, 1)
_SETTINGS = ModelSettings(format="plain")
_STEPS = {"batch_size": 16, "micro_batch_size": 16, "warmup": 0.05, "max_length": 256}
_FROM_SCRATCH = partial(Training, learning_rate=4e-3, **_STEPS)
_TRAINED_ON = partial(Training, max_steps=400, learning_rate=2e-3, **_STEPS)
_DISTIL = partial(Training, epochs=4, learning_rate=2e-3, batch_size=16, micro_batch_size=16, max_length=256)


@dataclass(frozen=True)
class Size:
    """How large a world is: its models, the steps of a training from scratch, and the test."""

    hidden: int = 64
    layers: int = 3
    steps: int = 1300
    test_questions: int = 400


def pupils() -> list[tuple[str, int]]:
    """Return the students that are trained: what each learned from, and its number."""
    taught = [(teacher, number) for teacher in TEACHERS for number in range(STUDENTS)]
    return taught + [(origin, number) for origin in (*REWRITTEN, "student") for number in range(OTHERS)]


def answers_path(folder: Path, kind: str, author: str, scorer: str = "") -> Path:
    """Return where an author's answers to the test questions lie, or their sentences, or a scorer's log-probs."""
    return folder / kind / scorer / author / "test" / "0.arrow"


def make_world(folder: Path, seed: int, size: Size) -> None:
    """Train all models of a world, let them answer the test questions, and score the answers."""
    _write_questions(folder, seed, size.test_questions)
    _train_teachers(folder, seed, size)
    for author in (*TEACHERS, "student"):
        for part in range(STUDENTS if author in TEACHERS else OTHERS):
            _answer(folder, author, f"train/{part}", Sampling(max_tokens=140, seed=seed))
    for author in (*TEACHERS, "student"):
        _answer_test(folder, author, seed)
        for teacher in TEACHERS:
            _score(folder, teacher, author)
    for teacher in TEACHERS:
        _score(folder, "student", teacher)
    for origin, number in pupils():
        name = f"{origin}.{number}"
        _teach(folder, origin, number, seed)
        _answer_test(folder, name, seed)
        for teacher in TEACHERS:
            _score(folder, teacher, name)
            _score(folder, name, teacher)


def _once(out: Path, make, *arguments, **named) -> None:
    """Call `make` unless what it writes is there; artifacts and cards are moved into place when they are whole."""
    if not out.is_file():
        make(*arguments, **named)


def _card(folder: Path, model: str) -> Path:
    return folder / "models" / model / "model.json"


def _write_questions(folder: Path, seed: int, test_questions: int) -> None:
    for name, corpus in _CORPORA.items():
        source = {"split": corpus["split"], "style": corpus["style"], "count": corpus["count"], "swaps": [1, 6]}
        _questions(folder / "questions" / name, source, seed, corpus["skip"])
    train = {"split": "train", "count": TRAIN * STUDENTS, "swaps": [2, 4]}
    _questions(folder / "questions" / "train", train, seed, parts=STUDENTS)
    _questions(folder / "questions" / "test", {"split": "test", "count": test_questions, "swaps": [2, 4]}, seed)


def _questions(folder: Path, source: dict, seed: int, skip: int = 0, parts: int = 1) -> None:
    write_parts(Questions({"world": source}, skip=skip, seed=seed), Cut(parts), folder)


def _train_teachers(folder: Path, seed: int, size: Size) -> None:
    for model, (corpus, vocabulary, more) in (_SCRATCH | {"student": _STUDENT}).items():
        shape = {"hidden": size.hidden, "layers": size.layers}
        fresh = Fresh(vocabulary=vocabulary, words=model != "student", seed=seed + more, **shape)
        untrained, corpus_path = _card(folder, f"{model}_untrained"), folder / "questions" / corpus / "0.arrow"
        _once(untrained, write_fresh, f"{model}_untrained", fresh, corpus_path, untrained)
        _finetune(folder, model, untrained, _FROM_SCRATCH(seed=seed + more, max_steps=size.steps), corpus_path)
    corpus_path = folder / "questions" / "first_on" / "0.arrow"
    _finetune(folder, "first_on", _card(folder, "first"), _TRAINED_ON(seed=seed), corpus_path)


def _finetune(folder: Path, model: str, base: Path, training: Training, learned: Path) -> None:
    card = _card(folder, model)
    _once(card, write_finetuned, model, base, _SETTINGS, training, learned, card)


def _answer(folder: Path, author: str, asked: str, sampling: Sampling) -> None:
    out = folder / "rollouts" / author / f"{asked}.arrow"
    asked_path = folder / "questions" / f"{asked}.arrow"
    _once(out, sample_rollouts, asked_path, _card(folder, author), _SETTINGS, sampling, Execution(), out)


def _teach(folder: Path, origin: str, number: int, seed: int) -> None:
    """Train the student on what a teacher (or it itself) wrote to the questions of part `number`, rewritten or not."""
    name = f"{origin}.{number}"
    learned = folder / "questions" / "learned" / f"{name}.arrow"
    _once(learned, _write_learned, folder, origin, number, learned)
    _finetune(folder, name, _card(folder, "student"), _DISTIL(seed=seed + number), learned)


def _write_learned(folder: Path, origin: str, number: int, out: Path) -> None:
    author = "first" if origin in REWRITTEN else origin
    written = open_artifact(folder / "rollouts" / author / "train" / f"{number}.arrow", kinds.ROLLOUTS)
    asked = open_artifact(folder / "questions" / "train" / f"{number}.arrow", kinds.QUESTIONS)
    whole = written.read("question_id", "text", "finish_reason").filter(pl.col("finish_reason") == "stop")
    style = REWRITTEN.get(origin)
    texts = [world.rewritten(text, style) if style else text for text in whole["text"]]
    rows = asked.read("question_id", "question", "answer").join(
        whole.select("question_id", pl.Series("solution", texts)), on="question_id", maintain_order="left"
    )
    identity = {"rollouts": written.fingerprint, "rewritten": style}
    write_with_rejects(out, kinds.QUESTIONS, rows, [], identity, len(rows))


def _answer_test(folder: Path, author: str, seed: int) -> None:
    _answer(folder, author, "test/0", Sampling(max_tokens=140, temperature=0.6, seed=seed))
    _once(answers_path(folder, "sentences", author), _cut, folder, author)


def _cut(folder: Path, author: str) -> None:
    write_sentences(answers_path(folder, "rollouts", author), "sentences", answers_path(folder, "sentences", author))


def _score(folder: Path, scorer: str, author: str) -> None:
    out = answers_path(folder, "logprobs", author, scorer)
    written, asked = answers_path(folder, "rollouts", author), folder / "questions" / "test" / "0.arrow"
    _once(out, score_rollouts, written, asked, _card(folder, scorer), _SETTINGS, Execution(), "full", out)
