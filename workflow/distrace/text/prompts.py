"""How a model is prompted: its prompt, and its own glue around the reasoning and the answer of a response.

A response's text is what its author wrote: the reasoning, then the answer from character `answer_start` on (0: no
reasoning). Every model that scores it reads it in its own format:

- `chat`: the tokenizer's chat template with the instruction as the user's message; the text is written as it is.
- `plain`: the instruction and a line break; the text is written as it is.
- `think`: as `chat`, then `<think>`, the reasoning, `</think>` and the answer. If the template's prompt ends in an open
  `<think>` (DeepSeek-R1), it is not written again. An answer without reasoning follows an empty `<think>` block.
- `harmony`: gpt-oss's channels, `analysis` for the reasoning and `final` for the answer; an answer without
  reasoning is written in `final` alone.
- the path of a Jinja file of the user's. It prints the prompt and may set the glue, as text:

      {%- set before_reasoning = "<reason>" -%}
      {%- set between = "</reason>" -%}
      {{ bos_token }}Problem: {{ message }}
      Solution:

  `message` is the instruction with the question in it; the tokenizer's special tokens have their own names
  (`bos_token`, `eos_token`, ...). Glue is empty unless set: `before_reasoning`, `between` (reasoning and answer),
  `after` (the answer), and `no_reasoning`, written before an answer without reasoning (by default `before_reasoning`
  and `between`). A final line break is part of the prompt; write `{{- "" -}}` after the last word to have none.

A response that ends inside its reasoning has `answer_start == len(text)`; no glue follows it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from distrace.errors import DistraceError
from distrace.settings import ModelSettings
from distrace.text.alignment import Aligned, AlignmentError, Piece, align_generated, decode_generated

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

# Some templates print today's date (gpt-oss, Llama 3), but a prompt must be the same on any day.
PROMPT_DATE = datetime(2025, 1, 1)

_PROBE = "314159265358979"
_JINJA = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


@dataclass(frozen=True)
class Glue:
    """What a format writes around reasoning and answer; if all is empty, reasoning and answer are not told apart.

    `opener` begins the reasoning; `before` is the part of it that the prompt has not written yet. If `opened`, a
    response without a marker is all reasoning. `markers` must not occur in a text: they could not be told from glue.
    """

    opener: str = ""
    before: str = ""
    between: str = ""
    after: str = ""
    no_reasoning: str = ""
    opened: bool = False
    markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A model's format: its name in the settings, the instruction, the prompt for a message, and the glue."""

    name: str
    instruction: jinja2.Template
    prompt: Callable[[str], str]
    glue: Glue


def load_format(settings: ModelSettings, tokenizer: "Tokenizer") -> Format:
    """Return the format that the settings name, for this tokenizer.

    Raises DistraceError for an unknown format, a broken template, a missing chat template, and an instruction that
    leaves out the question.
    """
    instruction = _template(settings.instruction, "instruction")
    prompt, glue = FORMATS.get(settings.format, _from_file)(settings, tokenizer)
    form = Format(settings.format, instruction, prompt, glue)
    if _PROBE not in prompt_text(form, _PROBE):
        raise DistraceError(
            f"format {settings.format!r}: the prompt does not hold the question; is there a {{{{ question }}}}"
            f" in the instruction {settings.instruction!r} (and a {{{{ message }}}} in your template)?"
        )
    return form


def prompt_text(form: Format, question: str) -> str:
    """Return the prompt for a question, special tokens as text; for `alignment.encode_prompt`."""
    return form.prompt(message_text(form, question))


def message_text(form: Format, question: str) -> str:
    """Return the instruction with the question in it: what a user's message holds."""
    return _rendered(form.instruction, "instruction", question=question)


def response_pieces(form: Format, text: str, answer_start: int) -> list[Piece]:
    """Return a text in the format's glue, without an end token; the pieces that are not glue are the text, in order.

    Raises AlignmentError, naming the marker, if the text holds one of the format's glue: it could not be read back.
    """
    if not 0 <= answer_start <= len(text):
        raise AlignmentError(f"answer_start {answer_start} lies outside of the text of {len(text)} characters")
    for marker in form.glue.markers:
        if (place := text.find(marker)) >= 0:
            raise AlignmentError(f"character {place} of the text begins {marker!r}, glue of format {form.name!r}")
    pieces = [Piece(piece, start) for piece, start in _written(form.glue, text, answer_start) if piece]
    if form.glue.between and parse_response(form, "".join(p.text for p in pieces)) != (text, answer_start):
        raise AlignmentError(f"the text and the glue of format {form.name!r} run together: it could not be read back")
    return pieces


