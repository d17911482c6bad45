"""Loading a model and its tokenizer for the transformers engine."""

import logging

import torch
import transformers
from transformers import AutoModelForCausalLM

from distrace.engines import Engine, Purpose
from distrace.engines.transformers.checks import checked_engine
from distrace.errors import DistraceError
from distrace.models import Card, load_tokenizer
from distrace.settings import Execution, ModelSettings

log = logging.getLogger(__name__)


def load(card: Card, settings: ModelSettings, execution: Execution, purpose: Purpose) -> Engine:
    """Load the model (safetensors only) and the tokenizer of a card, and check them as `checked_engine` does.

    Raises DistraceError if nothing says how long the model's context is, or if a check fails.
    """
    transformers.utils.logging.disable_progress_bar()  # transformers leaves it untyped
    tokenizer = load_tokenizer(card, settings.trust_remote_code)
    model = AutoModelForCausalLM.from_pretrained(
        card.location,
        revision=card.revision,
        trust_remote_code=settings.trust_remote_code,
        dtype=getattr(torch, settings.dtype),
        attn_implementation=settings.attention,
        use_safetensors=True,
        device_map=_device_map(execution.gpus),
    )
    known = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    context_length = settings.context_length or known
    if context_length is None:
        raise DistraceError(f"model {card.name!r}: its config does not say how long its context is; set context_length")
    model.eval()  # torch leaves it untyped
    return checked_engine(model, tokenizer, card.name, context_length, execution, purpose)


def _device_map(gpus: int) -> str | dict[str, str]:
    if gpus > 0 and not torch.cuda.is_available():
        log.warning("%d GPUs are configured, but torch sees none: running on CPU", gpus)
        gpus = 0
    return "auto" if gpus > 1 else {"": "cuda:0" if gpus else "cpu"}
