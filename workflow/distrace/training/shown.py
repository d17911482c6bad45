"""What a model is trained on, to be looked at: the first examples as text, token by token, with what is learnt of them.

`results/models/NAME/examples.txt` is such a file. White space and special tokens can be seen in it.
"""

from collections.abc import Iterator
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distrace.artifacts import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 8
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_UNKNOWN = "\ufffd"  # what tokenizers decode a part of a character to
_LEGEND = (
    "What this model is trained on: the first {shown} of {all} {kind}, which training shuffles. A line is a token:\n"
    "its number, its id, + if it is learnt or . if it is only read, and its text: ␣ is a space, ⏎ a line break, ⇥ a\n"
    "tab; of a token that is part of a character, the tokenizer's name for it. The first token is never learnt."
)


def write_shown(path: Path, examples: Path, tokenizer: "PreTrainedTokenizerBase", shown: int = SHOWN) -> None:
    """Write the first rows of a file of examples or packs, as text."""
    with pa.memory_map(str(examples)) as source:
        batches = list(pa.ipc.open_stream(source))
    count = sum(batch.num_rows for batch in batches)
    rows = list(islice((row for batch in batches for row in batch.to_pylist()), shown))
    kind = "packs of examples" if rows and "seq_lengths" in rows[0] else "examples"
    sections = [_LEGEND.format(shown=len(rows), all=count, kind=kind)]
    sections += ["\n".join(_lines(number, row, tokenizer)) for number, row in enumerate(rows, 1)]
    write_text(path, "\n\n".join(sections) + "\n")


def _lines(number: int, row: dict[str, Any], tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """Yield the lines of an example, or of a pack with a line before each example in it."""
    tokens, labels, lengths = row["input_ids"], row["labels"], row.get("seq_lengths")
    bounds = list(pairwise(accumulate(lengths or [len(tokens)], initial=0)))
    learnt = sum(label >= 0 for start, end in bounds for label in labels[start + 1 : end])
    packed = f"{len(bounds)} examples, " if lengths else ""
    yield f"=== {'pack' if lengths else 'example'} {number}: {packed}{len(tokens)} tokens, {learnt} learnt ==="
    for place, (start, end) in enumerate(bounds, 1):
        if lengths:
            yield f"--- example {place} of the pack: {end - start} tokens ---"
        for position in range(start, end):
            text = _text(tokens[max(start, position - 1) : position + 1], position > start, tokenizer)
            mark = "+" if position > start and labels[position] >= 0 else "."
            yield f"{position - start:6} {tokens[position]:7} {mark} {text}"


def _text(tokens: list[int], has_previous: bool, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the text of the last token: what it adds to the one before, since some begin with a space only there."""
    if tokens[-1] in tokenizer.all_special_ids:
        return f"{tokenizer.convert_ids_to_tokens(tokens[-1])} [special]"
    before = _decoded(tokens[:-1], tokenizer) if has_previous else ""
    both = _decoded(tokens, tokenizer)
    text = both.removeprefix(before)
    if not both.startswith(before) or _UNKNOWN in both:
        text = _decoded(tokens[-1:], tokenizer)
    if _UNKNOWN in text or not text:
        return str(tokenizer.convert_ids_to_tokens(tokens[-1]))
    return "".join(map(_visible, text))


def _decoded(tokens: list[int], tokenizer: "PreTrainedTokenizerBase") -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _visible(character: str) -> str:
    """Return a character that can be seen and does nothing to a terminal."""
    if character in _VISIBLE:
        return _VISIBLE[character]
    return character if character.isprintable() else character.encode("unicode_escape").decode()