def generated_pieces(form: Format, generated: str) -> list[Piece]:
    """Cut a generated response into pieces of glue, as the model wrote it, and of text; joined, they are the response.

    The first closing marker ends the reasoning; later ones stay in the answer. Without one, all is reasoning if the
    reasoning was opened (by the model or in the prompt), else all is answer. Line breaks of the glue may be missing.
    """
    begin, end, answer_begin, answer_end = _parsed(form.glue, generated)
    cuts = [
        (generated[:begin], None),
        (generated[begin:end], 0),
        (generated[end:answer_begin], None),
        (generated[answer_begin:answer_end], end - begin),
        (generated[answer_end:], None),
    ]
    return [Piece(piece, start) for piece, start in cuts if piece]


def parse_response(form: Format, generated: str) -> tuple[str, int]:
    """Return the text of a generated response, without glue, and its `answer_start`; see `generated_pieces`.

    This is the inverse of `response_pieces`, except that formats without glue (`plain`, `chat`) always give 0.
    """
    begin, end, answer_begin, answer_end = _parsed(form.glue, generated)
    return generated[begin:end] + generated[answer_begin:answer_end], end - begin


def cut_reasoning(name: str, response: str) -> tuple[str, int]:
    """Return the text of a response that was written elsewhere in format `think` or `harmony`, and its `answer_start`.

    The format is read as in `parse_response`; a response without a marker is an answer. Tokens that begin or end
    harmony's message are dropped.
    """
    if name == "harmony":
        response = re.sub(r"\A\s*<\|start\|>assistant|<\|(?:return|end|call)\|>\s*\Z", "", response)
    begin, end, answer_begin, answer_end = _parsed(WRITTEN_ELSEWHERE[name], response)
    return response[begin:end] + response[answer_begin:answer_end], end - begin


def align_own(form: Format, tokenizer: "Tokenizer", token_ids: list[int], text: str) -> Aligned:
    """Return the tokens that the author of a response sampled, glue included, and the characters that each carries.

    Raises AlignmentError if the tokens do not decode to the text.
    """
    pieces = generated_pieces(form, decode_generated(tokenizer, token_ids))
    if "".join(piece.text for piece in pieces if piece.start is not None) != text:
        raise AlignmentError("the text is not what its own tokens decode to; was it edited?")
    return align_generated(tokenizer, token_ids, pieces)


def _written(glue: Glue, text: str, answer_start: int) -> list[tuple[str, int | None]]:
    if answer_start == 0:
        return [(glue.no_reasoning, None), (text, 0), (glue.after, None)]
    reasoning, answer = text[:answer_start], text[answer_start:]
    if not answer:
        return [(glue.before, None), (reasoning, 0)]
    return [
        (glue.before, None),
        (reasoning, 0),
        (glue.between, None),
        (answer, answer_start),
        (glue.after, None),
    ]


def _parsed(glue: Glue, generated: str) -> tuple[int, int, int, int]:
    """Return where in `generated` the reasoning begins and ends, and where the answer begins and ends."""
    ending = re.search(_pattern(glue.after) + r"\Z", generated)
    answer_end = ending.start() if ending else len(generated)
    alone = re.match(_pattern(glue.no_reasoning), generated)
    if alone and alone[0]:
        return alone.end(), alone.end(), alone.end(), max(alone.end(), answer_end)
    space = r"\s*" if glue.opener.strip() else ""
    opening = re.match(f"(?:{space}{_pattern(glue.opener)}|{_pattern(glue.before)})?", generated)
    assert opening is not None  # the pattern may match nothing at all
    begin = opening.end()
    closing = re.compile(_pattern(glue.between)).search(generated, begin) if glue.between else None
    if closing:
        return begin, closing.start(), closing.end(), max(closing.end(), answer_end)
    if glue.opened or opening[0].strip():
        return begin, len(generated), len(generated), len(generated)
    return 0, 0, 0, answer_end


def _pattern(glue: str) -> str:
    """Return a pattern for glue; white space at its ends may be missing, unless the glue is white space alone."""
    core = glue.strip()
    if not core:
        return re.escape(glue)
    lead, _, tail = glue.partition(core)
    return _optional(lead) + re.escape(core) + _optional(tail)


def _optional(white: str) -> str:
    return "".join(f"{re.escape(char)}?" for char in white)


# The formats


def _chat(settings: ModelSettings, tokenizer: "Tokenizer") -> tuple[Callable[[str], str], Glue]:
    return _chat_prompt(settings, tokenizer), Glue()


def _plain(settings: ModelSettings, tokenizer: "Tokenizer") -> tuple[Callable[[str], str], Glue]:
    return "{}\n".format, Glue()


def _think(settings: ModelSettings, tokenizer: "Tokenizer") -> tuple[Callable[[str], str], Glue]:
    # Hybrid models have a switch in their template; other templates ignore it.
    prompt = _chat_prompt(settings, tokenizer, enable_thinking=True, thinking=True)
    end = prompt(_PROBE)
    if not end.rstrip().endswith("<think>"):
        return prompt, _THINK
    before = "\n" if end.endswith("<think>") else ""
    return prompt, replace(_THINK, before=before, no_reasoning=before + _THINK.between, opened=True)


