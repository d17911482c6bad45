"""The search for evidence: how fast training responses are made ready and searched, in how much memory, how exactly.

    python benchmarks/evidence.py --data ../shared/data [--megabytes 200] [--planted 2000] [--searched 2000]

Responses are made of real sentences (GSM8K solutions, chains of thought about MATH), drawn at random, with other
numbers. Planted sentences, each of 12 words of different real sentences, stand in known places among them: all must be
found there, whole, in one response. Other sentences made like those of the responses give the rate of the search. In a
small index of `--compared` megabytes, the most similar sentence is compared with the best of all sentences. Seconds are
those of one core. The JSON line is last.
"""

import argparse
import json
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import polars as pl

from distrace.measures.evidence import Index, build_index, find_evidence
from distrace.text.splitting import split
from distrace.text.words import words_of

FILES = {"gsm8k_train.jsonl": "answer", "math_cot_100.jsonl": "code"}
RESPONSES_AT_ONCE = 500
SENTENCES = 100  # of a response
PLANTED_WORDS = 12
BRUTE_FORCE = 50  # sentences for which all others are compared


def main() -> None:
    """Make the responses ready, search them, and print what it cost and whether all was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the files")
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--planted", type=int, default=2000)
    parser.add_argument("--searched", type=int, default=2000)
    parser.add_argument("--compared", type=float, default=2, help="megabytes")
    options = parser.parse_args()
    sentences = real_sentences(options.data)
    found = {"real_sentences": len(sentences), "memory_before_mib": peak_mib()}
    made = Made(sentences, int(options.megabytes * 1e6), options.planted)
    began = time.process_time()
    index = build_index(made.frames())
    seconds = time.process_time() - began - made.seconds
    found |= {
        "megabytes": round(made.bytes / 1e6, 1),
        "responses": len(index.responses),
        "words": index.words,
        "distinct_words": len(index.vocabulary),
        "ready_s": round(seconds, 1),
        "ready_mb_per_s": round(made.bytes / 1e6 / seconds, 2),
        "memory_mib": peak_mib(),
    }
    print(found, flush=True)
    found |= planted(index, made) | searched(index, numbers_changed(sentences, options.searched, seed=7))
    found["peak_mib"] = peak_mib()
    del index
    found |= compared(sentences, int(options.compared * 1e6))
    print(json.dumps(found))


def real_sentences(data: Path) -> list[str]:
    """Return the sentences of the files, as the default splitter cuts them."""
    texts = []
    for name, column in FILES.items():
        for line in (data / name).read_text("utf-8").splitlines():
            value = json.loads(line)[column]
            texts += [value] if isinstance(value, str) else value
    found = [text[start:end] for text in texts for start, end in pairwise(split(text, "sentences", 0))]
    return [text if text[-1].isspace() else f"{text}\n" for text in found]


def numbers_changed(sentences: list[str], count: int, seed: int) -> list[str]:
    """Return so many of the sentences, drawn at random, with other numbers of as many digits at most."""
    rng = np.random.default_rng(seed)
    drawn = [sentences[number] for number in rng.integers(0, len(sentences), count)]
    return [re.sub(r"\d+", lambda found: str(rng.integers(0, 10 ** min(len(found[0]), 6))), text) for text in drawn]


class Made:
    """Responses that are made while they are read; `places` are those of the planted sentences, by their text."""

    def __init__(self, sentences: list[str], size: int, count: int) -> None:
        """Draw the planted sentences."""
        self.sentences, self.size, self.bytes, self.seconds = sentences, size, 0, 0.0
        words = words_of(pl.Series(sentences)).unique("text", keep="any", maintain_order=True)["word"].to_numpy()
        rng = np.random.default_rng(1)
        drawn = rng.integers(0, len(words), (count, PLANTED_WORDS))
        self.unplanted = [" ".join(words[row]) + " " for row in drawn]
        self.each = max(1, size // (count or 1) // 80 // SENTENCES)
        self.places: dict[str, tuple[str, int, int]] = {}

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the responses, as the node reads them; `seconds` is the time that it takes to make them."""
        first = 0
        while self.bytes < self.size:
            began = time.process_time()
            frame = self.frame(first)
            first += len(frame)
            self.seconds += time.process_time() - began
            yield frame

    def frame(self, first: int) -> pl.DataFrame:
        """Return some responses, of which each so many-th holds a planted sentence."""
        drawn = numbers_changed(self.sentences, RESPONSES_AT_ONCE * SENTENCES, seed=first)
        rows = []
        for number in range(RESPONSES_AT_ONCE):
            written = drawn[number * SENTENCES : (number + 1) * SENTENCES]
            rollout_id = f"r{first + number}"
            if number % self.each == 0 and self.unplanted:
                text, at = self.unplanted.pop(), (first + number) % SENTENCES
                written.insert(at, text)
                self.places[text] = (rollout_id, at, sum(map(len, written[:at])))
            bounds = np.cumsum([0, *map(len, written)])
            text = "".join(written)
            self.bytes += len(text.encode())
            rows.append((rollout_id, "q", text, bounds[:-1], bounds[1:]))
        return pl.DataFrame(rows, schema=["rollout_id", "question_id", "text", "starts", "ends"], orient="row")


