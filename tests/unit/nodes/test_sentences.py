import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.nodes.sentences import sentences_of, write_sentences
from distrace.text.splitting import SPLITTERS


def responses(*texts: str, answer_start: int = 0) -> pl.DataFrame:
    rows = [(f"r{number}", text, answer_start) for number, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=["rollout_id", "text", "answer_start"], orient="row")


@settings(deadline=None)
@given(st.lists(st.text("ab.\n é🙂"), min_size=1, max_size=3), st.sampled_from(sorted(SPLITTERS)))
def test_the_sentences_of_a_response_joined_are_its_text(texts, splitter):
    rows = sentences_of(responses(*texts), splitter)
    for number, text in enumerate(texts):
        mine = [row for row in rows if row["rollout_id"] == f"r{number}"]
        assert "".join(text[row["start"] : row["end"]] for row in mine) == text
        assert [row["sentence"] for row in mine] == list(range(len(mine)))
        assert all(row["start"] < row["end"] for row in mine)


def test_the_answer_begins_a_sentence_of_its_own():
    rows = sentences_of(responses("So it is 4 The answer is 4", answer_start=11), "lines")
    assert [(row["start"], row["end"]) for row in rows] == [(0, 11), (11, 26)]


@pytest.mark.parametrize("texts", [[], [""], ["", "One.", ""]])
def test_an_empty_response_has_no_sentence(tmp_path, texts):
    questions = write_questions(tmp_path / "q.arrow", {"Why?": "so"})
    written = {f"r{number}": ("Why?", text) for number, text in enumerate(texts)}
    rollouts = write_rollouts(tmp_path / "r.arrow", questions, written)
    write_sentences(rollouts, "sentences", tmp_path / "s.arrow")
    expected = [{"rollout_id": "r1", "sentence": 0, "start": 0, "end": 4}] if len(texts) == 3 else []
    assert open_artifact(tmp_path / "s.arrow", kinds.SENTENCES).read().to_dicts() == expected


def test_the_fingerprint_follows_rollouts_and_splitter(tmp_path):
    found = set()
    for answer in ("so", "thus"):
        questions = write_questions(tmp_path / "q.arrow", {"Why?": answer})
        rollouts = write_rollouts(tmp_path / "r.arrow", questions, {})
        for splitter in SPLITTERS:
            write_sentences(rollouts, splitter, tmp_path / "s.arrow")
            open_artifact(tmp_path / "s.arrow").require_made_from(open_artifact(rollouts, kinds.ROLLOUTS))
            found.add(open_artifact(tmp_path / "s.arrow").fingerprint)
    assert len(found) == 2 * len(SPLITTERS)
