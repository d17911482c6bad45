"""The fresh node: an untrained Llama model, with a tokenizer trained on the solutions of a set of questions.

Run by the workflow as `python -m distrace.nodes.fresh --name NAME --settings JSON --questions PARTS --out FILE`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from distrace import command, kinds
from distrace.models import folder_card, replacing_folder, write_card
from distrace.parts import open_parts

END, PAD = "<|end|>", "<|pad|>"
_MLP_RATIO = 3
# A word, or other signs, with the white space after it.
_SPACE_BEHIND = r"\w+\s*|[^\w\s]+\s*|\s+"


@dataclass(frozen=True)
class Fresh:
    """The size of the model and of its byte-level BPE vocabulary.

    With `words`, a token holds the space before its word, as GPT-2's do; otherwise the space after it.
    """

    vocabulary: int = 512
    words: bool = True
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    context_length: int = 512
    seed: int = 0


def write_fresh(name: str, settings: Fresh, questions: Path, out: Path) -> None:
    """Write the model to `weights/` beside the card at `out`; the same seed gives the same weights."""
    table = open_parts(questions, kinds.QUESTIONS).read("question", "solution")
    tokenizer = train_tokenizer([*table["question"], *table["solution"]], settings)
    set_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=_MLP_RATIO * settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.context_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    weights = out.parent / "weights"
    with replacing_folder(weights) as unfinished:
        LlamaForCausalLM(config).save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    write_card(out, folder_card(name, str(weights)))


def train_tokenizer(texts: Iterable[str], settings: Fresh) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, which can represent any text, trained on `texts`."""
    tokenizer = Tokenizer(models.BPE())
    if settings.words:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        words = pre_tokenizers.Split(Regex(_SPACE_BEHIND), behavior="isolated")
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


if __name__ == "__main__":
    command.run(write_fresh, alone=True)
