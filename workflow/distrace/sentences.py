"""The sentences node: where each sentence of each response begins and ends.

Run by the workflow as `python -m distrace.sentences --rollouts FILE --splitter sentences --out FILE`.
"""

from itertools import pairwise
from pathlib import Path

import polars as pl

from distrace import artifacts, command
from distrace.identity import NODE_VERSIONS
from distrace.splitting import split


def write_sentences(rollouts: Path, splitter: str, out: Path) -> None:
    """Write the sentences of a part of rollouts; an empty response has none."""
    responses = artifacts.read(rollouts, "rollouts", ["rollout_id", "text", "answer_start"])
    identity = {
        "version": NODE_VERSIONS["sentences"],
        "rollouts": artifacts.metadata(rollouts).fingerprint,
        "splitter": splitter,
    }
    artifacts.write(out, "sentences", sentences_of(responses, splitter), identity)


def sentences_of(responses: pl.DataFrame, splitter: str) -> list[dict]:
    """Give a row per sentence: its number in the response and its characters, `start` up to but not with `end`."""
    rows = []
    for rollout_id, text, answer_start in responses.iter_rows():
        bounds = split(text, splitter, answer_start)
        for number, (start, end) in enumerate(pairwise(bounds)):
            rows.append({"rollout_id": rollout_id, "sentence": number, "start": start, "end": end})
    return rows


if __name__ == "__main__":
    command.run(write_sentences)
