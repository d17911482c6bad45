from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from distrace.errors import DistraceError
from distrace.settings import ModelSettings
from distrace.text.alignment import AlignmentError
from distrace.text.prompts import Piece, generated_pieces, load_format, parse_response, prompt_text, response_pieces

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CUSTOM = (
    '{%- set before_reasoning = "<reason> " -%}{%- set between = "</reason>\n" -%}{%- set after = "\n<done>" -%}'
    "{{ bos_token }}Problem: {{ message }}\nSolution:"
)


def tokenizer_with(chat_template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0}, "<s>")), bos_token="<s>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def format_of(name: str, chat_template: str | None = CHATML, instruction: str = "{{ question }}"):
    return load_format(ModelSettings(format=name, instruction=instruction), tokenizer_with(chat_template))


@pytest.fixture(scope="module")
def custom(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("formats") / "custom.jinja"
    path.write_text(CUSTOM)
    return str(path)


@pytest.fixture(scope="module")
def forms(custom) -> dict:
    return {
        "chat": format_of("chat"),
        "plain": format_of("plain"),
        "think": format_of("think"),
        "think, opened by the prompt": format_of("think", CHATML + "{{ '<think>\n' }}"),
        "think, opened without a line break": format_of("think", CHATML + "<think>"),
        "harmony": format_of("harmony"),
        "custom": format_of(custom),
    }


NAMES = [
    "chat",
    "plain",
    "think",
    "think, opened by the prompt",
    "think, opened without a line break",
    "harmony",
    "custom",
]
WITH_REASONING = NAMES[2:]


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if piece.start is not None)


def test_chat_is_the_template_with_one_message_of_the_user():
    form = format_of("chat", instruction="Solve: {{ question }}!")
    assert prompt_text(form, "1+1?") == "<|im_start|>user\nSolve: 1+1?!<|im_end|>\n<|im_start|>assistant\n"


def test_plain_is_the_instruction_and_a_line_break():
    assert prompt_text(format_of("plain", None, "Q: {{ question }}\nA:"), "1+1?") == "Q: 1+1?\nA:\n"


def test_a_question_is_never_run_as_a_template():
    for name in ("chat", "plain"):
        assert "{{ 1 + 1 }} {0} {% x %}" in prompt_text(format_of(name), "{{ 1 + 1 }} {0} {% x %}")


def test_a_template_that_prints_the_date_gives_the_same_prompt_on_any_day():
    macro = "{% macro today() %}{{ strftime_now('%d %B %Y') }}{% endmacro %}"
    form = format_of("chat", "\n{{ strftime_now('%Y-%m-%d') }} " + macro + "{{ today() }} " + CHATML)
    assert prompt_text(form, "q").startswith("\n2025-01-01 01 January 2025 <|im_start|>user")


def test_think_switches_thinking_on_in_a_hybrid_template():
    hybrid = CHATML + "{% if enable_thinking is not defined or not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    assert not prompt_text(format_of("think", hybrid), "q").endswith("</think>\n\n")
    assert prompt_text(format_of("chat", hybrid), "q").endswith("</think>\n\n")


def test_harmony_needs_no_template_but_prefers_the_tokenizers():
    assert prompt_text(format_of("harmony", None), "q") == "<|start|>user<|message|>q<|end|><|start|>assistant"
    assert prompt_text(format_of("harmony"), "q").startswith("<|im_start|>user")


def test_a_file_of_the_users_prints_the_prompt(custom):
    assert prompt_text(format_of(custom), "q") == "<s>Problem: q\nSolution:"


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("chat", ["Why.So"]),
        ("plain", ["Why.So"]),
        ("think", ["<think>\n", "Why.", "\n</think>\n\n", "So"]),
        ("think, opened by the prompt", ["Why.", "\n</think>\n\n", "So"]),
        ("think, opened without a line break", ["\n", "Why.", "\n</think>\n\n", "So"]),
        (
            "harmony",
            ["<|channel|>analysis<|message|>", "Why.", "<|end|><|start|>assistant<|channel|>final<|message|>", "So"],
        ),
        ("custom", ["<reason> ", "Why.", "</reason>\n", "So", "\n<done>"]),
    ],
)
def test_each_format_writes_its_own_glue_round_the_same_text(forms, name, pieces):
    written = response_pieces(forms[name], "Why.So", 4)
    assert joined(written) == "".join(pieces)
    assert text_of(written) == "Why.So"
    starts = [piece.start for piece in written if piece.start is not None]
    assert starts == [0, 4]


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("plain", "So"),
        ("think", "<think>\n\n</think>\n\nSo"),
        ("think, opened by the prompt", "\n</think>\n\nSo"),
        ("harmony", "<|channel|>final<|message|>So"),
        ("custom", "<reason> </reason>\nSo\n<done>"),
    ],
)
def test_an_answer_without_reasoning_is_written_as_the_format_does(forms, name, response):
    assert joined(response_pieces(forms[name], "So", 0)) == response


