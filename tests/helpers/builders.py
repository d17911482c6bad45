"""Small artifacts for tests, written through the same functions as the real ones."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, rejects_path, write_rejects
from distrace.artifacts import write as write_artifact
from distrace.identity import short_id
from distrace.nodes.sentences import write_sentences
from distrace.parts import part_names, write_list

Token = tuple[int, int, float]  # first character, character after the last, natural log-prob


def write(path: Path, kind: kinds.Kind, rows: object, identity: Mapping) -> str:
    """Write an artifact and, if its kind has rejects, none of them."""
    if kind.has_rejects:
        write_rejects(path, [], {})
    return write_artifact(path, kind, rows, identity)


def rejects_of(path: Path) -> list[dict]:
    return open_artifact(rejects_path(path), kinds.REJECTS).read().to_dicts()


def write_parts(folder: Path, *artifacts: Path) -> Path:
    """Write the list of the parts that lie in a folder, and give its path; artifacts named are copied there before."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, artifact in zip(part_names(len(artifacts)), artifacts, strict=True):
        shutil.copyfile(artifact, folder / f"{name}.arrow")
        if rejects_path(artifact).is_file():
            shutil.copyfile(rejects_path(artifact), folder / f"{name}.rejects.arrow")
    count = sum(path.stem.isdecimal() for path in folder.glob("*.arrow"))
    write_list([folder / f"{name}.arrow" for name in part_names(count)], folder / "parts.arrow")
    return folder / "parts.arrow"


def forget_kept(out: Path) -> None:
    """Remove what earlier jobs kept of an artifact, so that the next one computes all of it."""
    shutil.rmtree(out.with_name(f".{out.name}.kept"), ignore_errors=True)


def write_questions(path: Path, answers: Mapping[str, str]) -> Path:
    rows = [
        {"question_id": short_id(question), "question": question, "answer": answer, "solution": None}
        for question, answer in answers.items()
    ]
    write(path, kinds.QUESTIONS, rows, {"of": dict(answers)})
    return path


def write_rollouts(path: Path, questions: Path, texts: Mapping[str, tuple[str, str]], **columns: object) -> Path:
    """Write a response for each rollout id: its question and its text. `columns` hold for all responses."""
    rows = [
        {
            "rollout_id": rollout_id,
            "question_id": short_id(question),
            "sample": sample,
            "text": text,
            "answer_start": 0,
            "token_ids": None,
            "logprobs": None,
            "finish_reason": "stop",
        }
        | columns
        for sample, (rollout_id, (question, text)) in enumerate(texts.items())
    ]
    asked = open_artifact(questions).fingerprint
    write(path, kinds.ROLLOUTS, rows, {"questions": asked, "texts": texts, "columns": columns})
    return path


def write_lines(path: Path, rollouts: Path) -> Path:
    """Write the sentences of rollouts, of which each line is one."""
    write_sentences(rollouts, "lines", path)
    return path


def write_logprobs(path: Path, rollouts: Path, tokens: Mapping[str, list[Token]]) -> Path:
    rows = [
        {
            "rollout_id": rollout_id,
            "token_ids": [7] * len(found),
            "starts": [start for start, _, _ in found],
            "ends": [end for _, end, _ in found],
            "logprobs": [logprob for _, _, logprob in found],
            "ranks": [1] * len(found),
        }
        for rollout_id, found in tokens.items()
    ]
    identity = {"rollouts": open_artifact(rollouts).fingerprint, "tokens": tokens}
    write(path, kinds.LOGPROBS, rows, identity)
    return path


def write_probabilities(path: Path, sentences: Path, rollouts: Path, values: Mapping[str, list[float]]) -> Path:
    """Write log-probs of one token for each sentence, by its probability."""
    table = open_artifact(sentences, kinds.SENTENCES).read()
    tokens = {
        rollout_id: [
            (start, end, math.log(value))
            for (start, end), value in zip(
                table.filter(pl.col("rollout_id") == rollout_id).select("start", "end").iter_rows(),
                probabilities,
                strict=True,
            )
        ]
        for rollout_id, probabilities in values.items()
    }
    return write_logprobs(path, rollouts, tokens)


def write_grades(path: Path, rollouts: Path, correct: Mapping[str, bool | None]) -> Path:
    """Write a grade for each rollout id; it must be one of the rollouts."""
    questions = dict(open_artifact(rollouts, kinds.ROLLOUTS).read("rollout_id", "question_id").iter_rows())
    rows = [
        {"rollout_id": r, "question_id": questions[r], "extracted": None, "correct": value, "reason": None}
        for r, value in correct.items()
    ]
    write(path, kinds.GRADES, rows, {"rollouts": open_artifact(rollouts).fingerprint, "correct": correct})
    return path


SCORES = ("teacher_count", "random", "longest", "grape")


def ranking(*rows: tuple) -> pl.DataFrame:
    """Return a ranking from rows of question and scores; a response is named by its row, and has `longest` tokens."""
    frame = pl.DataFrame(rows, schema=["question_id", *SCORES], orient="row")
    return frame.select(
        pl.int_range(pl.len()).cast(pl.String).alias("rollout_id"),
        "question_id",
        pl.lit(0).alias("sample"),
        pl.col("longest").cast(pl.Float64).alias("tokens"),
        *(pl.col(score).cast(pl.Float64) for score in SCORES),
    )


RANKED = ranking(
    ("x", 3, 0.1, 50, -0.9),
    ("y", 1, 0.2, 10, -0.1),
    ("x", 2, 0.9, 90, -0.2),
    ("x", 1, 0.5, 20, -0.1),
    ("y", 0, 0.3, 20, -0.3),
)
SUMS = [(f"Add {a} and {b}.", f"The sum is {a + b}.") for a in range(4) for b in range(4)]


def write_sums(path: Path) -> Path:
    """Write the questions of `SUMS` with their solutions."""
    rows = [
        {"question_id": short_id(question), "question": question, "answer": solution[11:-1], "solution": solution}
        for question, solution in SUMS
    ]
    write(path, kinds.QUESTIONS, rows, {"made": "here"})
    return path


def position_counts(table: pl.DataFrame) -> dict:
    """Return the labels that occur, by position and correctness: {label: (sentences, responses)}."""
    found: dict = {}
    for row in table.filter(pl.col("sentences") > 0).iter_rows(named=True):
        place = found.setdefault((row["position"], row["correct"]), {})
        place[row["label"]] = (row["sentences"], row["responses"])
    return found