def planted(index: Index, made: Made) -> dict[str, float]:
    """Return how many planted sentences there are, and the share found whole, in one response, at the right place."""
    texts = list(made.places)
    place = ("whole", "responses", "source_rollout_id", "source_sentence", "source_start")
    rows = find_evidence(index, pl.Series(texts)).select(place).rows()
    right = [row == (True, 1, *made.places[text]) for text, row in zip(texts, rows, strict=True)]
    return {"planted": len(right), "found_at_the_right_place": float(np.mean(right))}


def searched(index: Index, sentences: list[str]) -> dict[str, float]:
    """Return how fast sentences are searched that were made like those of the responses."""
    texts = pl.Series(sentences)
    began = time.process_time()
    table = find_evidence(index, texts)
    seconds = time.process_time() - began
    return {
        "searched_sentences": len(texts),
        "sentences_per_s": round(len(texts) / seconds),
        "words_per_s": round(table["sentence_words"].sum() / seconds),
        "verbatim": round(table["verbatim"].mean(), 3),
    }


def compared(sentences: list[str], size: int) -> dict[str, float]:
    """Return how similar the sentence that is found is, and how similar the best of all is, on average."""
    made = Made(sentences, size, 0)
    frames = list(made.frames())
    index = build_index(frames)
    all_counts = [words_and_pairs(text) for text in sentences_in(frames)]
    texts = pl.Series(numbers_changed(sentences, 10 * BRUTE_FORCE, seed=8))
    rows = find_evidence(index, texts).with_columns(text=texts).filter(pl.col("similarity").is_not_null())
    rows = rows.head(BRUTE_FORCE)
    best = []
    for text in rows["text"]:
        mine = words_and_pairs(text)
        best.append(max(2 * (mine & other).total() / (mine.total() + other.total()) for other in all_counts))
    found = rows["similarity"].to_numpy()
    return {
        "compared_sentences": len(best),
        "with_each_of": len(all_counts),
        "similarity_found": round(float(found.mean()), 4),
        "similarity_of_the_best": round(float(np.mean(best)), 4),
        "as_similar_as_the_best": round(float(np.mean(found > np.array(best) - 1e-9)), 3),
    }


def sentences_in(frames: list[pl.DataFrame]) -> Iterator[str]:
    """Yield the sentences that have a word."""
    for frame in frames:
        for text, starts, ends in frame.select("text", "starts", "ends").iter_rows():
            yield from (text[a:b] for a, b in zip(starts, ends, strict=True) if text[a:b].strip())


def words_and_pairs(text: str) -> Counter:
    """Return the words of a sentence and its pairs of neighbours, with how often each is there."""
    words = words_of(pl.Series([text]))["word"].to_list()
    return Counter(chain(words, pairwise(words)))


def peak_mib() -> int:
    """Return the most memory that this process had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
