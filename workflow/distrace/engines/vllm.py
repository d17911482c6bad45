"""The vLLM engine: the same questions, answered by vLLM in this process; for long responses on GPUs.

vLLM has an environment of its own (`envs/vllm.yaml` for GPUs, `envs/vllm-cpu.txt`). It schedules requests itself, so a
batch here is only what is kept when a job is killed. docs/engines.md says in what its numbers differ.
"""

import logging
import os
from collections.abc import Callable

import torch
import transformers

from distrace.engines.requests import Generated, GenerateRequest, Score, ScoreRequest, limit
from distrace.engines.whole import (
    end_tokens,
    generate_batches,
    generated,
    score_batches,
    score_of,
    seed_of,
    sent,
)
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings, Sampling

log = logging.getLogger(__name__)

LOGITS_BYTES = 2**29  # of float32 logits that vLLM computes at once for the log-probs of prompts; it holds some three
GPU_MEMORY = 0.85  # share for weights and cache: vLLM does not count the memory that log-probs of prompts need
CPU_CACHE_GIB = 4


def load(card: Card, settings: ModelSettings, execution: Execution) -> "VllmEngine":
    """Load the model of a card into vLLM; raise DistraceError where vLLM is missing or cannot run it as asked."""
    _set_environment()
    LLM, parameters, on_cpu = _vllm(card.name)
    transformers.utils.logging.disable_progress_bar()
    where = {"revision": card.revision, "trust_remote_code": settings.trust_remote_code}
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    chunk = execution.token_budget or LOGITS_BYTES // (4 * len(tokenizer))
    if execution.gpus == 0 and not on_cpu:
        raise DistraceError(f"model {card.name!r}: this vLLM runs on GPUs; set `gpus` to how many it may use")
    if execution.gpus > 0 and on_cpu:
        log.warning("%d GPUs are configured, but this vLLM is built for CPUs: running on CPU", execution.gpus)
    try:
        llm = LLM(
            card.location,
            tokenizer_revision=card.revision,
            dtype=settings.dtype,
            max_model_len=settings.window and settings.window + 1,  # it always draws one token after those it scores
            max_num_batched_tokens=chunk,
            max_num_seqs=min(256, chunk),
            enable_chunked_prefill=True,
            enable_prefix_caching=False,
            enforce_eager=on_cpu,
            tensor_parallel_size=1 if on_cpu else execution.gpus,
            gpu_memory_utilization=GPU_MEMORY,
            logprobs_mode="raw_logprobs",
            disable_log_stats=True,
            **where,
        )
    except (ValueError, RuntimeError) as error:
        raise DistraceError(f"model {card.name!r}: vLLM cannot run it: {error}") from error
    window = settings.window or llm.llm_engine.model_config.max_model_len - 1
    return VllmEngine(llm, parameters, tokenizer, window, end_tokens(card, tokenizer), card.name)


def _set_environment() -> None:
    """Set what vLLM reads from the environment when it is imported, where the user has not."""
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if not torch.cuda.is_available():
        # By itself it takes half of the memory, and binds every job to the same cores.
        defaults |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _vllm(name: str) -> tuple:
    """Give vLLM's classes for models and for sampling parameters, and whether it is built for CPUs."""
    try:
        from vllm import LLM, SamplingParams
        from vllm.platforms import current_platform
    except ImportError as error:
        raise DistraceError(
            f"model {name!r}: engine 'vllm' needs vLLM, and this Python cannot import it ({error}); "
            "make its environment from envs/vllm.yaml or envs/vllm-cpu.txt (docs/engines.md)"
        ) from error
    return LLM, SamplingParams, current_platform.is_cpu()


class VllmEngine:
    """A model in vLLM that scores and generates."""

    def __init__(self, llm, parameters: type, tokenizer, window: int, ends: set[int], name: str = "model"):
        self.llm, self.parameters, self.tokenizer, self.window = llm, parameters, tokenizer, window
        self.ends, self.name = ends, name

    def score_plan(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches of bounded size, those with the longest sequences first."""
        return score_batches(requests)

    def score(self, requests: list[ScoreRequest]) -> list[Score]:
        """Give the log-probs and ranks of one batch; raise DistraceError where vLLM gives a token none."""
        asked = self.parameters(temperature=0.0, max_tokens=1, prompt_logprobs=0, flat_logprobs=True, detokenize=False)
        prompts = [sent(request) for request in requests]
        asking = [prompt for prompt in prompts if prompt]
        outputs = iter(self._run(asking, [asked] * len(asking)))
        return [
            self._score(request, prompt, next(outputs).prompt_logprobs if prompt else [])
            for request, prompt in zip(requests, prompts, strict=True)
        ]

    def _score(self, request: ScoreRequest, prompt: list[int], entries: list) -> Score:
        if len(entries) != len(prompt):
            raise DistraceError(f"model {self.name!r}: vLLM gave {len(entries)} log-probs for {len(prompt)} tokens")
        found = [entry and entry[token] for entry, token in zip(entries, prompt, strict=True)]
        logprobs = [entry.logprob if entry else None for entry in found]
        return score_of(self.name, request, logprobs, [entry.rank if entry else 0 for entry in found])

    def generate_plan(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Divide requests (by index) into batches, those with the longest prompts first."""
        return generate_batches(requests)

    def generate(
        self,
        requests: list[GenerateRequest],
        sampling: Sampling,
        tick: Callable[[int, int], None] | None = None,
    ) -> list[Generated]:
        """Give a response to each request of one batch; `tick` is told of each response, when it is whole."""
        parameters = [self._sampling(request, sampling) for request in requests]
        outputs = self._run([request.prompt for request in requests], parameters, tick)
        return [self._generated(output.outputs[0]) for output in outputs]

    def _sampling(self, request: GenerateRequest, sampling: Sampling):
        return self.parameters(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=seed_of(request),
            max_tokens=limit(request, self.window),
            stop_token_ids=sorted(self.ends),
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
        )

    def _generated(self, output) -> Generated:
        tokens = list(output.token_ids)
        logprobs = [entry[token].logprob for token, entry in zip(tokens, output.logprobs, strict=True)]
        ends = self.ends | ({output.stop_reason} if isinstance(output.stop_reason, int) else set())
        return generated(self.name, tokens, logprobs, output.finish_reason, ends)

    def _run(self, prompts: list[list[int]], parameters: list, tick: Callable[[int, int], None] | None = None) -> list:
        """Give vLLM's final output for each prompt, in order."""
        self.llm.enqueue([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
        outputs = []
        while self.llm.llm_engine.has_unfinished_requests():
            finished = [output for output in self.llm.llm_engine.step() if output.finished]
            outputs += finished
            if tick:
                tick(sum(len(output.outputs[0].token_ids) for output in finished), len(finished))
        return sorted(outputs, key=lambda output: int(output.request_id))
