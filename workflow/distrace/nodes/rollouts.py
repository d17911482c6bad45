"""The rollouts node: an author answers each question of a part, `samples` times.

Every response has its own seed, which follows from the config's seed, the question and the number of the sample. So
more questions, or other parts, do not change existing responses.

With `--begun`, the responses of another author to the same questions, sample i begins with a part of that author's
sample i (modulo their number), and the author goes on from there. A further column `begun` says how many characters of
the text the other author wrote. These tokens have no log-prob, since the author did not sample them.
Run by the workflow as `python -m distrace.nodes.rollouts --questions FILE --model FILE --settings JSON --sampling JSON
--execution JSON --out FILE`, with `--source JSON --cut JSON --made-from DIGEST` where it may be the first to need the
questions of its part, and with `--begun FILE --begun-from SHARE` for mixed-policy data.
"""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from distrace import command, kinds
from distrace.artifacts import Artifact, fingerprint_of, open_artifact, write_with_rejects
from distrace.batches import Progress, forget_batches, run_batches
from distrace.engines import Engine, load_engine
from distrace.engines.requests import GenerateRequest
from distrace.errors import BadRow
from distrace.identity import digest, short_id
from distrace.kept import keep, kept_artifacts, put_back
from distrace.models import Card, read_card
from distrace.questions import Cut, Questions, is_made_from, write_parts
from distrace.rejects import Reject, kept_and_rejected
from distrace.settings import Execution, ModelSettings, Sampling
from distrace.text.alignment import decode_generated, encode_prompt
from distrace.text.beginnings import Beginning, beginning, begun_characters, cut_place
from distrace.text.prompts import Format, load_format, parse_response, prompt_text
from distrace.versions import NODE_VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

_BATCH_COLUMNS = ("token_ids", "logprobs", "finish_reason")
_BEGUN_SCHEMA = kinds.ROLLOUTS.schema.append(pa.field("begun", pa.int32()))


@dataclass(frozen=True)
class Asked:
    """A response to draw: its question and number, what goes to the engine, and what another author began it with."""

    question_id: str
    sample: int
    request: GenerateRequest
    begun: Beginning | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Question and sample."""
        return self.question_id, self.sample


def sample_rollouts(
    questions: Path,
    model: Path,
    settings: ModelSettings,
    sampling: Sampling,
    execution: Execution,
    out: Path,
    source: Questions | None = None,
    cut: Cut | None = None,
    made_from: str = "",
    begun: Path | None = None,
    begun_from: float = 0.5,
) -> None:
    """Write the responses of a model to a part of questions; prompts that leave no room for an answer are rejected.

    With `source` and `cut`, the part of questions is written first, unless it is there and `made_from` what it should.
    With `begun`, each response goes on with a response in that part of rollouts, cut beyond the share `begun_from` of
    it; what cannot be begun so is rejected.
    """
    if source and cut and not is_made_from(questions, made_from):
        write_parts(source, cut, questions.parent, wanted=questions.stem)
    asked = open_artifact(questions, kinds.QUESTIONS)
    others = open_artifact(begun, kinds.ROLLOUTS, made_from=asked) if begun else None
    card = read_card(model)
    identity = _identity(asked, card, settings, sampling)
    if others:
        identity["begun"] = {"rollouts": others.fingerprint, "from": begun_from}
    fingerprint = fingerprint_of(kinds.ROLLOUTS, identity)
    if put_back(out, fingerprint):
        return
    engine = load_engine(card, settings, execution, "generate")
    form = load_format(settings, engine.tokenizer)
    wanted, rejects = requested(asked.read("question_id", "question"), engine, form, sampling)
    if others:
        wanted, unbegun = with_beginnings(wanted, others, engine, form, begun_from, sampling.seed)
        rejects += unbegun
    rows = _drawn_before(out, identity, wanted)
    missing = [asking for asking in wanted if asking.key not in rows]
    log.info("%d responses to draw, %d were drawn before", len(missing), len(wanted) - len(missing))
    batches_of = digest([fingerprint, [asking.key for asking in missing]])
    generated = _generate(engine, [asking.request for asking in missing], sampling, out, batches_of)
    for asking, found in zip(missing, generated, strict=True):
        rows[asking.key] = rollout(card, engine.tokenizer, form, asking, found)
    found_rows = [rows[asking.key] for asking in wanted]
    table = pl.DataFrame(pa.Table.from_pylist(found_rows, schema=_BEGUN_SCHEMA)) if others else found_rows
    write_with_rejects(out, kinds.ROLLOUTS, table, rejects, identity, asked.rows * sampling.samples)
    keep(out, fingerprint)
    forget_batches(out)


def _identity(asked: Artifact, card: Card, settings: ModelSettings, sampling: Sampling) -> dict[str, Any]:
    return {
        "version": NODE_VERSIONS["rollouts"],
        "questions": asked.fingerprint,
        "author": card.name,  # part of the rollouts' ids
        "model": card.fingerprint,
        "settings": asdict(settings),
        "sampling": asdict(sampling),
    }


def _drawn_before(out: Path, identity: dict[str, Any], wanted: list[Asked]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the responses, by question and sample, that an earlier job drew in the same way for this part.

    A response depends on its question, its sample's number, how it is drawn and what it begins with, not on how many
    others there are.
    """

    def without_numbers(identity: dict[str, Any]) -> dict[str, Any]:
        # No other author wrote here, and older identities do not say who did.
        fixed = {"questions": None, "author": None}
        if "begun" in identity:  # rollouts that grew may begin the same: their texts tell
            fixed["begun"] = identity["begun"]["from"]
        return identity | fixed | {"sampling": identity["sampling"] | {"samples": None}}

    beginnings = {asking.key: asking.begun for asking in wanted}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for kept in kept_artifacts(out, kinds.ROLLOUTS):
        if without_numbers(kept.identity) == without_numbers(identity):
            rows = {(row["question_id"], row["sample"]): row for row in kept.read().iter_rows(named=True)}
            found |= {key: row for key, row in rows.items() if _begins_with(beginnings.get(key), row)}
    return found


