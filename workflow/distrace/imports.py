"""The imported rollouts node: ready-made responses of an author, from a file.

Run by the workflow as `python -m distrace.imports --author NAME --questions FILE --settings JSON --out FILE`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from distrace import artifacts, command
from distrace.identity import NODE_VERSIONS, short_id
from distrace.rows import BadRow, file_digest, read_rows, text_reader


@dataclass(frozen=True)
class Responses:
    """The file, and its columns with the question, the response (or a list of them) and the reasoning before it."""

    file: str
    question: str = "question"
    response: str = "response"
    reasoning: str | None = None


def write_imported(author: str, questions: Path, settings: Responses, out: Path) -> None:
    """Write the responses to the questions of one part; responses to other questions belong to other parts.

    A row that cannot be read is rejected in every part, since nothing says which part it belongs to.
    """
    wanted = set(artifacts.read(questions, "questions", ["question_id"])["question_id"])
    rows, rejects, samples = [], [], Counter()
    read = text_reader(settings.question)
    for number, row in enumerate(read_rows(Path(settings.file))):
        try:
            if isinstance(row, BadRow):
                raise row
            question_id = short_id(read(row))
            if question_id not in wanted:
                continue
            for text, answer_start in list(_responses(row, settings)):
                rows.append(_rollout(author, question_id, samples[question_id], text, answer_start))
                samples[question_id] += 1
        except BadRow as error:
            rejects.append({"source": settings.response, "row": number, "reason": str(error)})
    identity = {
        "version": NODE_VERSIONS["rollouts"],
        "questions": artifacts.metadata(questions).fingerprint,
        "author": author,
        "file": file_digest(Path(settings.file)),
        "settings": asdict(settings) | {"file": None},
    }
    artifacts.write_with_rejects(out, "rollouts", rows, rejects, identity, len(rows) + len(rejects))


def _responses(row: Mapping, settings: Responses) -> Iterator[tuple[str, int]]:
    """Give text and answer start of each response in a row."""
    texts = _as_list(row, settings.response)
    reasonings = _as_list(row, settings.reasoning) if settings.reasoning else [""] * len(texts)
    if len(reasonings) != len(texts):
        raise BadRow(f"{len(texts)} responses but {len(reasonings)} reasonings")
    for reasoning, text in zip(reasonings, texts, strict=True):
        yield reasoning + text, len(reasoning)


def _as_list(row: Mapping, column: str) -> list[str]:
    value = row.get(column)
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise BadRow(f"column {column!r} holds no text but {str(value)[:40]!r}")
    for text in texts:
        if not text.isascii() and text != text.encode("utf-8", "ignore").decode("utf-8"):
            raise BadRow(f"column {column!r} holds a lone surrogate")
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
