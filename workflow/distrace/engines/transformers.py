"""The transformers engine: any causal language model of Hugging Face, on CPU, one GPU, or several.

Scoring runs the model without its head, then the head on the positions that predict scored tokens only, a bounded
number of rows at a time, so that memory does not grow with response length times vocabulary. Where the model allows,
sequences are packed (`distrace.engines.packing`): no padding, shared beginnings once. Otherwise they are padded on the
right, which a causal model cannot see, so no mask is needed either. When an engine is loaded, both ways are checked
against the model's own full forward pass.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

from distrace.engines.cpu import faster_on_cpu
from distrace.engines.decoding import decode, step_gap
from distrace.engines.packing import PACKED, attention_paths, common_prefix, pack
from distrace.engines.requests import MAX_RANK, Generated, GenerateRequest, Score, ScoreRequest, scored_places
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings, Sampling

log = logging.getLogger(__name__)

CPU_TOKEN_BUDGET = 4096  # fixed, so that a rerun has the same batches and thus the same bits; more is slower
CPU_LOGITS_BYTES = 24 * 2**20  # of logits held at once; from 32 MiB on, glibc returns them to the system
GPU_LOGITS_BYTES = 128 * 2**20
CPU_BLOCK_BYTES = 2 * 2**20  # of logits read at once on CPU, so that they stay in its cache: four times as fast
MAX_ROWS = 256  # responses generated side by side
_PACKABLE_LAYERS = {"full_attention", "sliding_attention"}
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


def load(card: Card, settings: ModelSettings, execution: Execution) -> "TransformersEngine":
    """Load the model and tokenizer of a card (safetensors only) and check how its log-probs can be computed.

    Raises DistraceError if the model's window is unknown, or if its log-probs cannot be computed as its own forward
    pass does.
    """
    transformers.utils.logging.disable_progress_bar()
    where = {"revision": card.revision, "trust_remote_code": settings.trust_remote_code}
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    model = AutoModelForCausalLM.from_pretrained(
        card.location,
        dtype=getattr(torch, settings.dtype),
        attn_implementation=settings.attention,
        use_safetensors=True,
        device_map=_device_map(execution.gpus),
        **where,
    )
    window = settings.window or getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if window is None:
        raise DistraceError(f"model {card.name!r}: its config does not say how long its window is; set `window`")
    return TransformersEngine(model.eval(), tokenizer, window, execution.token_budget, card.name)


def _device_map(gpus: int) -> str | dict:
    if gpus > 0 and not torch.cuda.is_available():
        log.warning("%d GPUs are configured, but torch sees none: running on CPU", gpus)
        gpus = 0
    return "auto" if gpus > 1 else {"": "cuda:0" if gpus else "cpu"}


class TransformersEngine:
    """A loaded model that scores and generates."""

    def __init__(self, model, tokenizer, window: int, token_budget: int | None = None, name: str = "model"):
        self.model, self.tokenizer, self.window, self.name = model, tokenizer, window, name
        self.config = model.config.get_text_config()
        self.device = model.get_input_embeddings().weight.device
        self.head = _head(model)
        self.ends = _end_tokens(model, tokenizer)
        self.steady_length = _steady_length(self.config)
        self.packs = _can_pack(self)
        self.steps_checked = False
        self.score_budget = token_budget or self._score_budget()
        self.generate_budget = token_budget or self._generate_budget()

    def score_plan(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches under the token budget, those with the longest sequences first."""
        sequences = [_seen(request) for request in requests]
        plan = _packed_plan if self.packs else _padded_plan
        steady = [i for i, sequence in enumerate(sequences) if len(sequence) <= self.steady_length]
        alone = [[i] for i, sequence in enumerate(sequences) if len(sequence) > self.steady_length]
        batches = [[steady[i] for i in batch] for batch in plan([sequences[i] for i in steady], self.score_budget)]
        return sorted(alone + batches, key=lambda batch: -max(len(sequences[i]) for i in batch))

    def score(self, requests: list[ScoreRequest]) -> list[Score]:
        """Give the log-probs and ranks of one batch; when memory runs out, its halves one after the other."""
        return _halving(self._score, requests, self.name)

    def generate_plan(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches under the token budget, those with the longest prompts first."""
        order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), requests[i].prompt))
        batches: list[list[int]] = []
        longest = 0
        for index in order:
            length = min(len(requests[index].prompt) + requests[index].max_tokens, self.window)
            longest = max(longest, length)
            if not batches or len(batches[-1]) >= min(MAX_ROWS, self.generate_budget // longest):
                batches.append([])
                longest = length
            batches[-1].append(index)
        return batches

    def generate(
        self,
        requests: list[GenerateRequest],
        sampling: Sampling,
        tick: Callable[[int, int], None] | None = None,
    ) -> list[Generated]:
        """Give a response to each request of one batch; when memory runs out, its halves one after the other.

        `tick` is told after each step how many tokens are new and how many responses have just ended.
        """
        if not self.steps_checked and (gap := step_gap(self)) > _tolerance(self):
            raise _unsupported(self, "log-probs computed token by token", gap)
        self.steps_checked = True
        return _halving(lambda part: decode(self, part, sampling, tick), requests, self.name)

    @torch.inference_mode()
    def _score(self, requests: list[ScoreRequest]) -> list[Score]:
        with faster_on_cpu(self.model) if self.device.type == "cpu" else nullcontext():
            return self._score_as_loaded(requests)

    def _score_as_loaded(self, requests: list[ScoreRequest]) -> list[Score]:
        hidden, paths = self.hidden([_seen(request) for request in requests])
        # The state at position p - 1 predicts the token at position p.
        places = [path[scored_places(request) - 1] for path, request in zip(paths, requests, strict=True)]
        targets = [np.array(request.response, np.int64)[request.scored] for request in requests]
        # Where packed sequences share their beginnings, they ask for the same tokens at the same places.
        wanted = np.stack([np.concatenate(places), np.concatenate(targets)])
        (places, targets), of_token = np.unique(wanted, axis=1, return_inverse=True)
        logprobs, ranks = self._read(hidden, places, targets)
        cuts = np.cumsum([request.scored.sum() for request in requests])[:-1]
        parts = (np.split(values[of_token], cuts) for values in (logprobs, ranks))
        return [Score(*pair) for pair in zip(*parts, strict=True)]

    def hidden(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[np.ndarray]]:
        """Give final hidden states [rows, hidden size], and for each sequence the rows that hold its tokens'."""
        return self._hidden_packed(sequences) if self.packs else self._hidden_padded(sequences)

    def _hidden_packed(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[np.ndarray]]:
        packed = pack(sequences)
        with _attention(self.model, PACKED):
            states = self.model.base_model(
                input_ids=torch.from_numpy(packed.token_ids)[None].to(self.device),
                position_ids=torch.from_numpy(packed.positions)[None].to(self.device),
                use_cache=False,
                packed_paths=attention_paths(packed, self.device),
            ).last_hidden_state
        return states[0], packed.paths

    def _hidden_padded(self, sequences: list[list[int]]) -> tuple[torch.Tensor, list[np.ndarray]]:
        width = max(map(len, sequences))
        tokens = torch.tensor([sequence + [0] * (width - len(sequence)) for sequence in sequences])
        states = self.model.base_model(input_ids=tokens.to(self.device), use_cache=False).last_hidden_state
        return states.flatten(0, 1), [row * width + np.arange(len(s)) for row, s in enumerate(sequences)]

    def _read(self, hidden: torch.Tensor, places: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give log-probs and ranks of target tokens, reading each from the hidden state at its place."""
        rows = self.head_rows()
        logprobs, ranks = np.empty(len(places), np.float32), np.empty(len(places), np.int16)
        for start in range(0, len(places), rows):
            part = slice(start, start + rows)
            states = hidden[torch.from_numpy(places[part]).to(hidden.device)]
            found = self._read_rows(self.head(states), torch.from_numpy(targets[part])[:, None])
            logprobs[part], ranks[part] = (torch.cat(values).cpu().numpy() for values in found)
        return logprobs, ranks

    def head_rows(self) -> int:
        """Give on how many states the head is run at once."""
        held = CPU_LOGITS_BYTES if self.device.type == "cpu" else GPU_LOGITS_BYTES
        return max(1, held // (self.model.dtype.itemsize * self.config.vocab_size))

    def _read_rows(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[list, list]:
        """Give log-probs and ranks of targets [rows, 1] under logits [rows, vocabulary], in blocks."""
        blocks = len(logits) if logits.is_cuda else max(1, CPU_BLOCK_BYTES // (4 * logits.shape[1]))
        logprobs, ranks = [], []
        for block, target in zip(logits.split(blocks), targets.to(logits.device).split(blocks), strict=True):
            block = block.float()
            above = torch.gt(block, block.gather(1, target), out=torch.empty_like(block))
            ranks.append((1 + above.sum(1)).clamp(max=MAX_RANK))
            logprobs.append(block.log_softmax(1).gather(1, target)[:, 0])
        return logprobs, ranks

    def _score_budget(self) -> int:
        if self.device.type == "cpu":
            return CPU_TOKEN_BUDGET
        # Some twenty activations of the widest layer live at once; a third of the free memory leaves room for kernels.
        width = max(getattr(self.config, "intermediate_size", 0) or 0, 4 * self.config.hidden_size)
        return max(self.window, _free_memory() // 3 // (20 * width * self.model.dtype.itemsize))

    def _generate_budget(self) -> int:
        memory = 2**31 if self.device.type == "cpu" else _free_memory() // 2
        heads = getattr(self.config, "num_key_value_heads", None) or self.config.num_attention_heads
        head_size = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        return memory // (2 * self.config.num_hidden_layers * heads * head_size * self.model.dtype.itemsize)


def _seen(request: ScoreRequest) -> list[int]:
    """Give the tokens that the model must see: all before the last scored one."""
    scored = np.flatnonzero(request.scored)
    if not len(scored):
        return request.prompt[:1] or request.response[:1]
    if not request.prompt and scored[0] == 0:
        raise ValueError("a scored token needs at least one token before it")
    return request.prompt + request.response[: scored[-1]]


def _packed_plan(sequences: list[list[int]], budget: int) -> list[list[int]]:
    """Fill batches with sequences in sorted order, counting what each adds to the one before it."""
    batches: list[list[int]] = []
    previous, room = [], 0
    for index in sorted(range(len(sequences)), key=sequences.__getitem__):
        sequence = sequences[index]
        added = len(sequence) - common_prefix(previous, sequence)
        if not batches or added > room:
            batches.append([])
            room, added = budget, len(sequence)
        batches[-1].append(index)
        previous, room = sequence, room - added
    return batches


def _padded_plan(sequences: list[list[int]], budget: int) -> list[list[int]]:
    """Fill batches with sequences from the longest on, each counted as long as the first of its batch."""
    batches: list[list[int]] = []
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        if not batches or (len(batches[-1]) + 1) * len(sequences[batches[-1][0]]) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def _halving(compute: Callable[[list], list], requests: list, name: str) -> list:
    try:
        return compute(requests)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        if len(requests) == 1:
            raise DistraceError(f"model {name!r}: out of memory on one response alone; use a bigger machine") from error
    # Outside the handler, so that the failed attempt's tensors are free by now.
    log.warning("out of memory on %d responses: trying halves", len(requests))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(requests) // 2
    return _halving(compute, requests[:middle], name) + _halving(compute, requests[middle:], name)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> int:
    """Give the bytes that are free on the fullest GPU."""
    return min(torch.cuda.mem_get_info(device)[0] for device in range(torch.cuda.device_count()))


@contextmanager
def _attention(model, implementation: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.config._attn_implementation = implementation
    try:
        yield
    finally:
        model.config._attn_implementation = before


def _head(model) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give the function from final hidden states [rows, hidden size] to logits [rows, vocabulary].

    It is the model's own forward with the part below the head taken out, so that whatever an architecture does to its
    logits (Gemma's soft cap, Cohere's and Granite's scales) is done here, too.
    """
    shell = copy.copy(model)
    shell._modules = model._modules | {model.base_model_prefix: _Echo()}
    forward = type(model).forward  # not the instance's, which accelerate binds to the whole model
    return lambda states: forward(shell, inputs_embeds=states[None], use_cache=False).logits[0]


class _Echo(torch.nn.Module):
    """Stands in for the layers below the head: gives as final states what it is given."""

    def forward(self, input_ids: None = None, inputs_embeds: torch.Tensor | None = None, **_: object) -> "_States":
        return _States(inputs_embeds)


class _States:
    """Final states, and None for all else that an architecture passes on (caches, attentions, router logits...)."""

    def __init__(self, states: torch.Tensor):
        self.last_hidden_state = states

    def __getattr__(self, name: str) -> None:
        return None

    def __getitem__(self, index: int) -> torch.Tensor:
        return (self.last_hidden_state,)[index]


def _end_tokens(model, tokenizer) -> set[int]:
    ends = model.generation_config.eos_token_id if model.generation_config else None
    ends = ends if isinstance(ends, list) else [ends]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def _steady_length(config) -> float:
    """Give the tokens up to which position embeddings do not depend on the longest sequence of a batch."""
    parameters = getattr(config, "rope_parameters", None) or {}
    groups = [parameters, *(group for group in parameters.values() if isinstance(group, dict))]
    lengths = [
        group.get("original_max_position_embeddings") or config.max_position_embeddings
        for group in groups
        if group.get("rope_type") in _LENGTH_DEPENDENT_ROPE
    ]
    return min(lengths, default=float("inf"))


def _can_pack(engine: "TransformersEngine") -> bool:
    """Tell whether packing gives what the model's own forward gives; raise DistraceError if even padding does not."""
    engine.packs = False
    if (gap := _probe_gap(engine)) > _tolerance(engine):
        raise _unsupported(engine, "log-probs computed in parts", gap)
    layers = set(getattr(engine.config, "layer_types", None) or [])
    if engine.model.config._attn_implementation != "sdpa" or not layers <= _PACKABLE_LAYERS:
        return False
    engine.packs = True
    try:
        gap = _probe_gap(engine)
    except Exception as error:  # an architecture's own code may fail in any way when its attention is replaced
        log.info("model %r cannot be packed (%s): padding instead", engine.name, error)
        return False
    if gap > _tolerance(engine):
        log.info("model %r packed differs by %.2g from its own forward pass: padding instead", engine.name, gap)
    return gap <= _tolerance(engine)


def _unsupported(engine: "TransformersEngine", what: str, gap: float) -> DistraceError:
    return DistraceError(
        f"model {engine.name!r} ({type(engine.model).__name__}): {what} differ by {gap:.2g} from the model's own "
        "forward pass; the transformers engine does not support this architecture"
    )


def _tolerance(engine: "TransformersEngine") -> float:
    return 1e-3 if engine.model.dtype in (torch.float32, torch.float64) else 0.1


@torch.inference_mode()
def _probe_gap(engine: "TransformersEngine") -> float:
    """Give the mean difference in log-prob, on a few short sequences, from the model's own full forward pass."""
    tokens = np.random.default_rng(0).integers(0, engine.model.get_input_embeddings().weight.shape[0], 24).tolist()
    # A prompt longer than the responses, so that `packed_attention` takes both of its ways.
    prompt, *responses = tokens[:12], tokens[12:15], tokens[15:19], tokens[19:]
    requests = [ScoreRequest(prompt, response, np.ones(len(response), bool)) for response in responses]
    gaps = []
    for request, score in zip(requests, engine._score(requests), strict=True):
        ids = torch.tensor([prompt + request.response], device=engine.device)
        logits = engine.model(input_ids=ids, use_cache=False).logits[0].float()
        expected = logits.log_softmax(1)[scored_places(request) - 1, request.response]
        gaps.append(np.abs(score.logprobs - expected.cpu().numpy()))
    return float(np.concatenate(gaps).mean())
