"""The server engine: the same requests, sent to a server of OpenAI-compatible completions (vLLM, SGLang).

Prompts go as token ids, and log-probs of prompts come back, as vLLM's `prompt_logprobs` or as OpenAI's `echo` with
`logprobs` (`forms.py`). Servers differ in what they make of either, so a server is probed before it scores anything
(`probe.py`): sequences are sent whose log-probs must agree with each other in known ways. A server that fails is
refused.
"""

from distrace.engines.server.engine import ServerEngine
from distrace.engines.server.loading import load

__all__ = ["ServerEngine", "load"]
