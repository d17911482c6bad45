"""The workflow's measures as plain functions on frames, for a notebook: no config, no Snakemake, nothing on disk.

    import distrace

    teacher, student = distrace.model("teachers/big"), distrace.model("owner/small", "main", format="plain")
    given = distrace.responses([{"question": "1+1?", "text": "It is 2. So 2."}])
    scored = {name: distrace.score(one, given) for name, one in {"teacher": teacher, "student": student}.items()}
    labelled = distrace.label(given, **scored, distilled=distrace.score(mine, given))
    distrace.show(labelled)

They are the functions of the nodes, so the numbers are the workflow's (docs/library.md).
"""

import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from distrace import kinds
from distrace.artifacts import open_artifact, read_rejects, write, write_rejects
from distrace.errors import DistraceError
from distrace.identity import digest, short_id
from distrace.measures.labels import LABELS, PAPER, ROLES, RULES, Thresholds, label_of
from distrace.measures.probabilities import why_unknown, with_probability
from distrace.measures.scores import ALWAYS, SCORES, candidates_of, compared, scored, why_unranked
from distrace.models import Card, read_card, write_card
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.model import write_model
from distrace.pages.texts import COLOURS, LETTERS
from distrace.parts import open_parts
from distrace.settings import Execution, ModelSettings
from distrace.text.splitting import SPLITTERS, sentences_of

_ROLLOUTS = tuple(kinds.ROLLOUTS.schema.names)
_LOGPROBS = ("rollout_id", "starts", "ends", "logprobs")


@dataclass(frozen=True)
class Model:
    """A model: where it lies, how it is prompted, and what changes its speed alone."""

    card: Card
    settings: ModelSettings
    execution: Execution


def model(
    source: str | Path, revision: str | None = None, name: str = "model", gpus: int = 0, **settings: Any
) -> Model:
    """Return a model of a folder, of the hub (with its `revision`), or of a run (`results/models/NAME/model.json`).

    `settings` are those of a model in the config that change its log-probs: `format`, `instruction`, `dtype`, ...
    Raises DistraceError if the model's files are not whole, or if no prompt can be written with its tokenizer.
    """
    if unknown := sorted(settings.keys() - {field.name for field in fields(ModelSettings)}):
        raise DistraceError(f"no settings {unknown}; there are {[field.name for field in fields(ModelSettings)]}")
    chosen = ModelSettings(**settings)
    if Path(source).suffix == ".json":
        return Model(read_card(Path(source)), chosen, Execution(gpus=gpus))
    where = {"hub": str(source), "revision": revision} if revision else {"folder": str(source)}
    with TemporaryDirectory() as folder:
        write_model(name, where, Path(folder) / "model.json", chosen)
        return Model(read_card(Path(folder) / "model.json"), chosen, Execution(gpus=gpus))


