"""Log-probs that were recorded when a response was sampled, used instead of computing them again.

They are natural logarithms at temperature 1, before top-k and top-p, one for each token, from `rollouts` or imported
with ready-made responses. No model runs; the tokenizer alone determines which characters each token carries.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distrace.errors import BadRow
from distrace.rejects import Reject, kept_and_rejected
from distrace.text.prompts import Format, align_own

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ROUNDING = 1e-4  # how far a log-prob may be above 0


def recorded_rows(
    responses: pl.DataFrame, form: Format, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Return the rows of a logprobs artifact, and the rejects; `ranks` is null, since ranks are not recorded.

    `responses` has the columns `rollout_id`, `text`, `token_ids` and `logprobs`.
    """
    rows = enumerate(responses.iter_rows(named=True))
    return kept_and_rejected(rows, lambda row: _row(row, form, tokenizer), lambda row: row["rollout_id"])


def _row(response: dict[str, Any], form: Format, tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    token_ids, logprobs = response["token_ids"], response["logprobs"]
    _refuse_missing(token_ids, logprobs)
    aligned = align_own(form, tokenizer, token_ids, response["text"])
    values = _checked(logprobs, aligned.scored)
    columns = {name: getattr(aligned, name)[aligned.scored] for name in ("token_ids", "starts", "ends")}
    return {"rollout_id": response["rollout_id"], **columns, "logprobs": values[aligned.scored], "ranks": None}


def _refuse_missing(token_ids: list[int] | None, logprobs: list[float | None] | None) -> None:
    if token_ids is None or logprobs is None:
        raise BadRow("no log-probs were recorded with it")
    if len(logprobs) != len(token_ids):
        raise BadRow(f"{len(token_ids)} tokens but {len(logprobs)} recorded log-probs")


def _checked(logprobs: list[float | None], scored: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the log-probs; raise BadRow for one that is none. Those of glue, which is not scored, may be null."""
    values = np.array(logprobs, np.float32)
    needed = scored | np.array([value is not None for value in logprobs], np.bool_)
    [wrong] = np.nonzero(needed & ~(np.isfinite(values) & (values <= _ROUNDING)))
    if len(wrong):
        raise BadRow(f"the recorded log-prob of token {wrong[0]} is {values[wrong[0]]}, no number up to 0")
    return values