def _harmony(settings: ModelSettings, tokenizer: "Tokenizer") -> tuple[Callable[[str], str], Glue]:
    if tokenizer.chat_template:
        return _chat_prompt(settings, tokenizer), _HARMONY
    return "<|start|>user<|message|>{}<|end|><|start|>assistant".format, _HARMONY


def _glue_of_think() -> Glue:
    before, between = "<think>\n", "\n</think>\n\n"
    return Glue(before, before, between, "", before + between, False, ("<think>", "</think>"))


def _glue_of_harmony() -> Glue:
    before, final = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
    between = f"<|end|><|start|>assistant{final}"
    markers = ("start", "end", "message", "channel", "constrain", "return", "call")
    return Glue(before, before, between, "", final, False, tuple(f"<|{marker}|>" for marker in markers))


_THINK, _HARMONY = _glue_of_think(), _glue_of_harmony()
WRITTEN_ELSEWHERE = {"think": _THINK, "harmony": _HARMONY}


def format_text(name: str) -> str:
    """Return the name of a known format as it is, and for the path of a template file the file's text.

    A text that is a template already is returned as it is. The workflow passes on the text, so an edited file is
    another format. Raises DistraceError if the name is neither a format nor a file.
    """
    if name in FORMATS or "{{" in name:
        return name
    if not Path(name).is_file():
        raise DistraceError(f"no format {name!r}: it is none of {', '.join(FORMATS)}, nor a file")
    try:
        return Path(name).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise DistraceError(f"format {name!r}: the file is no text: {error}") from error


def require_question(instruction: str) -> None:
    """Raise DistraceError unless an instruction is a template that can be filled in, with the question in it."""
    if _PROBE not in _rendered(_template(instruction, "instruction"), "instruction", question=_PROBE):
        raise DistraceError(f"{instruction[:60]!r} leaves the question out; put {{{{ question }}}} into it")


def require_message(name: str) -> None:
    """Raise DistraceError unless a format is known, or a template that can be read and prints the message."""
    text = format_text(name)
    if text in FORMATS:
        return
    with _explained("format"):
        known = jinja2.meta.find_undeclared_variables(_JINJA.parse(text))
    if "message" not in known:
        raise DistraceError(f"the template {name[:60]!r} leaves the question out; put {{{{ message }}}} into it")


def _from_file(settings: ModelSettings, tokenizer: "Tokenizer") -> tuple[Callable[[str], str], Glue]:
    template = _template(format_text(settings.format), "format")
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}

    def module(message: str) -> Any:
        with _explained("format"):
            return template.make_module({**special, "message": message})

    def prompt(message: str) -> str:
        return str(module(message))

    def glue(name: str, default: str = "") -> str:
        return str(getattr(empty, name, default))

    empty = module("")
    before, between, after = glue("before_reasoning"), glue("between"), glue("after")
    no_reasoning = glue("no_reasoning", before + between)
    markers = tuple(part.strip() or part for part in (before, between, after) if part)
    opened = not before.strip() and bool(between and no_reasoning)
    return prompt, Glue(before, before, between, after, no_reasoning, opened, markers)


FORMATS = {"chat": _chat, "plain": _plain, "think": _think, "harmony": _harmony}


def _chat_prompt(settings: ModelSettings, tokenizer: "Tokenizer", **switches: Any) -> Callable[[str], str]:
    if not tokenizer.chat_template:
        raise DistraceError(
            f"format {settings.format!r}: the model's tokenizer has no chat template; "
            "use the format plain, or the path of a Jinja file of yours"
        )

    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _fixed_date() + template

    def prompt(message: str) -> str:
        with _explained("the chat template"):
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": message}],
                tokenize=False,
                add_generation_prompt=True,
                chat_template=template,
                **switches,
            )
            return str(text)

    return prompt


def _fixed_date() -> str:
    """Return a Jinja macro that replaces the `strftime_now` of chat templates by one that prints `PROMPT_DATE`."""
    filters = "".join(f"|replace('%{code}', '{PROMPT_DATE:%{code}}')" for code in "YymdbBaAjHMSIp")
    # Jinja removes the line break after the macro, so the template still begins at the start of a line.
    return f"{{% macro strftime_now(form) %}}{{{{ form{filters} }}}}{{% endmacro %}}\n"


def _template(source: str, name: str) -> jinja2.Template:
    with _explained(name):
        return _JINJA.from_string(source)


def _rendered(template: jinja2.Template, name: str, **values: str) -> str:
    with _explained(name):
        return template.render(values)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise DistraceError(f"{name}: the template fails: {error}") from error
