"""Log-probs that were kept when a response was sampled, in place of those that its author would compute again.

They are natural logarithms at temperature 1, before top-k and top-p, one for each token: those of `rollouts`, or those
imported with ready-made responses. No model runs; the tokenizer alone says which characters each token carries.
"""

import numpy as np
import polars as pl

from distrace.alignment import AlignmentError
from distrace.prompts import Format, align_own
from distrace.rows import BadRow

_ROUNDING = 1e-4  # what a log-prob may lie above 0


def recorded_rows(responses: pl.DataFrame, form: Format, tokenizer) -> tuple[list[dict], list[dict]]:
    """Give the rows of a logprobs artifact, ranks null since they were not kept; and the rejects.

    `responses` has the columns `rollout_id`, `text`, `token_ids` and `logprobs`.
    """
    rows, rejects = [], []
    for number, response in enumerate(responses.iter_rows(named=True)):
        try:
            rows.append(_row(response, form, tokenizer))
        except (AlignmentError, BadRow) as error:
            rejects.append({"source": response["rollout_id"], "row": number, "reason": str(error)})
    return rows, rejects


def _row(response: dict, form: Format, tokenizer) -> dict:
    values = _checked(response["token_ids"], response["logprobs"])
    aligned = align_own(form, tokenizer, response["token_ids"], response["text"])
    columns = {name: getattr(aligned, name)[aligned.scored] for name in ("token_ids", "starts", "ends")}
    return {"rollout_id": response["rollout_id"], **columns, "logprobs": values[aligned.scored], "ranks": None}


def _checked(token_ids: list[int] | None, logprobs: list[float | None] | None) -> np.ndarray:
    if token_ids is None or logprobs is None:
        raise BadRow("no log-probs were recorded with it")
    if len(logprobs) != len(token_ids):
        raise BadRow(f"{len(token_ids)} tokens but {len(logprobs)} recorded log-probs")
    values = np.array(logprobs, np.float32)
    [wrong] = np.nonzero(~(np.isfinite(values) & (values <= _ROUNDING)))
    if len(wrong):
        raise BadRow(f"the recorded log-prob of token {wrong[0]} is {values[wrong[0]]}, no number up to 0")
    return values
