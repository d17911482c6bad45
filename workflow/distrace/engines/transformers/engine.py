"""The class of the transformers engine: scoring and generating with a model that is loaded and checked.

Scoring runs the model without its head, then the head on the states that predict scored tokens only (`logits.py`).
Where the model allows, sequences are packed (`packing.py`): no padding, shared beginnings once. Otherwise they are
padded on the right, which a causal model cannot see, so no mask is needed either. Generating is in `decoding.py`.
"""

from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distrace.engines.requests import Generated, GenerateRequest, Score, ScoreRequest, Tick, scored_places
from distrace.engines.transformers import batching, memory
from distrace.engines.transformers.continuations import Continuations, input_device
from distrace.engines.transformers.cpu import faster_on_cpu
from distrace.engines.transformers.decoding import Read, drafts_of, write
from distrace.engines.transformers.logits import head_of, read_logprobs, rows_at_once
from distrace.engines.transformers.packing import PACKED, attention, attention_paths, pack
from distrace.engines.transformers.slots import Slots
from distrace.settings import Sampling


class TransformersEngine:
    """A loaded model that scores and generates (`distrace.engines.Engine`).

    It does as it is told and checks nothing: `checked_engine` makes one whose log-probs are the model's own.
    `packs` says whether sequences are packed or padded, `refills` whether rows are refilled when generating (which
    needs `packs`), `faster` whether a model on a CPU runs as `cpu.py` says, `token_budget` how many tokens a batch may
    have (None: as many as fit the memory).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        context_length: int,
        packs: bool,
        refills: bool = False,
        token_budget: int | None = None,
        faster: bool = True,
    ):
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.context_length, self.token_budget = context_length, token_budget
        self.packs, self.refills = packs, refills
        self.config: Any = model.config.get_text_config()  # Any: each architecture has settings of its own
        self.device = input_device(model)
        self.faster = faster and self.device.type == "cpu"
        self.head = head_of(model)
        self.ends = _end_tokens(model, tokenizer)
        self.steady_length = batching.steady_length(self.config)

    # Found when first asked for, so that what loading and checking have taken of a GPU's memory is counted as taken.
    @cached_property
    def score_budget(self) -> int:
        """The tokens of a batch that is scored, padding counted."""
        return self.token_budget or memory.score_budget(self.config, self.model.dtype, self.device, self.context_length)

    @cached_property
    def generate_budget(self) -> int:
        """The tokens of a batch that is generated, prompts counted."""
        return self.token_budget or memory.generate_budget(self.config, self.model.dtype, self.device)

    def score_batches(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches within the token budget, the longest sequences first."""
        sequences = [_seen(request) for request in requests]
        return batching.score_batches(sequences, self.score_budget, self.packs, self.steady_length)

    def score(self, requests: list[ScoreRequest], top: int = 0) -> list[Score]:
        """Return the log-probs and ranks of one batch; when memory runs out, its halves are scored in turn.

        With `top`, also what so many of the most probable tokens have together.
        """
        return memory.halving(lambda part: self.score_at_once(part, top), requests, self.name)

    def generate_batches(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches within the token budget, the longest prompts first."""
        rounds = batching.ROUNDS if self.refills else 1
        return batching.generate_batches(requests, self.generate_budget, self.context_length, rounds)

    def generate(
        self, requests: list[GenerateRequest], sampling: Sampling, tick: Tick | None = None
    ) -> list[Generated]:
        """Return a response to each request of one batch; when memory runs out, fewer are written side by side.

        `tick` is called after each step.
        """
        drafts = drafts_of(requests, self.context_length)
        at_once = batching.rows_at_once(requests, self.generate_budget, self.context_length)
        read = self.reader(batching.longest_becoming(requests, self.context_length))
        writing = partial(write, drafts, read=read, head=self.head, sampling=sampling, ends=self.ends, tick=tick)
        memory.fewer_at_once(writing, at_once, self.name)
        return [draft.generated() for draft in drafts]

    def reader(self, longest: int) -> Read:
        """Return what reads prompts, for sequences that become `longest` tokens long at most.

        Rows are refilled only where the longest does not change the others' positions.
        """
        if self.refills and longest <= self.steady_length:
            return partial(Slots, self.model, prompt_budget=self.score_budget)
        return partial(Continuations, self.model)

    @torch.inference_mode()
    def score_at_once(self, requests: list[ScoreRequest], top: int = 0) -> list[Score]:
        """Return what `score` does for one batch; raise torch's or Python's own error when memory runs out."""
        with faster_on_cpu(self.model) if self.faster else nullcontext():
            hidden, paths = self.hidden([_seen(request) for request in requests])
            # The state at place p - 1 of a sequence predicts the token at place p.
            places = np.concatenate([p[scored_places(r) - 1] for p, r in zip(paths, requests, strict=True)])
            targets = np.concatenate([np.array(r.response, np.int64)[r.scored] for r in requests])
            # Where packed sequences share their beginnings, they ask for the same tokens at the same places.
            (places, targets), of_token = np.unique(np.stack([places, targets]), axis=1, return_inverse=True)
            columns = read_logprobs(self.head, hidden, places, targets, self.head_rows(), top)
        cuts = np.cumsum([request.scored.sum() for request in requests])[:-1]
        parts = (np.split(values[of_token], cuts) for values in columns)
        return [Score(*values) for values in zip(*parts, strict=True)]

    def head_rows(self) -> int:
        """Return on how many states the head is run at once."""
        return rows_at_once(self.config.vocab_size, self.model.dtype, self.device)

    def hidden(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[NDArray[np.int64]]]:
        """Return final hidden states [rows, hidden size], and for each sequence the row of each of its tokens."""
        return self._hidden_packed(sequences) if self.packs else self._hidden_padded(sequences)

    def _hidden_packed(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[NDArray[np.int64]]]:
        packed = pack(sequences)
        with attention(self.model, PACKED):
            states = self.model.base_model(
                input_ids=torch.from_numpy(packed.token_ids)[None].to(self.device),
                position_ids=torch.from_numpy(packed.positions)[None].to(self.device),
                use_cache=False,
                packed_paths=attention_paths(packed, self.device),
            ).last_hidden_state  # [1, tokens, hidden size]
        return states[0], packed.paths

    def _hidden_padded(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[NDArray[np.int64]]]:
        width = max(map(len, sequences))
        tokens = torch.tensor([sequence + [0] * (width - len(sequence)) for sequence in sequences])
        states = self.model.base_model(input_ids=tokens.to(self.device), use_cache=False).last_hidden_state
        # From [sequences, width, hidden size] to one row for each token, padding included.
        return states.flatten(0, 1), [row * width + np.arange(len(s)) for row, s in enumerate(sequences)]


def _seen(request: ScoreRequest) -> list[int]:
    """Return the tokens that the model must see: all before the last scored one."""
    scored = np.flatnonzero(request.scored)
    if not len(scored):
        return request.prompt[:1] or request.response[:1]
    if not request.prompt and scored[0] == 0:
        raise ValueError("a scored token needs at least one token before it")
    return request.prompt + request.response[: scored[-1]]


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    ends = model.generation_config.eos_token_id if model.generation_config else None
    ends = ends if isinstance(ends, list) else [ends]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}
