"""The vLLM engine: the same requests, answered by vLLM in this process; for long responses on GPUs.

vLLM has an environment of its own (`envs/vllm.yaml` for GPUs, `envs/vllm-cpu.txt`). It schedules requests itself, so a
batch here is only what is kept when a job is killed. docs/engines.md says in what its numbers differ.
"""

import logging
import os
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from distrace.engines import Engine, Purpose, external
from distrace.engines.requests import Generated, GenerateRequest, Score, ScoreRequest, Tick, token_limit
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings, Sampling

log = logging.getLogger(__name__)

LOGITS_BYTES = 2**29  # of float32 logits that vLLM computes at once for the log-probs of prompts; it holds some three
GPU_MEMORY = 0.85  # share for weights and cache: vLLM does not count the memory that log-probs of prompts need
CPU_CACHE_GIB = 4


def load(card: Card, settings: ModelSettings, execution: Execution, purpose: Purpose) -> Engine:
    """Load the model of a card into vLLM.

    Raises DistraceError where vLLM is missing or cannot run the model as asked.
    """
    _set_environment()
    LLM, parameters, on_cpu = _vllm(card.name)
    transformers.utils.logging.disable_progress_bar()  # transformers leaves it untyped
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    if execution.gpus == 0 and not on_cpu:
        raise DistraceError(f"model {card.name!r}: this vLLM runs on GPUs; set `gpus` to how many it may use")
    if execution.gpus > 0 and on_cpu:
        log.warning("%d GPUs are configured, but this vLLM is built for CPUs: running on CPU", execution.gpus)
    chunk = execution.token_budget or LOGITS_BYTES // (4 * len(tokenizer))
    # On a CPU, vLLM 0.32 fails where it draws with a seed after it read the prompt in two steps.
    splits = not on_cpu or purpose == "score"
    try:
        llm = LLM(card.location, **_options(card, settings, chunk, splits, 0 if on_cpu else execution.gpus))
    except (ValueError, RuntimeError) as error:
        raise DistraceError(f"model {card.name!r}: vLLM cannot run it: {error}") from error
    context_length = settings.context_length or llm.llm_engine.model_config.max_model_len - 1
    return VllmEngine(llm, parameters, tokenizer, context_length, external.end_tokens(card, tokenizer), card.name)


def _options(card: Card, settings: ModelSettings, chunk: int, splits: bool, gpus: int) -> dict[str, Any]:
    """Return what vLLM is told beside the model's location.

    `chunk` is how many tokens it works on at once, if it `splits` prompts: whole ones may be longer.
    """
    return {
        "revision": card.revision,
        "tokenizer_revision": card.revision,
        "trust_remote_code": settings.trust_remote_code,
        "dtype": settings.dtype,
        # It always draws one token after those it scores.
        "max_model_len": settings.context_length and settings.context_length + 1,
        "max_num_batched_tokens": chunk if splits else None,
        "max_num_seqs": min(256, chunk),
        "enable_chunked_prefill": splits,
        "enable_prefix_caching": False,
        "enforce_eager": gpus == 0,
        "tensor_parallel_size": max(1, gpus),
        "gpu_memory_utilization": GPU_MEMORY,
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
    }


def _set_environment() -> None:
    """Set what vLLM reads from the environment when it is imported, where the user has not."""
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if not torch.cuda.is_available():
        # By itself it takes half of the memory, and binds every job to the same cores.
        defaults |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _vllm(name: str) -> tuple[Any, Any, bool]:
    """Return vLLM's classes for models and for sampling parameters, and whether it is built for CPUs."""
    try:  # not on top of the module: vLLM is optional, and reads the environment when it is imported
        from vllm import LLM, SamplingParams
        from vllm.platforms import current_platform
    except ImportError as error:
        raise DistraceError(
            f"model {name!r}: engine 'vllm' needs vLLM, and this Python cannot import it ({error}); "
            "make its environment from envs/vllm.yaml or envs/vllm-cpu.txt (docs/engines.md)"
        ) from error
    return LLM, SamplingParams, current_platform.is_cpu()


