"""The imported rollouts node: ready-made responses of an author, from a file.

Run by the workflow as `python -m distrace.imports --author NAME --questions FILE --settings JSON --out FILE`.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from distrace import artifacts, command
from distrace.identity import NODE_VERSIONS, short_id
from distrace.rows import BadRow, file_digest, read_rows, refuse_surrogates, text_reader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Responses:
    """The file, and its columns with the question, the response (or a list of them) and the reasoning before it."""

    file: str
    question: str = "question"
    response: str = "response"
    reasoning: str | None = None


def write_imported(author: str, questions: Path, settings: Responses, out: Path) -> None:
    """Write the responses to the questions of one part; responses to other questions belong to other parts.

    A row that cannot be read is rejected in every part, since nothing says which part it belongs to. A question to
    which the file holds no response is rejected, too.
    """
    wanted = artifacts.read(questions, "questions", ["question_id"])["question_id"].to_list()
    known = set(wanted)
    rows, rejects, samples = [], [], Counter()
    read = text_reader(settings.question)
    for number, row in enumerate(read_rows(Path(settings.file))):
        try:
            if isinstance(row, BadRow):
                raise row
            question_id = short_id(read(row))
            if question_id not in known:
                continue
            for text, answer_start in _responses(row, settings):
                rows.append(_rollout(author, question_id, samples[question_id], text, answer_start))
                samples[question_id] += 1
        except BadRow as error:
            rejects.append({"source": settings.response, "row": number, "reason": str(error)})
    rejects += [
        {"source": question_id, "row": row, "reason": "no response to this question in the file"}
        for row, question_id in enumerate(wanted)
        if not samples[question_id]
    ]
    log.info("%d responses to %d of %d questions", len(rows), len(samples), len(wanted))
    identity = {
        "version": NODE_VERSIONS["rollouts"],
        "questions": artifacts.metadata(questions).fingerprint,
        "author": author,
        "file": file_digest(Path(settings.file)),
        "settings": asdict(settings) | {"file": None},
    }
    artifacts.write_with_rejects(out, "rollouts", rows, rejects, identity, len(rows) + len(rejects))


def _responses(row: Mapping, settings: Responses) -> list[tuple[str, int]]:
    """Give text and answer start of each response in a row."""
    texts = _as_list(row, settings.response)
    reasonings = _as_list(row, settings.reasoning) if settings.reasoning else [""] * len(texts)
    if len(reasonings) != len(texts):
        raise BadRow(f"{len(texts)} responses but {len(reasonings)} reasonings")
    return [(reasoning + text, len(reasoning)) for reasoning, text in zip(reasonings, texts, strict=True)]


def _as_list(row: Mapping, column: str) -> list[str]:
    value = row.get(column)
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise BadRow(f"column {column!r} holds no text but {str(text)[:40]!r}")
        refuse_surrogates(text, column)
    return texts


def _rollout(author: str, question_id: str, sample: int, text: str, answer_start: int) -> dict:
    return {
        "rollout_id": short_id(author, question_id, sample, text),
        "question_id": question_id,
        "sample": sample,
        "text": text,
        "answer_start": answer_start,
        "token_ids": None,
        "logprobs": None,
        "finish_reason": "imported",
    }


if __name__ == "__main__":
    command.run(write_imported)
