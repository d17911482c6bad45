"""The texts for TRL and LLaMA-Factory: both, tokenised as these do, are the tokens that `finetune` trains on."""

import polars as pl
import pytest
from tokenizers import processors

from distrace.errors import DistraceError
from distrace.export.forms import examples, writes_as_messages
from distrace.rejects import Reject
from distrace.settings import ModelSettings
from distrace.text.prompts import load_format
from distrace.training.examples import tokenised
from tiny import tiny_tokenizer

CHAT = (
    "{% for message in messages %}<|user|>{{ message.content }}{% if message.role == 'assistant' %}<|end|>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<|user|>{% endif %}"
)
FILE = '{%- set before_reasoning = "<r>" -%}{%- set between = "</r>" -%}{{ eos_token }}Q: {{ message }}\nA:'
ROWS = [
    ("r0", "Add 1 and 2.", "Three.", 0),
    ("r1", "Add 3\nand 4.", "First, 3. Then 4.\nSo the answer is 7.\n", 9),
    ("r2", "Say ‘é’ 🙂.", " ‘é’ 🙂", 0),
]


def rows(*values: tuple) -> pl.DataFrame:
    schema = ["source", "question", "text", "answer_start"]
    return pl.DataFrame(list(values), schema=schema, orient="row")


def tokenizer_with(chat_template: str | None = None, adds_bos: bool = False):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = chat_template
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    if adds_bos:
        first = [("<s>", tokenizer.bos_token_id)]
        tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=first)
    return tokenizer


def written(tokenizer, settings: ModelSettings, values=ROWS, threads: int = 2) -> tuple[list[dict], list[Reject]]:
    rejects: list[Reject] = []
    frames = examples([rows(*values)], tokenizer, load_format(settings, tokenizer), threads, rejects)
    return pl.concat(frames).to_dicts(), rejects


def learnt(tokenizer, settings: ModelSettings, row: tuple) -> tuple[list[int], list[int]]:
    """Return the tokens and labels of an example of `finetune`."""
    example = tokenised(tokenizer, load_format(settings, tokenizer), 999, (), row)
    return example["input_ids"].tolist(), example["labels"].tolist()


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("name", ["plain", "chat", "think", "harmony", FILE])
def test_template_empty_of_llama_factory_gives_the_tokens_that_finetune_trains_on(name, adds_bos):
    tokenizer = tokenizer_with("<s>" + CHAT, adds_bos)
    settings = ModelSettings(format=name, instruction="{{ question }} Think.")
    found, rejects = written(tokenizer, settings)
    assert rejects == []
    for example, row in zip(found, ROWS, strict=True):
        prompt, response = (
            tokenizer.encode(example[column], add_special_tokens=False) for column in ("instruction", "output")
        )
        assert (prompt + response, [-100] * len(prompt) + response) == learnt(tokenizer, settings, row)


# A format that writes special tokens but no beginning one is left out where the tokenizer adds that to every text.
@pytest.mark.parametrize(
    ("name", "begin", "adds_bos"),
    [("plain", "", False), ("plain", "", True), ("think", "<s>", False), ("think", "<s>", True), (FILE, "", False)],
)
def test_text_for_trl_gives_the_tokens_that_finetune_trains_on(name, begin, adds_bos):
    tokenizer = tokenizer_with(begin + CHAT, adds_bos)
    settings = ModelSettings(format=name)
    for example, row in zip(written(tokenizer, settings)[0], ROWS, strict=True):
        text = example["prompt"] + example["completion"] + tokenizer.eos_token
        assert tokenizer(text).input_ids == learnt(tokenizer, settings, row)[0]


def test_messages_hold_the_instruction_and_the_response_where_the_chat_template_writes_what_the_format_does():
    tokenizer = tokenizer_with(CHAT)
    [example, *_], _ = written(tokenizer, ModelSettings(format="chat", instruction="{{ question }} Think."))
    assert example["prompt"] == [{"role": "user", "content": "Add 1 and 2. Think."}]
    assert example["completion"] == [{"role": "assistant", "content": "Three."}]
    rendered = tokenizer.apply_chat_template(example["prompt"] + example["completion"], tokenize=False)
    assert rendered == example["instruction"] + example["output"]


@pytest.mark.parametrize(
    ("chat_template", "name"),
    [
        (CHAT, "plain"),
        (CHAT, "think"),
        (CHAT.replace("<|end|>", ""), "chat"),
        (CHAT.replace("<|end|>", "<|done|>"), "chat"),
        (CHAT.replace("<|end|>", "<|end|>{{ strftime_now('%d %b %Y') }}"), "chat"),
        ("{{ strftime_now('%d %b %Y') }}" + CHAT, "chat"),
        (CHAT.replace("{{ message.content }}", "<think></think>{{ message.content }}"), "chat"),
        (CHAT.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}"), "chat"),
    ],
    ids=["plain", "think", "no end", "another end", "date at the end", "date", "adds thinking", "cuts thinking"],
)
def test_text_is_written_where_messages_would_be_rendered_in_another_way(chat_template, name):
    tokenizer = tokenizer_with(chat_template)
    settings = ModelSettings(format=name)
    assert not writes_as_messages(load_format(settings, tokenizer), tokenizer)
    [example, *_], _ = written(tokenizer, settings)
    assert example["prompt"] + example["completion"] + "<|end|>" == example["instruction"] + example["output"]


def test_rows_that_the_format_cannot_write_are_rejected_under_their_number_and_the_others_keep_their_columns():
    tokenizer, rejects = tokenizer_with(CHAT), []
    bad = ("bad", "Add.", "A </think> inside.", 0)
    frames = [rows(ROWS[0]).with_columns(mine=pl.lit(5)), rows(bad, ROWS[1]).with_columns(mine=pl.lit(6))]
    form = load_format(ModelSettings(format="think"), tokenizer)
    found = pl.concat(examples(frames, tokenizer, form, 1, rejects))
    assert found.select("source", "mine").rows() == [("r0", 5), ("r1", 6)]
    assert rejects == [Reject("bad", 1, "character 2 of the text begins '</think>', glue of format 'think'")]


def test_a_tokenizer_without_an_end_token_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(DistraceError, match="no end token"):
        written(tokenizer, ModelSettings(format="plain"))
