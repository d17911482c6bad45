"""What each usual shape of ready-made responses gives, and what is said of rows that cannot be used."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest
from datasets import Dataset

from builders import rejects_of, write_questions
from configs import config_with
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.config import response_presets
from distrace.errors import BadRow, DistraceError
from distrace.nodes.imported_rollouts import write_imported
from distrace.plan import load_plan
from distrace.ready_made import Response, Responses, first_only, joined, response_reader, source_identity, source_pieces
from distrace.rows import text_reader

THINK = "<think>\nOne and one.\n</think>\n\nIt is 2."
TEXT, START = "One and one.It is 2.", len("One and one.")
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]


def choice(index: int, **message: object) -> dict:
    """Return a choice of a chat completion, as vLLM's server and OpenAI's API write it."""
    message = {"role": "assistant", "content": "It is 2.", "refusal": None} | message
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}


def batch_row(*choices: dict) -> dict:
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": list(choices)}
    response = {"status_code": 200, "request_id": "req-1", "body": body | {"usage": {"total_tokens": 9}}}
    return {"id": "batch_req_1", "custom_id": "request-1", "response": response, "error": None}


def asked_in_batch(row: dict) -> dict:
    body = {"model": "m", "messages": MESSAGES, "max_completion_tokens": 1000}
    request = {"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return row | {"joined": request}


OPENR1 = {
    "problem": "1+1?",
    "solution": "2",
    "answer": "2",
    "problem_type": "Algebra",
    "question_type": "math-word-problem",
    "source": "olympiads",
    "uuid": "u1",
    "is_reasoning_complete": [True, True],
    "generations": [THINK, "<think>\nOne and one.\n</think>\n\nIt is 3."],
    "correctness_math_verify": [True, False],
    "correctness_llama": None,
    "finish_reasons": None,
    "correctness_count": 1,
    "messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": THINK}],
}
SUPERIOR = {"uuid": "u1", "input": "1+1?", "output": THINK, "domain": "math", "meta": "{}"}
LM_EVAL = {
    "doc_id": 0,
    "doc": {"question": "1+1?", "answer": "#### 2"},
    "target": "2",
    "arguments": {"gen_args_0": {"arg_0": "Q: 1+1?\nA:", "arg_1": {"until": ["Q:"], "do_sample": False}}},
    "resps": [["It is 2.", "It is 3."]],
    "filtered_resps": ["2"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "doc_hash": "d",
    "prompt_hash": "p",
    "target_hash": "t",
    "exact_match": 1.0,
}
SOLUTION = {"solution": "It is 2.", "is_correct": True}
# A row in each shape, and the responses in it.
ROWS = {
    "OpenThoughts3": (
        {
            "difficulty": 8,
            "source": "ai2-adapt-dev/openmath-2-math",
            "domain": "math",
            "conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": THINK}],
        },
        [Response(TEXT, START)],
    ),
    "AceReason": (
        {"category": "math", "source": "s", "input": "1+1?", "output": THINK},
        [Response(TEXT, START)],
    ),
    "OpenR1-Math": (
        OPENR1,
        [
            Response(TEXT, START, None, None, "u1", True),
            Response(TEXT.replace("2", "3"), START, None, None, "u1", False),
        ],
    ),
    "Superior-Reasoning": (SUPERIOR, [Response(TEXT, START, source_id="u1")]),
    "Superior-Reasoning-Logprob": (
        SUPERIOR | {"joined": {"sample_uuid": "u1", "token_ids": [5, 6], "logprobs": [-0.5, -1]}},
        [Response(TEXT, START, [5, 6], [-0.5, -1], "u1")],
    ),
    "lm-eval": (
        LM_EVAL | {"resps": [["It is 2."]]},
        [Response("It is 2.", 0, None, None, "0", True)],
    ),
    "openai-batch": (
        asked_in_batch(batch_row(choice(0), choice(1, content="It is 3."))),
        [Response("It is 2.", 0, source_id="request-1"), Response("It is 3.", 0, source_id="request-1")],
    ),
    "vllm-batch": (
        asked_in_batch(
            batch_row(
                choice(0, reasoning="One and one."), choice(1, reasoning=None), choice(2, content=None, reasoning="Hm")
            )
        ),
        [
            Response(TEXT, START, source_id="request-1"),
            Response("It is 2.", 0, source_id="request-1"),
            Response("Hm", 2, source_id="request-1"),
        ],
    ),
    "GSM8K-model-solutions": (
        {"question": "1+1?", "ground_truth": "2\nA: 2"}
        | dict.fromkeys(("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"), SOLUTION),
        [Response("It is 2.", 0, source_correct=True)],
    ),
    "math-cot": (
        {"idx": 3, "question": "1+1?", "gt": "2", "code": ["It is 2.", "It is 3."], "score": [True, False]},
        [Response("It is 2.", 0, None, None, "3", True), Response("It is 3.", 0, None, None, "3", False)],
    ),
}


def settings_of(preset: str, **given: object) -> Responses:
    """Return the responses of a config with this preset, as the node gets them."""
    responses = {"preset": preset, "file": "x.jsonl"} | given
    if "join" in response_presets()[preset]:
        responses["join"] = {"file": "y.jsonl"} | responses.get("join", {})
    plan = load_plan(config_with("sampling/answer", {"responses_of": {"other": responses}}))
    return Responses(**plan.responses("other", "answer"))


def read(row: dict, **settings: object) -> list[Response]:
    return response_reader(Responses(**settings))(row)


def test_every_preset_has_its_row_here():
    assert response_presets().keys() == ROWS.keys()


@pytest.mark.parametrize("preset", ROWS)
def test_a_row_of_each_usual_shape_gives_its_question_and_its_responses(preset):
    settings = settings_of(preset)
    row, responses = ROWS[preset]
    assert text_reader(settings.question)(row) == "1+1?"
    assert response_reader(settings)(row) == responses


def test_other_models_and_metrics_are_named_beside_a_preset():
    row, _ = ROWS["GSM8K-model-solutions"]
    row = row | {"6b_finetuning": {"solution": "3", "is_correct": False}}
    names = {"response": "6b_finetuning.solution", "correct": "6b_finetuning.is_correct"}
    assert response_reader(settings_of("GSM8K-model-solutions", **names))(row) == [
        Response("3", 0, source_correct=False)
    ]
    with pytest.raises(BadRow, match="2 responses but 1 values in column 'exact_match'"):
        response_reader(settings_of("lm-eval"))(LM_EVAL)
    assert len(response_reader(settings_of("lm-eval", correct=None))(LM_EVAL)) == 2


@pytest.mark.parametrize(
    ("text", "name", "response"),
    [
        (THINK, "think", Response(TEXT, START)),
        ("<think>One and one.</think>It is 2.", "think", Response(TEXT, START)),
        ("One and one.\n</think>\n\nIt is 2.", "think", Response(TEXT, START)),
        ("<think>\nOne and", "think", Response("One and", 7)),
        ("It is 2.", "think", Response("It is 2.", 0)),
        ("<think>\n\n</think>\n\nIt is 2.", "think", Response("It is 2.", 0)),
        (
            "<|channel|>analysis<|message|>One and one.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>It is 2.<|return|>",
            "harmony",
            Response(TEXT, START),
        ),
        (
            "<|start|>assistant<|channel|>final<|message|>It is 2.<|end|>",
            "harmony",
            Response("It is 2.", 0),
        ),
        ("<|channel|>analysis<|message|>One and", "harmony", Response("One and", 7)),
    ],
)
def test_reasoning_within_a_response_is_cut_off_its_answer(text, name, response):
    assert read({"response": text}, format=name) == [response]


def test_a_conversation_of_several_turns_is_no_response_to_one_question():
    row = {"conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}] * 2}
    with pytest.raises(BadRow, match="leads to 2 values, not to one"):
        text_reader(settings_of("OpenThoughts3").question)(row)


@pytest.mark.parametrize(
    ("row", "settings", "reason"),
    [
        (
            batch_row() | {"response": None},
            {"response": "response.body.choices[*].text"},
            "'response' has no 'body', but None",
        ),
        ({"response": "2", "right": "yes"}, {"correct": "right"}, "holds no verdict .* but 'yes'"),
        ({"response": ["2", "3"], "right": [True]}, {"correct": "right"}, "2 responses but 1 values in column 'right'"),
        ({"response": "<think>\n</think>"}, {"format": "think"}, "holds an empty response"),
        ({"response": None}, {}, "holds no text but 'None'"),
        ({"response": None, "thought": None}, {"reasoning": "thought"}, "holds an empty response"),
        ({"response": "2"}, {"reasoning": "thought"}, "the row has no 'thought'"),
        (
            {"response": "2", "ids": [1], "values": [10**400]},
            {"token_ids": "ids", "logprobs": "values"},
            "no list of numbers",
        ),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row, settings, reason):
    with pytest.raises(BadRow, match=reason):
        read(row, **settings)


def test_of_rows_with_one_value_only_the_first_counts():
    check = first_only("doc_id")
    check({"doc_id": 0})
    check({"doc_id": "1"})
    with pytest.raises(BadRow, match="'doc_id' is '0', as in an earlier row"):
        check({"doc_id": 0})


@pytest.fixture
def other(tmp_path) -> Path:
    rows = [{"key": "a", "values": [-1.5]}, {"key": 7, "values": []}, {"key": "a", "values": []}, {"values": []}]
    path = tmp_path / "other.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join([*map(json.dumps, rows), "{"]).encode()))
    return path


def test_a_row_of_another_file_is_joined_by_its_id(other, tmp_path):
    join = {"file": str(other), "hub": None, "id": "meta.id", "other_id": "key"}
    add, rejects = joined(join, tmp_path / "database")
    assert add({"meta": {"id": "a"}}) == {"meta": {"id": "a"}, "joined": {"key": "a", "values": [-1.5]}}
    assert add({"meta": {"id": "7"}})["joined"]["values"] == []
    with pytest.raises(BadRow, match=r"no row of .*other\.jsonl\.gz has the id 'b'"):
        add({"meta": {"id": "b"}})
    assert [(reject.row, reject.reason) for reject in rejects][:2] == [
        (2, "an earlier row has the id 'a', too"),
        (3, "no column 'key'; the row has ['values']"),
    ]
    assert "not JSON" in rejects[2].reason


def test_the_identity_holds_the_content_of_both_files(other, tmp_path):
    source = tmp_path / "source.jsonl"
    source.write_text("{}")
    found = [source_identity(Responses(str(source), join={"file": str(other), "id": "a", "other_id": None}))]
    other.write_bytes(b"")
    found.append(source_identity(Responses(str(source), join={"file": str(other), "id": "a", "other_id": None})))
    assert found[0] != found[1]
    assert str(tmp_path) not in str(found)


def test_a_data_set_is_streamed(tmp_path):
    # `datasets` takes a folder for a data set of the hub.
    Dataset.from_list([{"question": f"{n}", "response": ["a", "b"]} for n in range(2500)]).to_parquet(
        tmp_path / "data" / "train-0.parquet"
    )
    pieces = list(source_pieces(Responses(hub=str(tmp_path / "data"), revision=None)))
    assert [len(piece) for piece in pieces] == [1000, 1000, 500]
    assert pieces[0][1] == {"question": "1", "response": ["a", "b"]}
    with pytest.raises(DistraceError, match="cannot be read"):
        list(source_pieces(Responses(hub=str(tmp_path / "data"), split="test")))


@pytest.mark.parametrize("preset", ["vllm-batch", "lm-eval"])
def test_files_of_usual_tools_are_imported_with_what_their_rows_lack(tmp_path, preset):
    row, responses = ROWS[preset]
    row = {key: value for key, value in row.items() if key != "joined"}
    again = row | ({"custom_id": "request-2"} if preset == "vllm-batch" else {"filter": "flexible-extract"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [row, again])))
    (tmp_path / "requests.jsonl").write_text(json.dumps(ROWS["vllm-batch"][0]["joined"]))
    given = {"file": str(tmp_path / "rows.jsonl")}
    if preset == "vllm-batch":
        given["join"] = {"file": str(tmp_path / "requests.jsonl")}
    questions = write_questions(tmp_path / "questions" / "0.arrow", {"1+1?": "2"})
    write_imported("m", questions, settings_of(preset, **given), tmp_path / "parts.arrow")
    found = open_artifact(tmp_path / "0.arrow", kinds.ROLLOUTS).read()
    assert found["text"].to_list() == [response.text for response in responses]
    assert found["source_id"].to_list() == [response.source_id for response in responses]
    [reject] = rejects_of(tmp_path / "0.arrow")
    assert reject["reason"].startswith("line 2: ")
    assert all(begin <= end for begin, end in pairwise(found["sample"].to_list()))
