"""The card of an exported selection: a README.md as `datasets` and the hub read it.

It says which models, sampling, scores and thresholds the rows come from, and what became of all other responses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from distrace import __version__
from distrace.export.files import LLAMA_FACTORY, PARQUET, TRL
from distrace.models import Card

CARD = "README.md"
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}


@dataclass(frozen=True)
class Account:
    """What became of the responses that were asked for: how many, by reason where there are several.

    Some were not drawn or not ranked, some could not have been chosen by the strategy, or were passed over; of the
    chosen ones, some could not be written.
    """

    undrawn: Mapping[str, int]
    unranked: Mapping[str, int]
    not_eligible: Mapping[str, int]
    passed_over: int
    unwritten: Mapping[str, int]
    rows: int


def dataset_card(
    about: Mapping[str, Any],
    models: Sequence[tuple[str, Card]],
    scores: pl.DataFrame,
    chosen: pl.DataFrame,
    account: Account,
    fingerprint: str,
) -> str:
    """Return the text of the card.

    `about` is what the config says of the selection (`Plan.selection_settings`), `models` are roles with their cards,
    `scores` are those of all ranked candidates, `chosen` those of the selected ones.
    """
    teachers = " and ".join(f"`{card.name}`" for role, card in models if role == "teacher")
    return f"""\
---
{yaml.safe_dump(_metadata(account.rows), sort_keys=False)}---

# {about["run"]}: {about["strategy"]} of {about["teacher"]} for {about["student"]}

{account.rows} responses of {teachers}, selected from all candidates by the strategy `{about["strategy"]}` to train
`{about["student"]}` on them. Made by distrace {__version__}; fingerprint `{fingerprint}`.

- `{PARQUET}`, which `load_dataset` opens, holds questions and responses as they are. The first `answer_start`
  characters of a response are reasoning.
- `{TRL}` holds `prompt` and `completion` for TRL, in the student's format.
- `{LLAMA_FACTORY.parent}` is a `dataset_dir` of LLaMA-Factory.

Each row has its scores, and the fingerprints of the artifacts that it is from.

## Licence

None is given here. Who passes the data on states one that the questions' source and the models' makers allow.

## Models

{_table(("role", "name", "source", "revision", "fingerprint"), _model_rows(models))}

## Settings

{_table(("setting", "value"), _flat(about))}

## Scores

Means over all ranked candidates, and over the chosen ones, as far as they have the score.

{_table(("score", "candidates", "mean", "chosen", "mean"), _score_rows(scores, chosen))}

## What became of the candidates

{_table(("what", "responses"), _account_rows(account))}
"""


def _metadata(rows: int) -> dict[str, Any]:
    # One config: `datasets` takes all files of a folder for files of one type.
    files = [{"split": "train", "path": str(PARQUET)}]
    size = next((size for below, size in _SIZES.items() if rows < below), "n>1M")
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "tags": ["distillation", "distrace"],
        "size_categories": [size],
    }


def _model_rows(models: Sequence[tuple[str, Card]]) -> Iterable[tuple[object, ...]]:
    for role, card in models:
        source = card.location if card.revision else "weights of its own"  # a folder's path says nothing elsewhere
        yield role, card.name, source, card.revision or "", card.fingerprint


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield the names and values of nested settings, without those that are not set."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def _score_rows(scores: pl.DataFrame, chosen: pl.DataFrame) -> Iterable[tuple[object, ...]]:
    for name in scores.columns:
        if name != "sample" and scores[name].dtype.is_numeric():
            found = [frame[name].drop_nulls() for frame in (scores, chosen)]
            yield name, *(cell for values in found for cell in (len(values), _rounded(values.mean())))


def _rounded(value: object) -> str:
    return "" if value is None else f"{value:.4g}"


def _account_rows(account: Account) -> Iterable[tuple[object, ...]]:
    left_out = {"not drawn": account.undrawn, "not ranked": account.unranked, "not eligible": account.not_eligible}
    for what, reasons in left_out.items():
        yield from ((f"{what}: {reason}", count) for reason, count in reasons.items())
    yield "eligible and passed over", account.passed_over
    yield from ((f"chosen and not written: {reason}", count) for reason, count in account.unwritten.items())
    yield "chosen, the rows of this data set", account.rows


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    """Return a value as text that neither ends the cell nor is read as a tag."""
    text = " ".join(str(value).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
