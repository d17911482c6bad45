"""The texts of a training example in the form that each other trainer reads, in the student's own prompt format.

- TRL reads `prompt` and `completion`. They are messages where TRL, which renders them with the tokenizer's chat
  template, then writes what the student's format writes; else the format's own text. TRL itself appends the end token
  to text, and its tokenizer may begin it with one.
- LLaMA-Factory reads `instruction` and `output`. Its template `empty` tokenises them apart and adds nothing, so they
  hold all special tokens as text, the end token included: the tokens are those that `finetune` trains on.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

import polars as pl

from distrace.ahead import kept_in_threads
from distrace.errors import DistraceError
from distrace.rejects import Reject
from distrace.text.alignment import encode_prompt, encode_response
from distrace.text.prompts import Format, message_text, prompt_text, response_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Messages = list[dict[str, str]]

ROWS_AT_ONCE = 256
_QUESTION = "What is 3 + 4?"
_RESPONSES = ("Three and four make seven.\n\nThe answer is 7.", "<think>\nI add.\n</think>\n\nThe answer is 7.")
_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


@dataclass(frozen=True)
class Example:
    """The texts of a training example; `source` is the response's id."""

    source: str
    prompt: str | Messages
    completion: str | Messages
    instruction: str
    output: str


def examples(
    frames: Iterable[pl.DataFrame], tokenizer: "Tokenizer", form: Format, threads: int, rejects: list[Reject]
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the frames with the texts of `Example` as further columns, a few hundred at a time.

    The frames have the columns `source`, `question`, `text` and `answer_start`. A row that the student's format or
    tokenizer cannot write is left out, and put to the `rejects` with the reason. Raises DistraceError if the tokenizer
    has no end token.
    """
    if tokenizer.eos_token is None:
        raise DistraceError("the student's tokenizer has no end token: who learns from the responses would not end")
    as_messages = writes_as_messages(form, tokenizer)
    make, first = partial(_example, tokenizer, form, as_messages), 0
    with ThreadPoolExecutor(threads) as pool:
        for rows in chain.from_iterable(frame.iter_slices(ROWS_AT_ONCE) for frame in frames):
            columns = rows.select("source", "question", "text", "answer_start")
            made, dropped = kept_in_threads(columns.iter_rows(), make, itemgetter(0), pool, first)
            first += len(rows)
            rejects += dropped
            texts = pl.DataFrame(map(asdict, made), schema=_schema(as_messages))
            yield rows.join(texts, on="source", how="inner", maintain_order="left")


def writes_as_messages(form: Format, tokenizer: "Tokenizer") -> bool:
    """Return whether the chat template renders a user's and an assistant's message as the format writes both.

    It does not where the template adds to a response (an empty `<think>`) or takes its reasoning away, prints today's
    date, or ends with another token than the tokenizer's end token.
    """
    if form.name != "chat":
        return False
    prompt, end = form.prompt(_QUESTION), tokenizer.eos_token

    def rendered(response: str) -> str:
        messages = _user(_QUESTION) + _assistant(response)
        return str(tokenizer.apply_chat_template(messages, tokenize=False)).rstrip()

    return all(rendered(response) == f"{prompt}{response}{end}" for response in _RESPONSES)


def _schema(as_messages: bool) -> dict[str, pl.DataType | type[pl.DataType]]:
    of_trl = _MESSAGES if as_messages else pl.String
    return {"source": pl.String, "prompt": of_trl, "completion": of_trl, "instruction": pl.String, "output": pl.String}


def _example(tokenizer: "Tokenizer", form: Format, as_messages: bool, row: tuple[str, str, str, int]) -> Example:
    source, question, text, answer_start = row
    pieces = response_pieces(form, text, answer_start)
    encode_response(tokenizer, pieces)  # which raises where the tokenizer would lose characters
    prompt, response = prompt_text(form, question), "".join(piece.text for piece in pieces)
    return Example(
        source=source,
        prompt=_user(message_text(form, question)) if as_messages else _without_added_bos(tokenizer, prompt),
        completion=_assistant(response) if as_messages else response,
        instruction=_with_bos(tokenizer, prompt),
        output=response + tokenizer.eos_token,
    )


def _user(content: str) -> Messages:
    return [{"role": "user", "content": content}]


def _assistant(content: str) -> Messages:
    return [{"role": "assistant", "content": content}]


def _without_added_bos(tokenizer: "Tokenizer", prompt: str) -> str:
    """Return the prompt without a beginning token that a tokenizer which adds it by itself would write twice."""
    adds_bos = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return prompt.removeprefix(tokenizer.bos_token) if adds_bos else prompt


def _with_bos(tokenizer: "Tokenizer", prompt: str) -> str:
    """Return the prompt with the beginning token as text, where `encode_prompt` begins with it."""
    begins_with_bos = encode_prompt(tokenizer, prompt)[0] == tokenizer.bos_token_id
    return tokenizer.bos_token + prompt if begins_with_bos and not prompt.startswith(tokenizer.bos_token) else prompt
