import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import rejects_of, write_parts, write_questions
from distrace import kinds, rows
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.models import Card, write_card
from distrace.nodes import imported_rollouts
from distrace.nodes.imported_rollouts import Responses, write_imported
from distrace.parts import open_parts
from distrace.rows import file_digest
from distrace.settings import ModelSettings
from tiny import tiny_tokenizer

QUESTIONS = {"1+1?": "2", "2+2?": "4"}
MISSING = "no response to this question in the file"


@pytest.fixture
def imported(tmp_path):
    """Return a function that writes rows to a file and imports it; it returns the rollouts and the rejects."""

    def run(rows: list, name: str = "source", author: str = "big", **columns) -> tuple[list[dict], list[dict]]:
        source = tmp_path / f"{name}.jsonl"
        source.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        questions = write_questions(tmp_path / "questions" / "0.arrow", QUESTIONS)
        out = tmp_path / "0.arrow"
        write_imported(author, questions, Responses(str(source), **columns), tmp_path / "parts.arrow")
        open_artifact(out).require_made_from(open_artifact(questions, kinds.QUESTIONS))
        return open_artifact(out, kinds.ROLLOUTS).read().to_dicts(), rejects_of(out)

    return run


def both(response: object, **columns) -> list[dict]:
    return [{"question": question, "response": response} | columns for question in QUESTIONS]


def test_a_row_with_a_response_is_a_rollout(imported):
    rows, rejects = imported(both("So 2."))
    assert rejects == []
    assert [(row["text"], row["answer_start"], row["finish_reason"]) for row in rows] == [("So 2.", 0, "imported")] * 2
    assert rows[0]["token_ids"] is None
    assert rows[0]["logprobs"] is None


def test_samples_of_a_question_are_numbered_over_rows_and_lists(imported):
    rows, rejects = imported([*both(["a", "b"]), *both("c")])
    assert rejects == []
    samples = {}
    for row in rows:
        samples.setdefault(row["question_id"], []).append((row["sample"], row["text"]))
    assert list(samples.values()) == [[(0, "a"), (1, "b"), (2, "c")]] * 2
    assert len({row["rollout_id"] for row in rows}) == 6


def test_reasoning_goes_before_the_answer(imported):
    rows, _ = imported(both(["4", "5"], thought=["Hm. ", ""]), reasoning="thought")
    assert [(row["text"], row["answer_start"]) for row in rows[:2]] == [("Hm. 4", 4), ("5", 0)]


def test_columns_are_named_and_questions_may_be_templates(imported):
    rows, rejects = imported([{"q": "1+1", "r": "2"}, {"q": "2+2", "r": "4"}], question="{{ q }}?", response="r")
    assert [row["text"] for row in rows] == ["2", "4"]
    assert rejects == []


def test_responses_to_questions_that_are_not_in_the_set_are_rejected_and_near_misses_are_said(imported):
    rows, rejects = imported(
        [*both("x"), {"question": "3+3?", "response": "6"}, {"question": "1+1? ", "response": "2"}]
    )
    assert len(rows) == 2
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [
        (2, "line 3: its question is not in the set: '3+3?'"),
        (3, "line 4: its question is not in the set, but is there with other space around it: '1+1? '"),
    ]


@pytest.mark.parametrize("row", [{"question": "3+3?", "response": "6"}, {"q": "1+1?", "response": "2"}, "{"])
def test_a_file_without_a_row_to_any_question_of_the_set_is_an_error_that_shows_both(imported, row):
    with pytest.raises(DistraceError, match=r"none of its 1 rows is a response.*line 1: .*begins with '1\+1\?'"):
        imported([row])


def test_a_row_is_named_by_its_line_in_the_file_also_after_blank_lines(imported):
    _, rejects = imported([*both("x"), "", " ", "{"])
    assert rejects[0]["reason"].startswith("line 5: not JSON")


def test_json_that_is_nested_too_deeply_is_one_reject(imported):
    _, [reject] = imported([*both("x"), "[" * 100_000])
    assert reject["reason"] == "line 3: JSON nested too deeply to be read"


def test_a_number_beyond_64_bits_stays_in_its_row(imported):
    rows, rejects = imported([*both("x", weight=2**70), '{"question": "1+1?", "response": "y", "weight": 1e999}'])
    assert (len(rows), rejects) == (3, [])