@pytest.mark.parametrize("name", WITH_REASONING)
def test_a_response_cut_off_in_its_reasoning_is_all_reasoning(forms, name):
    pieces = response_pieces(forms[name], "Why", 3)
    assert pieces[-1] == Piece("Why", 0)
    assert parse_response(forms[name], joined(pieces)) == ("Why", 3)


PARTS = st.lists(st.sampled_from(["\n", " ", "a", ".", "<", "think", "|", "</", "done", "é", ">"]), max_size=12).map(
    "".join
)


@pytest.mark.parametrize("name", WITH_REASONING)
@settings(deadline=None)
@given(reasoning=PARTS, answer=PARTS)
def test_what_is_written_is_read_back(forms, name, reasoning, answer):
    text = reasoning + answer
    if any(marker in text for marker in forms[name].glue.markers):
        return
    response = joined(response_pieces(forms[name], text, len(reasoning)))
    assert parse_response(forms[name], response) == (text, len(reasoning))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(
    generated=st.lists(
        st.sampled_from(["<think>", "</think>", "\n", "a", "<reason>", "</reason>", "<done>", " "]), max_size=9
    )
)
def test_a_generated_response_is_cut_without_loss(forms, name, generated):
    generated = "".join(generated)
    pieces = generated_pieces(forms[name], generated)
    assert joined(pieces) == generated
    text, answer_start = parse_response(forms[name], generated)
    assert text_of(pieces) == text
    position = 0
    for piece in pieces:
        if piece.start is not None:
            assert piece.start == position
            position += len(piece.text)
    assert 0 <= answer_start <= len(text)


@pytest.mark.parametrize("name", ["plain", "chat"])
def test_formats_without_glue_know_no_reasoning(forms, name):
    assert parse_response(forms[name], "<think>\nWhy\n</think>\n\nSo") == ("<think>\nWhy\n</think>\n\nSo", 0)


@pytest.mark.parametrize(
    ("generated", "text", "answer_start"),
    [
        ("So", "So", 0),
        ("<think>Why</think>So", "WhySo", 3),
        ("\n<think>\nWhy\n</think>\nSo", "WhySo", 3),
        ("Why\n</think>\n\nSo", "WhySo", 3),
        ("<think>\nWhy", "Why", 3),
        ("<think>\nWhy</think>So</think>!", "WhySo</think>!", 3),
        ("<think>\n", "", 0),
        ("", "", 0),
    ],
)
def test_think_is_read_as_models_write_it(forms, generated, text, answer_start):
    assert parse_response(forms["think"], generated) == (text, answer_start)


def test_a_prompt_that_opened_the_reasoning_makes_a_response_without_markers_reasoning(forms):
    assert parse_response(forms["think, opened by the prompt"], "Why") == ("Why", 3)
    assert parse_response(forms["think, opened by the prompt"], "<think>\nWhy</think>So") == ("WhySo", 3)


@pytest.mark.parametrize(
    ("name", "text", "marker"),
    [("think", "a </think> b", "</think>"), ("harmony", "a <|end|>", "<|end|>"), ("custom", "a</reason>", "</reason>")],
)
def test_a_text_that_holds_glue_is_refused_by_name(forms, name, text, marker):
    with pytest.raises(AlignmentError, match=rf"character {text.index(marker)} .*{marker}".replace("|", r"\|")):
        response_pieces(forms[name], text, 1)
    assert joined(response_pieces(forms["plain"], text, 1)) == text


def test_glue_that_runs_together_with_the_text_is_refused(tmp_path):
    path = tmp_path / "overlap.jinja"
    path.write_text('{% set before_reasoning = "R" %}{% set between = "aba" %}{{ message }}')
    with pytest.raises(AlignmentError, match="run together"):
        response_pieces(format_of(str(path)), "xabz", 3)


def test_an_answer_start_outside_of_the_text_is_refused(forms):
    with pytest.raises(AlignmentError, match="answer_start 9"):
        response_pieces(forms["think"], "text", 9)


@pytest.mark.parametrize(
    ("name", "chat_template", "instruction", "message"),
    [
        ("chatty", CHATML, "{{ question }}", "no format 'chatty'.*chat, plain, think, harmony"),
        ("chat", None, "{{ question }}", "no chat template"),
        ("think", None, "{{ question }}", "no chat template"),
        ("plain", None, "Solve it", "does not hold the question"),
        ("plain", None, "{{ question", "instruction: the template fails"),
        ("plain", None, "{{ task }}", "'task' is undefined"),
        ("plain", None, "{{ question.__class__.__mro__ }}", "unsafe"),
        ("chat", "{{ raise_exception('no users here') }}", "{{ question }}", "no users here"),
    ],
)
def test_what_is_wrong_with_a_format_is_said(name, chat_template, instruction, message):
    with pytest.raises(DistraceError, match=message):
        format_of(name, chat_template, instruction)


def test_a_file_that_leaves_the_message_out_is_refused(tmp_path: Path):
    path = tmp_path / "empty.jinja"
    path.write_text("Problem:")
    with pytest.raises(DistraceError, match="does not hold the question"):
        format_of(str(path))
