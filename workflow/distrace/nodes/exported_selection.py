"""The exported_selection node: what a strategy chose, as a data set for `datasets`, TRL and LLaMA-Factory.

The folder of the dataset card is one to hand on; docs/export.md says what is in it. Its files are written in a hidden
folder beside it and moved into it at the end, the card last; what else is in the folder stays.
Run by the workflow as `python -m distrace.nodes.exported_selection --about JSON --questions PARTS --rollouts PARTS...
--rankings FILE... --selection FILE --teachers FILE... --student FILE --settings JSON --out README.md`.
"""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from distrace import command, kinds
from distrace.artifacts import Artifact, open_artifact, reasons_of, write_rejects
from distrace.errors import DistraceError
from distrace.export.card import Account, dataset_card
from distrace.export.files import write_files
from distrace.export.forms import examples
from distrace.export.llama_factory import INFO, RECIPE, dataset_info, recipe
from distrace.identity import digest
from distrace.models import load_tokenizer, read_card
from distrace.parts import fingerprints, open_parts, reasons_in_parts
from distrace.rejects import Reject
from distrace.selected import selected_responses
from distrace.settings import ModelSettings
from distrace.sources import source_digest
from distrace.text.prompts import load_format

log = logging.getLogger(__name__)


def write_exported_selection(
    about: dict[str, Any],
    questions: Path,
    rollouts: list[Path],
    rankings: list[Path],
    selection: Path,
    teachers: list[Path],
    student: Path,
    settings: ModelSettings,
    out: Path,
    threads: int = 1,
) -> None:
    """Write the dataset card at `out`, and the data files of the chosen responses beside it.

    `rollouts`, `rankings` and `teachers` (cards) belong to each other in order; `settings` are the student's, and
    `about` is what the config says of the selection. A response that the student's format cannot write is rejected.
    Raises DistraceError if none is left.
    """
    asked = open_parts(questions, kinds.QUESTIONS)
    written = [open_parts(path, kinds.ROLLOUTS) for path in rollouts]
    ranked = [open_artifact(path, kinds.RANKING) for path in rankings]
    selected = open_artifact(selection, kinds.SELECTION)
    learner = read_card(student)
    models = [*(("teacher", read_card(path)) for path in teachers), ("student", learner)]
    candidates, judged = _candidates(ranked), selected.read()
    chosen = _chosen(selected, judged, candidates)
    tokenizer = load_tokenizer(learner, settings.trust_remote_code)
    form = load_format(settings, tokenizer)
    rejects: list[Reject] = []
    rows = examples(selected_responses(asked, written, selected), tokenizer, form, threads, rejects)
    identity = {
        "version": source_digest("nodes.exported_selection"),
        "inputs": fingerprints([asked, *written, *ranked, selected]),
        "models": [card.fingerprint for _, card in models],
        "settings": asdict(settings),
        "about": about,
    }
    name = ".".join(str(about[key]) for key in ("run", "teacher", "strategy"))
    with _moved_into(out.parent, last=out.name) as folder:
        count = write_files(folder, rows, chosen)
        if not count:
            raise DistraceError(f"{out}: no chosen response is left to export; first reason: {rejects[:1]}")
        account = Account(
            undrawn=_reasons(reasons_in_parts(path) for path in rollouts),
            unranked=_reasons(map(reasons_of, rankings)),
            not_eligible=_reasons([Counter(judged.filter(~pl.col("eligible"))["reason"])]),
            passed_over=len(judged.filter("eligible")) - len(chosen),
            unwritten=_reasons([Counter(reject.reason for reject in rejects)]),
            rows=count,
        )
        about = about | {"questions": {**about["questions"], "fingerprint": asked.fingerprint}}
        card = dataset_card(about, models, candidates, chosen, account, digest(identity))
        (folder / INFO).write_text(dataset_info(name), encoding="utf-8")
        training = recipe(name, learner, settings.trust_remote_code, about["seed"], out.parent)
        (folder / RECIPE).write_text(training, encoding="utf-8")
        (folder / out.name).write_text(card, encoding="utf-8")
    write_rejects(out.parent, rejects, identity)
    log.info("%d responses exported, %d rejected", count, len(rejects))


def _candidates(ranked: list[Artifact]) -> pl.DataFrame:
    """Return the candidates of all rankings, each with the fingerprint of its own."""
    return pl.concat(ranking.read().with_columns(ranking_fingerprint=pl.lit(ranking.fingerprint)) for ranking in ranked)


def _chosen(selected: Artifact, judged: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Return what is known of each chosen response: what the selection says of it, its scores, the fingerprints."""
    chosen = judged.filter(pl.col("rank").is_not_null()).drop("eligible")
    further = [name for name in candidates.columns if name not in chosen.columns]
    scores = candidates.select("rollout_id", *further)
    found = chosen.join(scores, on="rollout_id", how="inner", maintain_order="left")
    if len(found) != len(chosen):
        raise DistraceError(
            f"{selected.path} chose {len(chosen)} responses; the rankings hold only {len(found)} of them; "
            "delete the older one and run again"
        )
    return found.with_columns(selection_fingerprint=pl.lit(selected.fingerprint))


def _reasons(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return how often each reason is given in all counts together, the most frequent first."""
    found: Counter[str] = Counter()
    for count in counts:
        found.update(count)
    return dict(found.most_common())


@contextmanager
def _moved_into(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty hidden folder beside `folder`; once the block has filled it, its files are moved into `folder`.

    The file `last` comes last. Nothing else in `folder` is touched: users may train there.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        files = [path.relative_to(unfinished) for path in unfinished.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: (str(file) == last, file)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(unfinished / file, folder / file)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    command.run(write_exported_selection)
