"""The transformers engine: any causal language model of Hugging Face, on a CPU, one GPU or several."""

from distrace.engines.transformers.checks import checked_engine
from distrace.engines.transformers.engine import TransformersEngine
from distrace.engines.transformers.loading import load

__all__ = ["TransformersEngine", "checked_engine", "load"]
