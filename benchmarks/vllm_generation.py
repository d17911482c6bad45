"""Generate with vLLM each time that it is asked to; `generation.py` starts it, in an environment that has vLLM.

    python benchmarks/vllm_generation.py FOLDER DTYPE WORK THREADS

WORK is a JSON file with `prompts` (lists of token ids) and `lengths` (tokens of each response). For every line on
standard input, all responses are generated, and a line is written to standard output: ANSWER and a JSON list of their
lengths.
"""

import json
import os
import sys
from pathlib import Path


def main(folder: str, dtype: str, work: str, threads: str) -> None:
    """Load the model, say so, and generate once for each line that comes in."""
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB, as much as the transformers engine takes
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{int(threads) - 1}",
    }
    from vllm import LLM, SamplingParams  # reads the environment when it is imported

    asked = json.loads(Path(work).read_text())
    longest = max(len(prompt) + length for prompt, length in zip(asked["prompts"], asked["lengths"], strict=True))
    llm = LLM(folder, dtype=dtype, enforce_eager=True, max_model_len=longest + 1, disable_log_stats=True)
    prompts = [{"prompt_token_ids": prompt} for prompt in asked["prompts"]]
    # Without seeds: with them, vLLM 0.32 fails on a CPU where it reads a prompt in two steps.
    sampling = [
        SamplingParams(temperature=1.0, max_tokens=length, ignore_eos=True, detokenize=False)
        for length in asked["lengths"]
    ]
    print("ANSWER ready", flush=True)
    for _ in sys.stdin:
        found = llm.generate(prompts, sampling, use_tqdm=False)
        print("ANSWER", json.dumps([len(one.outputs[0].token_ids) for one in found]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
