"""Connecting to the server of a model, and probing it."""

import transformers
from transformers import AutoConfig, PreTrainedTokenizerBase

from distrace.engines import Engine, Purpose
from distrace.engines.external import end_tokens
from distrace.engines.server.client import Client
from distrace.engines.server.engine import ServerEngine
from distrace.engines.server.probe import require_generation, working_form
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings, Server

_LENGTH_UNKNOWN = 10**9  # tokenizers say 10**30 where they do not know


def load(card: Card, settings: ModelSettings, execution: Execution, purpose: Purpose) -> Engine:
    """Connect to the server of a model and probe it; raise DistraceError if it cannot be reached, used or trusted."""
    if not execution.server:
        raise DistraceError(f"model {card.name!r}: engine 'server' needs `server`: its url and the model's name there")
    transformers.utils.logging.disable_progress_bar()  # transformers leaves it untyped
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    context_length = settings.context_length or _context_length(card, tokenizer, settings.trust_remote_code)
    client = Client(card.name, Server(**execution.server))
    client.require_model(context_length)
    form = working_form(client, tokenizer, context_length)
    engine = ServerEngine(client, tokenizer, context_length, end_tokens(card, tokenizer), form)
    if purpose == "generate":
        require_generation(engine)
    return engine


def _context_length(card: Card, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool) -> int:
    """Return the context length that config or tokenizer tell, less the one token that scoring has the server draw."""
    try:
        config = AutoConfig.from_pretrained(
            card.location, revision=card.revision, trust_remote_code=trust_remote_code
        ).get_text_config()
        told = getattr(config, "max_position_embeddings", None)
    except (OSError, ValueError):  # a tokenizer without a model's config
        told = None
    length: int = told or tokenizer.model_max_length
    if length > _LENGTH_UNKNOWN:
        raise DistraceError(
            f"model {card.name!r}: neither config nor tokenizer says how long its context is; set context_length"
        )
    return length - 1
