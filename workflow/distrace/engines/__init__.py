"""Engines run models: each scores given responses and generates new ones, by token ids.

An engine offers `tokenizer`, `window` (tokens of prompt and response together), and the methods `score_plan`, `score`,
`generate_plan` and `generate` as `distrace.engines.transformers.TransformersEngine` documents them.
"""

from importlib import import_module

from distrace.errors import DistraceError
from distrace.models import Card
from distrace.settings import Execution, ModelSettings

ENGINES = {name: f"distrace.engines.{name}" for name in ("transformers", "vllm", "server")}


def load_engine(card: Card, settings: ModelSettings, execution: Execution):
    """Load the model of a card with the engine that the settings name; raise DistraceError if there is none."""
    if settings.engine not in ENGINES:
        raise DistraceError(f"model {card.name!r}: no engine {settings.engine!r}; there are {sorted(ENGINES)}")
    return import_module(ENGINES[settings.engine]).load(card, settings, execution)
