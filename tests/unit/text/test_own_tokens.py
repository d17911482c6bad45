"""Tokens that came with a response: the end token is left out, the glue is put in where it is not among them."""

import pytest

from distrace.errors import BadRow
from distrace.ready_made import Response
from distrace.settings import ModelSettings
from distrace.text.alignment import decode_generated
from distrace.text.own_tokens import with_own_tokens
from distrace.text.prompts import align_own, load_format
from tiny import tiny_tokenizer

HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>")


@pytest.fixture(scope="module")
def tokenizer():
    made = tiny_tokenizer()
    made.add_special_tokens({"eos_token": "<|return|>", "additional_special_tokens": list(HARMONY)})
    return made


@pytest.fixture(scope="module")
def harmony(tokenizer):
    return load_format(ModelSettings(format="harmony"), tokenizer)


def tokens(tokenizer, *texts: str) -> list[int]:
    return [token for text in texts for token in tokenizer(text, add_special_tokens=False).input_ids]


def response(tokenizer, reasoning: str, answer: str, *sampled: str) -> Response:
    ids = tokens(tokenizer, *(sampled or (reasoning, answer)))
    return Response(reasoning + answer, len(reasoning), ids, [-0.5 - n for n in range(len(ids))])


def test_the_token_that_ends_a_response_is_left_out_with_its_log_prob(tokenizer):
    form = load_format(ModelSettings(format="plain"), tokenizer)
    given = response(tokenizer, "", "So 2.")
    ended = given._replace(token_ids=[*given.token_ids, tokenizer.eos_token_id], logprobs=[*given.logprobs, -9.0])
    assert with_own_tokens(form, tokenizer, ended, True) == given
    assert with_own_tokens(form, tokenizer, given, True) == given
    with pytest.raises(BadRow, match="not what its own tokens decode to"):
        with_own_tokens(form, tokenizer, given._replace(text="So 3."), True)


@pytest.mark.parametrize(("reasoning", "answer"), [("Add 4 and 3.", "So 7."), ("", "So 7."), ("Add 4", "")])
def test_glue_that_is_not_among_the_tokens_is_put_round_reasoning_and_answer(tokenizer, harmony, reasoning, answer):
    given = response(tokenizer, reasoning, answer)
    found = with_own_tokens(harmony, tokenizer, given, False)
    assert (found.text, found.answer_start) == (given.text, given.answer_start)
    written = decode_generated(tokenizer, found.token_ids)
    assert written.startswith("<|channel|>analysis<|message|>" if reasoning else "<|channel|>final<|message|>")
    assert ("<|end|><|start|>assistant<|channel|>final<|message|>" in written) == bool(reasoning and answer)
    aligned = align_own(harmony, tokenizer, found.token_ids, found.text)
    values = [value for value, scored in zip(found.logprobs, aligned.scored, strict=True) if scored]
    assert values == given.logprobs
    assert [id_ for id_, scored in zip(found.token_ids, aligned.scored, strict=True) if scored] == given.token_ids
    assert {value for value, scored in zip(found.logprobs, aligned.scored, strict=True) if not scored} == {None}


def test_the_tokens_say_which_white_space_lies_between_reasoning_and_answer(tokenizer, harmony):
    given = response(tokenizer, "Add 4 and 3.", "So 7.", "Add 4 and 3.\n\n", "So 7.", "\n")
    found = with_own_tokens(harmony, tokenizer, given, False)
    assert (found.text, found.answer_start) == ("Add 4 and 3.\n\nSo 7.\n", len("Add 4 and 3.\n\n"))
    without = with_own_tokens(harmony, tokenizer, given._replace(logprobs=None), False)
    assert (without.token_ids, without.logprobs) == (found.token_ids, None)


@pytest.mark.parametrize("sampled", [("Add 4 and 3.", "So 8."), ("Add 5 and 3.", "So 7."), ("So 7.",), ("",)])
def test_tokens_of_another_text_are_a_bad_row(tokenizer, harmony, sampled):
    with pytest.raises(BadRow, match="not to the text"):
        with_own_tokens(harmony, tokenizer, response(tokenizer, "Add 4 and 3.", "So 7.", *sampled), False)


def test_a_token_across_the_end_of_the_reasoning_is_a_bad_row(tokenizer, harmony):
    [token] = tokens(tokenizer, "So")
    with pytest.raises(BadRow, match="lies across the end of the reasoning"):
        with_own_tokens(harmony, tokenizer, Response("So", 1, [token]), False)
