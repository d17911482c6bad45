"""Words of texts and where they stand: the units in which texts are compared word for word.

A word is a run of letters, digits, marks and underscores, or one other symbol; white space parts words and is none.
Where a script puts no spaces between words (Han, kana, Thai, Lao, Khmer, Burmese), each character is a word. Case
counts.
"""

import numpy as np
import polars as pl

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# With the white space before it, so that the matches of a text, joined, are the text.
_WORD = rf"\s*(?:[{_UNSPACED}]|[\w--{_UNSPACED}]+|[^\w\s])"


def words_of(texts: pl.Series) -> pl.DataFrame:
    """Return the words of all texts, in order: `text` (number of the text), `word`, and `start` (first character)."""
    matches = texts.str.extract_all(_WORD)
    counts = matches.list.len().to_numpy()
    words = matches.filter(counts > 0).explode()
    stripped = words.str.strip_chars_start()
    # Characters of all matches up to the end of each, and up to the beginning of its text.
    ends = words.str.len_chars().cast(pl.Int64).to_numpy().cumsum()
    text = np.repeat(np.arange(len(texts)), counts)
    before = np.append(0, ends)[np.cumsum(counts) - counts][text]
    starts = ends - before - stripped.str.len_chars().to_numpy()
    return pl.DataFrame({"text": text, "word": stripped, "start": starts.astype(np.int32)})