def test_each_part_gets_the_responses_to_its_questions_in_the_order_of_the_file(tmp_path, monkeypatch):
    # The file is laid out for the parts in several steps.
    monkeypatch.setattr(rows, "BYTES_AT_ONCE", 60)
    asked = [write_questions(tmp_path / f"asked{part}.arrow", {f"{part}+1?": ""}) for part in range(3)]
    source = tmp_path / "source.jsonl"
    given_rows = [{"question": f"{row % 2}+1?", "response": f"response {row}"} for row in range(5)]
    source.write_text("\n".join(map(json.dumps, given_rows)) + "\nnot JSON")
    questions = write_parts(tmp_path / "questions", *asked)
    write_imported("big", questions, Responses(str(source)), tmp_path / "parts.arrow")
    parts = list(open_parts(tmp_path / "parts.arrow", kinds.ROLLOUTS))
    texts = [part.read("text")["text"].to_list() for part in parts]
    assert texts == [["response 0", "response 2", "response 4"], ["response 1", "response 3"], []]
    reasons = [[reject["reason"] for reject in rejects_of(part.path)] for part in parts]
    assert [len(found) for found in reasons] == [1, 0, 1]
    assert reasons[2] == [MISSING]
    assert list(tmp_path.glob(".import*")) == []


def test_a_question_without_a_response_is_rejected(imported):
    rows, rejects = imported([{"question": "2+2?", "response": "4"}, {"question": "1+1?", "response": []}])
    assert len(rows) == 1
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [(0, MISSING)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON"),
        ({"response": "x"}, "no column 'question'"),
        ({"question": "1+1?"}, "the row has no 'response', but ['question']"),
        ({"question": "1+1?", "response": None}, "column 'response' holds no text but 'None'"),
        ({"question": "1+1?", "response": 3}, "column 'response' holds no text but '3'"),
        ({"question": "1+1?", "response": ["x", None]}, "column 'response' holds no text but 'None'"),
        ({"question": "1+1?", "response": "\ud800"}, "'response' holds a lone surrogate at character 0"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_whole(imported, row, reason):
    rows, [reject] = imported([*both("x"), row])
    assert len(rows) == 2
    assert reject["row"] == 2
    assert reason in reject["reason"]


def test_as_many_reasonings_as_responses_are_needed(imported):
    _, rejects = imported(both(["a", "b"], thought="Hm."), reasoning="thought")
    assert rejects[0]["reason"] == "line 1: 2 responses but 1 reasonings"


@pytest.mark.parametrize("empty", ["", " \n", ["2", ""]])
def test_an_empty_response_is_rejected_unless_it_has_reasoning(imported, empty):
    rows, [reject] = imported([*both("x"), {"question": "1+1?", "response": empty}])
    assert len(rows) == 2
    assert reject["reason"] == "line 3: column 'response' holds an empty response"
    rows, rejects = imported(both("", thought="Hm."), reasoning="thought")
    assert ([row["text"] for row in rows], rejects) == (["Hm.", "Hm."], [])


def test_the_same_content_in_another_file_gives_the_same_rollouts(imported, tmp_path):
    imported(both("x"))
    first = (tmp_path / "0.arrow").read_bytes()
    imported(both("x"), name="copy")
    assert (tmp_path / "0.arrow").read_bytes() == first
    imported(both("x"), author="other")
    assert (tmp_path / "0.arrow").read_bytes() != first


@pytest.fixture
def author(tmp_path):
    """The author's model, of which the tokenizer alone is there, and its settings, as options."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "weights")
    write_card(tmp_path / "model.json", Card("big", str(tmp_path / "weights"), None, "print of big"))
    return {"model": tmp_path / "model.json", "model_settings": ModelSettings(format="plain")}


@pytest.fixture
def with_tokens(tmp_path, author):
    """Return a function that imports a row to the first question with its tokens; it returns rollouts and reasons."""

    def run(row: dict, **options) -> tuple[list[dict], list[str]]:
        (tmp_path / "source.jsonl").write_text(json.dumps({"question": "1+1?"} | row))
        questions = write_questions(tmp_path / "questions" / "0.arrow", {"1+1?": "2"})
        settings = Responses(str(tmp_path / "source.jsonl"), token_ids="ids", logprobs="values")
        write_imported("big", questions, settings, tmp_path / "parts.arrow", **author | options)
        found = open_artifact(tmp_path / "0.arrow", kinds.ROLLOUTS).read().to_dicts()
        return found, [r["reason"] for r in rejects_of(tmp_path / "0.arrow") if r["reason"] != MISSING]

    return run


def test_tokens_and_log_probs_are_taken_as_they_are(with_tokens, tmp_path):
    characters = [token for char in "So 2." for token in tiny_tokenizer()(char).input_ids]
    assert characters != tiny_tokenizer()("So 2.").input_ids
    values = [-0.5 * n for n in range(len(characters))]
    for row in (
        {"response": "So 2.", "ids": characters, "values": values},
        {"response": ["So 2."], "ids": [characters], "values": [values]},
    ):
        [found], reasons = with_tokens(row)
        assert (found["token_ids"], found["logprobs"], reasons) == (characters, values, [])
    identity = open_artifact(tmp_path / "0.arrow").identity
    assert (identity["model"], identity["settings"]["format"]) == ("print of big", "plain")
    assert identity["responses"]["token_ids"] == "ids"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"response": "So 3."}, "not what its own tokens decode to"),
        ({"response": "So 2"}, "The tokens end in 'So 2.', the text in 'So 2'"),
        ({"response": "So 2.", "ids": None}, "column 'ids' holds no list of numbers for each response but 'None'"),
        ({"response": "So 2.", "ids": ["a"]}, "column 'ids' holds no list of numbers"),
        ({"response": "So 2.", "ids": [1.5]}, "column 'ids' holds no token ids but '[1.5]'"),
        ({"response": "So 2.", "ids": [-1]}, "column 'ids' holds no token ids but '[-1]'"),
        ({"response": "So 2.", "values": [-1.0]}, "tokens but 1 log-probs"),
        ({"response": "So 2.", "values": [None]}, "column 'values' holds no list of numbers"),
        ({"response": ["So 2."]}, "column 'ids' holds no list of numbers"),
        (
            {"response": ["So 2.", "2"], "ids": [[1]]},
            "no list of numbers for each response but '[[1]]'",
        ),
    ],
)
def test_a_response_whose_tokens_do_not_fit_is_rejected(with_tokens, row, reason):
    ids = tiny_tokenizer()("So 2.").input_ids
    rows, [found] = with_tokens({"ids": ids, "values": [-1.0] * len(ids)} | row)
    assert rows == []
    assert reason in found


def test_tokens_are_read_with_the_authors_tokenizer_only(with_tokens):
    with pytest.raises(DistraceError, match="--model and --model-settings"):
        with_tokens({"response": "2", "ids": [1], "values": [-1.0]}, model=None)


def test_log_probs_without_tokens_are_refused(imported):
    with pytest.raises(DistraceError, match="logprobs need token_ids"):
        imported(both("x", values=[-1.0]), logprobs="values")


def test_the_identity_holds_the_columns_and_the_content_of_the_file_not_its_name(imported, tmp_path):
    imported(both("x"))
    read = open_artifact(tmp_path / "0.arrow").identity["responses"]
    assert read["file"] == file_digest(tmp_path / "source.jsonl")
    assert (read["question"], read["response"], read["reasoning"]) == ("question", "response", None)
    assert str(tmp_path) not in json.dumps(read)


LINES = st.one_of(
    st.fixed_dictionaries(
        {"question": st.sampled_from([*QUESTIONS, "1+1? ", "3+3?", ""]) | st.none() | st.integers()},
        optional={
            "response": st.text(max_size=9) | st.sampled_from([" ", "\x1c", "\u2003\n", None, 3, ["a", "b"], True]),
            "other": st.sampled_from([2**70, float("nan"), {"question": 1}, [[]], "\ud800", 1e300]),
        },
    ).map(lambda row: json.dumps(row).encode()),
    st.sampled_from([b"", b" ", b"{", b"[1]", b'{"question": "1+1?", "response": "\xff"}', b"{}{}", b'{"a":\n{}}']),
    st.sampled_from(
        [b'{"question": "1+1?", "response": "a", "response": "b"}', b'{"question": "2+2?", "response": "\\ud83d"}']
    ),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.sampled_from([40, 1000]))
def test_lines_that_are_parsed_outside_of_python_give_the_same_rows(tmp_path, lines, end, ended, size):
    questions = write_questions(tmp_path / "questions" / "0.arrow", QUESTIONS)
    # One row to a question, so that none is without an answer.
    lines = [b'{"question": "1+1?", "response": "first"}', *lines]
    source = tmp_path / "source.jsonl"
    source.write_bytes(end.join(lines) + end * ended)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "BYTES_AT_ONCE", size)
        for columns, threads in ((imported_rollouts._plain_columns, 3), (lambda settings: [], 1)):
            patch.setattr(imported_rollouts, "_plain_columns", columns)
            write_imported("big", questions, Responses(str(source)), tmp_path / "parts.arrow", threads=threads)
            found.append((open_artifact(tmp_path / "0.arrow").read().to_dicts(), rejects_of(tmp_path / "0.arrow")))
    assert found[0] == found[1]


def test_plain_columns_are_told_from_everything_that_needs_python():
    plain = imported_rollouts._plain_columns
    assert plain(Responses("a.jsonl")) == ["question", "response"]
    assert plain(Responses("a.jsonl", question="q", response="r", reasoning="thought")) == ["q", "r", "thought"]
    for other in (
        Responses("a", question="{{ q }}"),
        Responses("a", response="a.b"),
        Responses("a", response="question"),
        Responses("a", format="think"),
        Responses("a", token_ids="ids"),
        Responses("a", id="id"),
        Responses("a", once="id"),
        Responses("a", correct="right"),
        Responses("a", join={"file": "b", "id": "id"}),
    ):
        assert plain(other) == []
