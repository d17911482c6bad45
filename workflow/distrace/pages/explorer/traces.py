"""Traces as the explorer shows them: the labelled sentences of responses, their tokens, and what else is known."""

from collections.abc import Iterator, Sequence
from itertools import combinations, repeat
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.measures.labels import LABELS, ROLES
from distrace.measures.validation import ORIGINS, Pair, origin_of
from distrace.pages.explorer.chunks import Chunks, by_chunk, flat, listed
from distrace.pages.explorer.responses import Shown
from distrace.parts import open_parts, reasons_in_parts
from distrace.plan import Plan, Trace

NOT_CHECKED = 255  # in place of a label in float32, of a sentence that the check does not cover
LEAST_LOGPROB = -25.0  # nats; what is less probable is shown like this

_KEY = ["rollout_id", "sentence"]
_SENTENCES = {
    **dict.fromkeys(("number", "start", "end"), "i32"),
    **dict.fromkeys((f"p_{role}" for role in ROLES), "f64"),
    **dict.fromkeys((f"tokens_{role}" for role in ROLES), "i32"),
    "label": "u8",
}
_TOKEN_COLUMNS = ("starts", "ends", "logprobs")
_TOKENS = {"starts": "i32", "lengths": "i32", "logprobs": "u8"}


def write_trace(plan: Plan, number: int, trace: Trace, shown: Shown, chunks: Chunks) -> dict[str, Any]:
    """Write the chunks of a trace, the one of this number; return what the index says of it."""
    settings, path = plan.config["runs"][trace.run], plan.trace_parts(trace)
    labelled = open_parts(path, kinds.PROVENANCE)
    for k, responses in enumerate(by_chunk(_sentences(plan, trace, shown), shown.bounds)):
        optional = {name: "u8" for name in ("origin", "label_float32") if responses[name].explode().count()}
        checked = pl.col("label_float32").list.eval(pl.element().fill_null(NOT_CHECKED))
        chunks.write(f"sentences-{number}-{k}", arrays=flat(responses.with_columns(checked), _SENTENCES | optional))
    for k, responses in enumerate(by_chunk(_tokens(plan, trace, shown), shown.bounds)):
        chunks.write(f"tokens-{number}-{k}", arrays=_token_arrays(responses))
    if plan.evidence_parts(trace):
        for k, lists in enumerate(by_chunk(_evidence(plan, trace, shown), shown.bounds)):
            responses = lists.drop("rollout_id").filter(pl.col("words").list.len() > 0)
            chunks.write(f"evidence-{number}-{k}", listed(responses.explode(responses.columns)))
    reasons = reasons_in_parts(path)
    return {
        "run": trace.run,
        "teacher": trace.teacher,
        "student": settings["student"],
        "distilled": trace.rollouts.author,
        "rollouts": shown.number,
        "folder": trace.folder,
        "alpha": settings["alpha"],
        "beta": settings["beta"],
        "rule": settings["label_rule"],
        "fingerprint": labelled.fingerprint,
        "sentences": labelled.rows,
        "rejected": sum(reasons.values()),
        "reasons": reasons,
        "shift": float32_shift(plan, trace),
        "has_tokens": True,
        "has_evidence": plan.evidence_parts(trace) is not None,
        "has_truth": plan.has_truth(trace),
    }


def float32_shift(plan: Plan, trace: Trace) -> float | None:
    """Return how far a difference of two probabilities moves between number formats; None if nothing was checked.

    That is, of the pairs of models, the largest 99th percentile over sentences of the absolute change of p_a - p_b.
    """
    path = plan.float32_check_path(trace)
    table = open_artifact(path, kinds.FLOAT32_CHECK).read() if path else pl.DataFrame()
    if table.is_empty():
        return None

    def difference(a: str, b: str, suffix: str) -> pl.Expr:
        return pl.col(f"p_{a}{suffix}") - pl.col(f"p_{b}{suffix}")

    changes = [(difference(*pair, "") - difference(*pair, "_float32")).abs() for pair in combinations(ROLES, 2)]
    found = table.select(change.quantile(0.99, "linear").alias(str(n)) for n, change in enumerate(changes))
    return float(max(found.row(0)))