def responses(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the frame of responses that the other functions take, from rows with `question` and `text`.

    With `answer_start`, the characters before it are reasoning. A row may have an `id`; else it follows from the rest.
    Raises DistraceError, with the number of the row, if one lacks a text.
    """
    found: list[dict[str, Any]] = []
    samples: dict[str, int] = {}
    for number, row in enumerate(rows):
        question, text, start = row.get("question"), row.get("text"), row.get("answer_start", 0)
        if not isinstance(question, str) or not isinstance(text, str) or not text.strip():
            raise DistraceError(
                f"response {number}: needs a `question` and a `text` that is not empty; it is {dict(row)}"
            )
        if not isinstance(start, int) or not 0 <= start <= len(text):
            raise DistraceError(f"response {number}: answer_start {start!r} lies outside of its {len(text)} characters")
        sample = samples[question] = samples.get(question, -1) + 1
        found.append(
            {
                "rollout_id": str(row.get("id") or short_id("given", question, sample, text)),
                "question_id": short_id(question),
                "sample": sample,
                "text": text,
                "answer_start": start,
                "token_ids": None,
                "logprobs": None,
                "finish_reason": "imported",
                "question": question,
            }
        )
    schema: dict[str, Any] = {**pl.DataFrame(kinds.ROLLOUTS.schema.empty_table()).schema, "question": pl.String}
    table = pl.DataFrame(found, schema=schema)
    if table["rollout_id"].is_duplicated().any():
        raise DistraceError("two responses have one id")
    return table


def read(path: str | Path) -> pl.DataFrame:
    """Return any artifact of a run as a frame: a part, or all by their list; raise DistraceError if one is broken."""
    return open_parts(path).read()


def rejected_rows(path: str | Path) -> pl.DataFrame:
    """Return the rows that were set aside beside an artifact: `source`, `row` and `reason`."""
    return read_rejects(Path(path))


def read_responses(rollouts: str | Path, questions: str | Path) -> pl.DataFrame:
    """Return the responses of a run, as `responses` gives them, with their questions and their author's tokens."""
    asked = read(questions).select("question_id", "question")
    return read(rollouts).select(_ROLLOUTS).join(asked, on="question_id", how="left", maintain_order="left")


def score(by: Model, given: pl.DataFrame, own: bool = False) -> pl.DataFrame:
    """Return the log-probs of responses under a model: a row each, with lists over the tokens that carry its text.

    `logprobs` are natural, `starts` and `ends` characters of `text`. With `own`, the model itself wrote the responses:
    their `token_ids` are scored, not those of the text tokenised again. A response that cannot be scored has nulls, and
    the `reason`. Raises DistraceError if the model cannot be loaded.
    """
    with TemporaryDirectory() as place:
        folder = Path(place)
        asked, written, card, out = (folder / name for name in ("q.arrow", "r.arrow", "model.json", "out.arrow"))
        write_card(card, by.card)
        _write_questions(given, asked)
        _write_rollouts(given, by if own else None, open_artifact(asked).fingerprint, written)
        score_rollouts(written, asked, card, by.settings, by.execution, "full", out)
        table, rejects = open_artifact(out).read(), read_rejects(out)
    reasons = rejects.select(pl.col("source").alias("rollout_id"), "reason")
    ids = given.select("rollout_id")
    return ids.join(table, on="rollout_id", how="left", maintain_order="left").join(
        reasons, on="rollout_id", how="left", maintain_order="left"
    )


def sentences(given: pl.DataFrame, splitter: str = "sentences") -> pl.DataFrame:
    """Return the sentences of responses: `rollout_id`, `sentence` (its number), `start` and `end` (characters)."""
    if splitter not in SPLITTERS:
        raise DistraceError(f"no splitter {splitter!r}; there are {', '.join(SPLITTERS)}")
    rows = sentences_of(given.select("rollout_id", "text", "answer_start"), splitter)
    return pl.DataFrame(rows, schema=pl.DataFrame(kinds.SENTENCES.schema.empty_table()).schema)


def label(
    given: pl.DataFrame,
    teacher: pl.DataFrame,
    student: pl.DataFrame,
    distilled: pl.DataFrame,
    alpha: float = 0.05,
    beta: float = 0.1,
    splitter: str = "sentences",
    rule: str = PAPER,
) -> pl.DataFrame:
    """Return the sentences of responses with their label, from the log-probs under three models (`score`).

    Beside it `text` and, for each model, `p_MODEL`, the geometric mean of its tokens' probabilities. A sentence without
    a probability under one of them has no label, and a `reason`. Raises DistraceError if there is no such rule.
    """
    if rule not in RULES:
        raise DistraceError(f"no rule {rule!r}; there are {', '.join(RULES)}")
    table = sentences(given, splitter)
    for role, logprobs in zip(ROLES, (teacher, student, distilled), strict=True):
        known = logprobs.filter(pl.col("logprobs").is_not_null()).select(_LOGPROBS)
        table = with_probability(table, known, role)
    texts = given.select("rollout_id", pl.col("text").alias("_whole"))
    whole = table.join(texts, on="rollout_id", how="left", maintain_order="left")
    reason = why_unknown(ROLES)
    return whole.with_columns(
        pl.when(reason.is_null()).then(label_of(Thresholds(alpha, beta, rule))).alias("label"),
        reason.alias("reason"),
        pl.col("_whole").str.slice(pl.col("start"), pl.col("end") - pl.col("start")).alias("text"),
    ).drop("_whole")


def rank(
    given: pl.DataFrame,
    teacher: pl.DataFrame,
    student: pl.DataFrame,
    scores: Iterable[str] = ALWAYS,
    beta: float = 0.1,
    seed: int = 0,
    splitter: str = "sentences",
) -> pl.DataFrame:
    """Return candidates with a column for each score (docs/scores.md), from the log-probs under teacher and student.

    `reason` says why a candidate cannot be ranked. Raises DistraceError for a score that needs more than log-probs.
    """
    wanted = list(scores)
    if unknown := [name for name in wanted if name not in SCORES]:
        raise DistraceError(f"no score {unknown[0]!r}; there are {', '.join(SCORES)}")
    if needy := [name for name in wanted if SCORES[name].needs]:
        raise DistraceError(
            f"the score {needy[0]!r} needs {', '.join(SCORES[needy[0]].needs)}: use the workflow for it"
        )
    chosen = {name: SCORES[name] for name in dict.fromkeys([*ALWAYS, *wanted])}
    known = [found.filter(pl.col("logprobs").is_not_null()) for found in (teacher, student)]
    candidates = candidates_of(
        given.select("rollout_id", "question_id", "sample", "text", "finish_reason"),
        sentences(given, splitter),
        known[0].select(_LOGPROBS),
        known[1].select(*_LOGPROBS, "ranks"),
        beta,
        seed,
    )
    table = scored(candidates, chosen).with_columns(why_unranked().alias("reason"))
    ranked = compared(table.filter(pl.col("reason").is_null()), chosen)
    left_out = table.filter(pl.col("reason").is_not_null()).select("rollout_id", "question_id", "sample", "reason")
    return pl.concat([ranked, left_out], how="diagonal_relaxed")


@dataclass(frozen=True)
class Shown:
    """Labelled responses in colour: HTML in a notebook, a letter before each sentence elsewhere."""

    labelled: pl.DataFrame

    def _repr_html_(self) -> str:
        legend = " &ensp; ".join(f"<span style='{_style(name)}'>{name}</span>" for name in LABELS)
        shown = [_as_html(rows) for _, rows in self.labelled.group_by("rollout_id", maintain_order=True)]
        return "\n".join([f"<div>{legend}</div>", *shown])

    def __repr__(self) -> str:
        """Return the responses, each sentence after the letter of its label."""
        marked = self.labelled.select(
            "rollout_id",
            pl.format("[{}] {}", pl.col("label").replace_strict(LETTERS, default="?"), pl.col("text")).alias("marked"),
        )
        joined = marked.group_by("rollout_id", maintain_order=True).agg(pl.col("marked").str.join(""))
        return "\n\n".join(joined["marked"])


def show(labelled: pl.DataFrame) -> Shown:
    """Return labelled sentences (`label`) to be shown in colour, each response as a whole; its text is escaped."""
    return Shown(labelled)


def _as_html(rows: pl.DataFrame) -> str:
    spans = []
    for text, name, reason, *values in rows.select(
        "text", "label", "reason", *(f"p_{role}" for role in ROLES)
    ).iter_rows():
        told = [f"{role} {value:.3f}" for role, value in zip(ROLES, values, strict=True) if value is not None]
        title = html.escape(f"{name or reason}: {', '.join(told)}", quote=True)
        # A mark of direction in one sentence must not turn the next one round.
        spans.append(f"<bdi style='{_style(name)}' title=\"{title}\">{html.escape(text, quote=True)}</bdi>")
    return f"<div style='white-space: pre-wrap; margin: 1em 0'>{''.join(spans)}</div>"


def _style(name: str | None) -> str:
    return f"border-bottom: 3px solid {COLOURS[name]}" if name else "opacity: 0.6"


def _write_questions(given: pl.DataFrame, path: Path) -> None:
    asked = given.select("question_id", "question").unique(maintain_order=True)
    rows = asked.with_columns(answer=pl.lit(""), solution=pl.lit(None, pl.String))
    write_rejects(path, [], {})
    write(path, kinds.QUESTIONS, rows, {"content": digest(rows.rows())})


def _write_rollouts(given: pl.DataFrame, author: Model | None, questions: str, path: Path) -> None:
    table = given.select(_ROLLOUTS)
    identity: dict[str, Any] = {"questions": questions, "content": digest(table.rows())}
    if author:
        identity |= {"model": author.card.fingerprint, "settings": asdict(author.settings)}
    write_rejects(path, [], {})
    write(path, kinds.ROLLOUTS, table, identity)
