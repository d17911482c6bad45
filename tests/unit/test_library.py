"""The measures as functions for a notebook, on tiny models and hand-made log-probs."""

import html
import math
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import distrace
from builders import write_questions
from distrace.errors import DistraceError
from distrace.measures.labels import LABELS
from tiny import plain_scores, tiny_model, tiny_tokenizer, write_author

EVIL = "<script>alert('model')</script>\u202e"
ROWS = [{"question": "1+1?", "text": "It is two. So 2."}, {"question": "2+2?", "text": "Four.", "id": "mine"}]


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    folder = tmp_path_factory.mktemp("author")
    write_author(folder)
    return folder


def logprobs(given: pl.DataFrame, values: dict[str, list[float]]) -> pl.DataFrame:
    """Return log-probs: each character a token, with the probability of its sentence."""
    rows = []
    cut = distrace.sentences(given, "lines")
    for rollout_id, probabilities in values.items():
        spans = cut.filter(pl.col("rollout_id") == rollout_id).select("start", "end").rows()
        places = [
            (place, math.log(p))
            for (start, end), p in zip(spans, probabilities, strict=True)
            for place in range(start, end)
        ]
        starts, found = zip(*places, strict=True)
        rows.append({"rollout_id": rollout_id, "starts": starts, "ends": [s + 1 for s in starts], "logprobs": found})
    return pl.DataFrame(rows, schema_overrides={"logprobs": pl.List(pl.Float32)}).with_columns(ranks=pl.col("starts"))


@pytest.fixture
def labelled():
    given = distrace.responses(
        [{"question": "?", "text": f"{EVIL}\nb\nc\nd\n", "id": "r"}, {"question": "?", "text": "x"}]
    )
    scored = [{"r": [0.9, 0.1, 0.5, 0.5]}, {"r": [0.1, 0.9, 0.5, 0.5]}, {"r": [0.9, 0.9, 0.5, 0.9]}]
    return distrace.label(given, *(logprobs(given, values) for values in scored), splitter="lines")


def test_importing_distrace_imports_nothing_that_takes_time():
    code = "import sys, distrace; print([m for m in ('torch', 'transformers', 'polars', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, distrace; distrace.label; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_the_library_holds_is_found_by_name_and_nothing_else():
    assert {"score", "label", "rank", "show", "read"} <= set(dir(distrace))
    with pytest.raises(AttributeError, match="has no attribute 'scores'"):
        _ = distrace.scores


def test_responses_get_ids_samples_and_no_tokens():
    given = distrace.responses([*ROWS, ROWS[0]])
    assert given["sample"].to_list() == [0, 0, 1]
    assert given["rollout_id"][1] == "mine"
    assert given["rollout_id"].n_unique() == 3
    assert distrace.responses([]).is_empty()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "1+1?"}, "response 0: needs a `question` and a `text`"),
        ({"question": "1+1?", "text": " "}, "response 0: needs a `question` and a `text`"),
        ({"question": 7, "text": "a"}, "response 0: needs a `question` and a `text`"),
        ({"question": "1+1?", "text": "a", "answer_start": 2}, "response 0: answer_start 2 lies outside of its 1 char"),
    ],
)
def test_a_row_that_is_no_response_is_named(row, said):
    with pytest.raises(DistraceError, match=re.escape(said)):
        distrace.responses([row])


def test_two_responses_of_one_id_are_refused():
    with pytest.raises(DistraceError, match="two responses have one id"):
        distrace.responses([ROWS[1], ROWS[1]])


def test_scores_are_those_of_the_model_and_what_cannot_be_scored_has_a_reason(author):
    given = distrace.responses([*ROWS, {"question": "3+3?", "text": "so " * 200, "id": "long"}])
    found = distrace.score(distrace.model(author, format="plain"), given)
    assert found["rollout_id"].to_list() == given["rollout_id"].to_list()
    assert found["logprobs"][2] is None
    assert "context length" in found["reason"][2]
    tokenizer = tiny_tokenizer()
    prompt = tokenizer("1+1?\n", add_special_tokens=False).input_ids
    expected, _ = plain_scores(tiny_model(), prompt, found["token_ids"][0].to_list())
    assert found["logprobs"][0].to_list() == pytest.approx(expected, abs=1e-4)
    assert found["reason"][0] is None


def test_a_model_of_a_run_is_read_by_its_card_and_settings_are_checked(author):
    assert distrace.model(author / "model.json", format="plain").card.location == str(author)
    with pytest.raises(DistraceError, match="no settings \\['formt'\\]"):
        distrace.model(author, formt="plain")
    with pytest.raises(DistraceError, match="no chat template"):
        distrace.model(author)
    with pytest.raises(DistraceError, match=r"holds no config\.json"):
        distrace.model(author / "none", format="plain")


def test_sentences_are_labelled_and_those_of_unscored_responses_have_a_reason(labelled):
    assert labelled["label"].to_list() == ["Teacher", "Student", "Shared", "Boosted", None]
    assert labelled["reason"].to_list() == [None] * 4 + ["the teacher did not score the response"]
    assert "".join(labelled["text"][:4]) == f"{EVIL}\nb\nc\nd\n"


def test_what_a_model_wrote_is_text_in_the_page_and_isolated(labelled):
    page = distrace.show(labelled)._repr_html_()
    assert "<script" not in page
    assert html.escape(EVIL, quote=True) in page
    assert page.count("<bdi ") == page.count("</bdi>") == 5
    assert all(name in page for name in LABELS)
    assert repr(distrace.show(labelled)).startswith(f"[T] {EVIL}\n[S] b\n[=] c\n[+] d\n")


def test_candidates_are_ranked_and_those_that_cannot_be_say_why():
    given = distrace.responses(
        [{"question": "?", "text": "a\nb\n", "id": "r"}, {"question": "?", "text": "x", "id": "s"}]
    )
    scored = [logprobs(given, {"r": [0.9, 0.5]}), logprobs(given, {"r": [0.1, 0.5]})]
    ranked = distrace.rank(given, *scored, scores=["teacher_ratio"], splitter="lines")
    assert ranked.select("rollout_id", "teacher_count", "teacher_ratio").rows() == [("r", 1, 0.5), ("s", None, None)]
    assert ranked["reason"].to_list() == [None, "the student did not score it"]
    with pytest.raises(DistraceError, match="no score 'best'"):
        distrace.rank(given, *scored, scores=["best"])
    with pytest.raises(DistraceError, match=r"needs .*: use the workflow for it"):
        distrace.rank(given, *scored, scores=["lark"])


def test_any_artifact_is_read_with_its_rejects(tmp_path):
    path = write_questions(tmp_path / "0.arrow", {"1+1?": "2"})
    assert distrace.read(path)["answer"].to_list() == ["2"]
    assert distrace.rejected_rows(path).is_empty()
    with pytest.raises(DistraceError, match="no such file"):
        distrace.read(tmp_path / "1.arrow")
    with pytest.raises(DistraceError, match="no splitter 'words'"):
        distrace.sentences(distrace.responses(ROWS), "words")


def test_no_module_takes_the_place_of_a_function():
    # A module that is imported becomes an attribute of its package.
    assert not {path.stem for path in Path(distrace.__file__).parent.iterdir()} & set(distrace._IN_LIBRARY)