def per_response(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each of `rows`, with lists of what `table` holds under its `rollout_id`; null if nothing."""
    lists = table.group_by("rollout_id", maintain_order=True).agg(pl.all())
    return rows.select("rollout_id").join(lists, on="rollout_id", how="left", maintain_order="left")


def _sentences(plan: Plan, trace: Trace, shown: Shown) -> Iterator[pl.DataFrame]:
    """Yield for each part a row for each response shown, with lists over its labelled sentences."""
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    for rows, part, *others in zip(
        shown.parts, labelled, _origins(plan, trace), _in_float32(plan, trace), strict=False
    ):
        table = part.read().with_columns(_code("label", LABELS))
        for other in others:
            table = table.join(other, on=_KEY, how="left", maintain_order="left")
        yield per_response(rows, table.rename({"sentence": "number"}))


def _origins(plan: Plan, trace: Trace) -> Iterator[pl.DataFrame]:
    """Yield for each part the code of each sentence's `origin`; none where origins are not known."""
    if not plan.has_truth(trace):
        yield from repeat(_of_no_sentence("origin"))
        return
    student = plan.style_of(plan.config["runs"][trace.run]["student"])
    pair = Pair(str(plan.style_of(trace.teacher)), str(student))
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    known = open_parts(plan.rollouts_parts("truth", trace.rollouts), kinds.TRUTH)
    for part, truth in zip(labelled, known, strict=True):
        part.require_same(kinds.SENTENCES, truth)
        yield truth.read().with_columns(origin_of(pair)).with_columns(_code("origin", ORIGINS))


def _in_float32(plan: Plan, trace: Trace) -> Iterator[pl.DataFrame]:
    """Yield for each part the code of each sentence's label in float32; none where it is not checked."""
    if path := plan.float32_check_path(trace):  # of the first part
        yield (
            open_artifact(path, kinds.FLOAT32_CHECK)
            .read(*_KEY, "label_float32")
            .with_columns(_code("label_float32", LABELS))
        )
    yield from repeat(_of_no_sentence("label_float32"))


def _code(column: str, names: Sequence[str]) -> pl.Expr:
    return pl.col(column).replace_strict(names, range(len(names)), return_dtype=pl.UInt8)


def _of_no_sentence(column: str) -> pl.DataFrame:
    return pl.DataFrame(schema={"rollout_id": pl.String, "sentence": pl.Int32, column: pl.UInt8})


def _tokens(plan: Plan, trace: Trace, shown: Shown) -> Iterator[pl.DataFrame]:
    """Yield for each part a row for each response shown, with lists over its tokens under each role's model."""
    written = open_parts(plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS)
    scored = [
        open_parts(plan.logprobs_parts(scorer, trace.rollouts), kinds.LOGPROBS)
        for scorer in plan.scorers(trace).values()
    ]
    for rows, part, *logprobs in zip(shown.parts, written, *scored, strict=False):
        found = rows.select("rollout_id")
        for role, made in zip(ROLES, logprobs, strict=True):
            made.require_made_from(part)
            tokens = packed_tokens(made.read("rollout_id", *_TOKEN_COLUMNS))
            renamed = tokens.rename({name: f"{name}_{role}" for name in _TOKENS})
            found = found.join(renamed, on="rollout_id", how="left", maintain_order="left")
        yield found


def _evidence(plan: Plan, trace: Trace, shown: Shown) -> Iterator[pl.DataFrame]:
    """Yield for each part a row for each response shown, with lists over the evidence of its labelled sentences."""
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE)
    known = open_parts(str(plan.evidence_parts(trace)), kinds.EVIDENCE)
    for rows, part, found in zip(shown.parts, labelled, known, strict=False):
        part.require_same(kinds.SENTENCES, found)
        table = part.read(*_KEY).join(found.read().drop("start", "end"), on=_KEY, how="left", maintain_order="left")
        yield per_response(rows, table.drop("sentence"))


def packed_tokens(logprobs: pl.DataFrame) -> pl.DataFrame:
    """Return where tokens lie and how probable they are, in little room: `starts`, `lengths` and `logprobs`.

    A start counts from that of the token before. A log-prob is 255 times the root of its share of 25 nats: differences
    near 0, which matter to the eye, stay large.
    """
    starts, ends, values = (logprobs[name].rechunk().to_arrow() for name in _TOKEN_COLUMNS)
    offsets, first = starts.offsets.to_numpy(), starts.values.to_numpy()
    differences = np.diff(first, prepend=np.int32(0))
    begins = offsets[:-1][np.diff(offsets) > 0]
    differences[begins] = first[begins]
    nats = np.clip(values.values.to_numpy(), LEAST_LOGPROB, 0).astype(np.float64)
    flat_lists = {
        "starts": differences,
        "lengths": ends.values.to_numpy() - first,
        "logprobs": np.rint(255 * np.sqrt(nats / LEAST_LOGPROB)).astype(np.uint8),
    }
    lists = {name: pa.LargeListArray.from_arrays(starts.offsets, pa.array(of)) for name, of in flat_lists.items()}
    return logprobs.select("rollout_id").with_columns(pl.Series(name, pl.from_arrow(of)) for name, of in lists.items())


def _token_arrays(responses: pl.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for role in ROLES:
        table = responses.select(pl.col(f"{name}_{role}").alias(name) for name in _TOKENS)
        found |= {f"{name}_{role}": array for name, array in flat(table, _TOKENS).items()}
    return found
