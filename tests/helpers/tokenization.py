"""Tokenizers of unlike kinds, trained on a few words, for tests: nothing is downloaded."""

import json
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "The row is cup hat key pin bag. We want place 3. The answer is key.",
    "Let us think: \\(x^2 + 3.14 = 0\\), so the sum is 5! and we are done.\n\nTherefore, 今天 is é. 🙂👩‍👧",
] * 20
END_OF_THINKING = "</think>"


def byte_level(add_prefix_space=False, normalizer=None, bos=False, alphabet=None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrapped(tokenizer, bos)


def sentencepiece(kind: str, prepend: str, bos=False) -> PreTrainedTokenizerFast:
    """A tokenizer like those of Llama 2 and Gemma: spaces as U+2581, unknown characters as bytes."""
    unigram = kind == "unigram"
    tokenizer = Tokenizer(models.Unigram() if unigram else models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    options = {"vocab_size": 200, "special_tokens": ["<unk>"], "show_progress": False}
    trainer = trainers.UnigramTrainer(unk_token="<unk>", **options) if unigram else trainers.BpeTrainer(**options)
    tokenizer.train_from_iterator([text[:80] for text in CORPUS], trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = state["model"]["vocab"]
    if unigram:
        vocabulary += [[name, -20.0] for name in names]
    else:
        vocabulary |= {name: len(vocabulary) + i for i, name in enumerate(names)}
    state["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prepend == "legacy":  # every stretch between special tokens begins with a space
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = None
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=unigram)
    tokenizer.decoder = decoders.Sequence(steps if prepend == "never" else [*steps, decoders.Strip(" ", 1, 0)])
    return wrapped(tokenizer, bos)


def wrapped(tokenizer: Tokenizer, bos: bool = False) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens(["<s>", END_OF_THINKING])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def without_bytes() -> PreTrainedTokenizerFast:
    """Byte-level, but bytes that the corpus does not hold are in no token, as in SmolLM2's vocabulary."""
    seen = {char for text in CORPUS for word in byte_words(text) for char in word}
    return byte_level(alphabet=sorted(seen))


def byte_words(text: str) -> list[str]:
    return [word for word, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]


def word_pieces() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator([text[:60] for text in CORPUS], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


BUILDERS = {
    "byte-level": byte_level,
    "byte-level, prefix space, BOS": lambda: byte_level(add_prefix_space=True, bos=True),
    "byte-level, NFC": lambda: byte_level(normalizer=normalizers.NFC()),
    "BPE with byte fallback, prefix space": lambda: sentencepiece("bpe", "always"),
    "BPE with byte fallback, BOS": lambda: sentencepiece("bpe", "never", bos=True),
    "BPE with byte fallback, legacy prefix": lambda: sentencepiece("bpe", "legacy"),
    "Unigram, prefix space at the start": lambda: sentencepiece("unigram", "first", bos=True),
}


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    return BUILDERS[name]()