class VllmEngine:
    """A model in vLLM that scores and generates (`distrace.engines.Engine`).

    `llm` is vLLM's `LLM`, `parameters` its class `SamplingParams`: vLLM is not there to be named as a type.
    """

    def __init__(
        self,
        llm: Any,
        parameters: Any,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int,
        ends: set[int],
        name: str,
    ):
        self.llm, self.parameters, self.tokenizer = llm, parameters, tokenizer
        self.context_length, self.ends, self.name = context_length, ends, name

    def score_batches(self, requests: list[ScoreRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches of bounded size, the longest sequences first."""
        return external.score_batches(requests)

    def score(self, requests: list[ScoreRequest], top: int = 0) -> list[Score]:
        """Return the log-probs and ranks of one batch.

        Raises DistraceError where vLLM gives a token none, or if `top` is asked for.
        """
        external.require_no_top(self.name, top)
        asked = self.parameters(temperature=0.0, max_tokens=1, prompt_logprobs=0, flat_logprobs=True, detokenize=False)
        prompts = [external.sent(request) for request in requests]
        asking = [prompt for prompt in prompts if prompt]
        outputs = iter(self._run(asking, [asked] * len(asking)))
        return [
            self._score(request, prompt, next(outputs).prompt_logprobs if prompt else [])
            for request, prompt in zip(requests, prompts, strict=True)
        ]

    def _score(self, request: ScoreRequest, prompt: list[int], entries: list[Any]) -> Score:
        if len(entries) != len(prompt):
            raise DistraceError(f"model {self.name!r}: vLLM gave {len(entries)} log-probs for {len(prompt)} tokens")
        found = [entry and entry[token] for entry, token in zip(entries, prompt, strict=True)]
        logprobs = [entry.logprob if entry else None for entry in found]
        return external.score_of(self.name, request, logprobs, [entry.rank if entry else 0 for entry in found])

    def generate_batches(self, requests: list[GenerateRequest]) -> list[list[int]]:
        """Return the indices of the requests in batches of bounded size, the longest prompts first."""
        return external.generate_batches(requests)

    def generate(
        self, requests: list[GenerateRequest], sampling: Sampling, tick: Tick | None = None
    ) -> list[Generated]:
        """Return a response to each request of one batch; `tick` is called for each response, when it is whole.

        Raises DistraceError where vLLM stops a response for another reason than its end or its limit.
        """
        parameters = [self._sampling(request, sampling) for request in requests]
        outputs = self._run([request.prompt for request in requests], parameters, tick)
        return [self._generated(output.outputs[0]) for output in outputs]

    def _sampling(self, request: GenerateRequest, sampling: Sampling) -> Any:
        return self.parameters(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=external.seed_of(request),
            max_tokens=token_limit(request, self.context_length),
            stop_token_ids=sorted(self.ends),
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
        )

    def _generated(self, output: Any) -> Generated:
        tokens = list(output.token_ids)
        logprobs = [entry[token].logprob for token, entry in zip(tokens, output.logprobs, strict=True)]
        ends = self.ends | ({output.stop_reason} if isinstance(output.stop_reason, int) else set())
        return external.generated(self.name, tokens, logprobs, output.finish_reason, ends)

    def _run(self, prompts: list[list[int]], parameters: list[Any], tick: Tick | None = None) -> list[Any]:
        """Return vLLM's final output for each prompt, in order."""
        self.llm.enqueue([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
        outputs: list[Any] = []
        while self.llm.llm_engine.has_unfinished_requests():
            finished = [output for output in self.llm.llm_engine.step() if output.finished]
            outputs += finished
            if tick:
                tick(sum(len(output.outputs[0].token_ids) for output in finished), len(finished))
        return sorted(outputs, key=lambda output: int(output.request_id))