def _begins_with(begun: Beginning | None, row: dict[str, Any]) -> bool:
    return begun is None or row["token_ids"][: len(begun.token_ids)] == begun.token_ids


def requested(
    asked: pl.DataFrame, engine: Engine, form: Format, sampling: Sampling
) -> tuple[list[Asked], list[Reject]]:
    """Return the responses to generate, and a reject for each that is impossible."""

    def prompt_of(row: tuple[str, str]) -> tuple[str, list[int]]:
        question_id, question = row
        prompt = encode_prompt(engine.tokenizer, prompt_text(form, question))
        if len(prompt) >= engine.context_length:
            raise BadRow(f"the prompt has {len(prompt)} tokens, the model's context length is {engine.context_length}")
        return question_id, prompt

    rows = asked.select("question_id", "question").rows()
    prompts, rejects = kept_and_rejected(enumerate(rows), prompt_of, lambda row: row[0])
    if prompts:
        first = next(question for question_id, question in rows if question_id == prompts[0][0])
        log.info("the first prompt, as the model sees it:\n%s", prompt_text(form, first))
    wanted = []
    for question_id, prompt in prompts:
        for sample in range(sampling.samples):
            seed = int(short_id(sampling.seed, question_id, sample), 16)
            wanted.append(Asked(question_id, sample, GenerateRequest(prompt, sampling.max_tokens, seed)))
    return wanted, [reject for reject in rejects for _ in range(sampling.samples)]


def with_beginnings(
    wanted: list[Asked], others: Artifact, engine: Engine, form: Format, share: float, seed: int
) -> tuple[list[Asked], list[Reject]]:
    """Return the responses to generate, each begun with one of another author's, and a reject for each that cannot be.

    Sample i begins with the other author's sample i, modulo their number, cut at a place beyond `share` of it that
    follows from `seed`, the question and the sample.
    """
    texts: dict[str, list[tuple[str, int]]] = {}
    table = others.read("question_id", "sample", "text", "answer_start").sort("question_id", "sample")
    for question_id, _, text, answer_start in table.iter_rows():
        texts.setdefault(question_id, []).append((text, answer_start))

    def begin(asking: Asked) -> Asked:
        if asking.question_id not in texts:
            raise BadRow("the other author has no response to begin with")
        found = texts[asking.question_id]
        text, answer_start = found[asking.sample % len(found)]
        place = cut_place(text, answer_start, share, int(short_id(seed, *asking.key, "cut"), 16))
        begun = beginning(form, engine.tokenizer, text, answer_start, place)
        prompt = asking.request.prompt + begun.token_ids
        if len(prompt) >= engine.context_length:
            raise BadRow(
                f"prompt and beginning have {len(prompt)} tokens, the model's context length is {engine.context_length}"
            )
        return replace(asking, request=replace(asking.request, prompt=prompt), begun=begun)

    return kept_and_rejected(enumerate(wanted), begin, lambda asking: asking.question_id)


def _generate(
    engine: Engine, requests: list[GenerateRequest], sampling: Sampling, out: Path, fingerprint: str
) -> list[dict[str, Any]]:
    progress = Progress(len(requests), "responses")
    return run_batches(
        out,
        fingerprint,
        engine.generate_batches(requests),
        pa.schema([kinds.ROLLOUTS.schema.field(name) for name in _BATCH_COLUMNS]),
        lambda batch: [asdict(g) for g in engine.generate([requests[i] for i in batch], sampling, progress.add)],
        lambda batch: progress.skip(len(batch)),
    )


def rollout(
    card: Card, tokenizer: "PreTrainedTokenizerBase", form: Format, asking: Asked, found: dict[str, Any]
) -> dict[str, Any]:
    """Return the row of a response: its text without the format's glue, its tokens with it.

    One that another author began has its beginning in text and tokens, and a further column `begun`.
    """
    begun = asking.begun
    if begun:
        nothing = [None] * len(begun.token_ids)
        found = found | {
            "token_ids": [*begun.token_ids, *found["token_ids"]],
            "logprobs": [*nothing, *found["logprobs"]],
        }
    text, answer_start = parse_response(form, decode_generated(tokenizer, found["token_ids"]))
    return {
        "rollout_id": short_id(card.name, *asking.key, text),
        "question_id": asking.question_id,
        "sample": asking.sample,
        "text": text,
        "answer_start": answer_start,
        **found,
    } | ({"begun": begun_characters(begun, text)} if begun else {})


if __name__ == "__main__":
    command.run(sample_rollouts, alone=True)
