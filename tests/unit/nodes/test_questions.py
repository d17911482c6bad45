import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import rejects_of
from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.nodes.questions import write_questions
from distrace.parts import open_parts
from distrace.questions import Cut, Questions


def write_source(folder: Path, rows: list) -> dict:
    path = folder / "source.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"file": str(path)}


def asked(numbers) -> list[dict]:
    return [{"question": f"What is {n}?", "answer": n} for n in numbers]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "parts.arrow"


def answers(out: Path) -> list[str]:
    return open_parts(out, kinds.QUESTIONS).read()["answer"].to_list()


def rejected(out: Path) -> list[dict]:
    """Return the rejects of all parts."""
    return [reject for part in open_parts(out) for reject in rejects_of(part.path)]


def test_a_question_is_known_by_its_text(tmp_path, out):
    write_questions(Questions(write_source(tmp_path, asked([7]))), Cut(), out)
    assert open_parts(out, kinds.QUESTIONS).read().to_dicts() == [
        {"question_id": short_id("What is 7?"), "question": "What is 7?", "answer": "7", "solution": None}
    ]
    assert rejected(out) == []


def test_columns_may_be_templates(tmp_path, out):
    rows = [{"q": "2+2", "a": "two twos\n#### 4"}]
    columns = {"question": "{{ q }} = ?", "answer": "{{ a.split('#### ')[1] }}", "solution": "a"}
    write_questions(Questions(write_source(tmp_path, rows), **columns), Cut(), out)
    [row] = open_parts(out, kinds.QUESTIONS).read().to_dicts()
    assert (row["question"], row["answer"], row["solution"]) == ("2+2 = ?", "4", "two twos\n#### 4")


@pytest.mark.parametrize(
    ("skip", "limit", "expected"), [(0, None, "0123"), (1, 2, "12"), (3, 9, "3"), (0, 1, "0"), (2, None, "23")]
)
def test_skip_and_limit_cut_a_stretch_out_of_the_source(tmp_path, out, skip, limit, expected):
    write_questions(Questions(write_source(tmp_path, asked(range(4))), skip=skip, limit=limit), Cut(), out)
    assert "".join(answers(out)) == expected


def test_rows_that_cannot_be_used_are_rejected_under_their_number_in_the_source(tmp_path, out):
    rows = [*asked([0, 1]), {"question": "x"}, 5, {"question": "y", "answer": None}, *asked([6, 1])]
    write_questions(Questions(write_source(tmp_path, rows), skip=1), Cut(), out)
    assert answers(out) == ["1", "6"]
    reasons = {reject["row"]: reject["reason"] for reject in rejected(out)}
    assert reasons == {
        2: "line 3: no column 'answer'; the row has ['question']",
        3: "line 4: not a JSON object: '5'",
        4: "line 5: column 'answer' is null",
        6: "line 7: the same question as row 1",
    }


CUTS = st.builds(Cut, parts=st.integers(1, 6)) | st.builds(Cut, part_size=st.integers(1, 6))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5) | st.none(), min_size=1, max_size=12), CUTS, st.integers(0, 3))
def test_parts_are_the_source_cut_in_order(numbers, cut, skip):
    rows = [{"question": None if n is None else f"What is {n}?", "answer": "a"} for n in numbers]
    usable = any(n is not None for n in numbers[skip:])
    with TemporaryDirectory() as folder:
        source = Questions(write_source(Path(folder), rows), skip=skip)
        out = Path(folder) / "parts.arrow"
        if not usable:
            with pytest.raises(DistraceError):
                write_questions(source, cut, out)
            return
        write_questions(source, cut, out)
        kept = open_parts(out).read()["question"].to_list()
        refused = [reject["row"] for reject in rejected(out)]
        sizes = [part.rows + len(rejects_of(part.path)) for part in open_parts(out)]
    assert kept == list(dict.fromkeys(row["question"] for row in rows[skip:] if row["question"]))
    assert len(kept) + len(refused) == len(rows) - skip == sum(sizes)
    assert refused == sorted(refused)
    if cut.part_size:
        assert set(sizes[:-1]) <= {cut.part_size}
        assert sizes[-1] <= cut.part_size
    else:
        assert len(sizes) == cut.parts
        assert max(sizes) - min(sizes) <= 1


def test_a_question_twice_is_rejected_also_across_parts(tmp_path, out):
    write_questions(Questions(write_source(tmp_path, asked([1, 2, 1, 3]))), Cut(parts=2), out)
    assert [part.read()["answer"].to_list() for part in open_parts(out)] == [["1", "2"], ["3"]]
    assert [reject["row"] for reject in rejected(out)] == [2]


def test_a_question_twice_with_another_answer_says_so(tmp_path, out):
    rows = [{"question": "x", "answer": "1"}, {"question": "x", "answer": "2"}]
    write_questions(Questions(write_source(tmp_path, rows)), Cut(), out)
    assert [reject["reason"] for reject in rejected(out)] == [
        "line 2: the same question as row 0, with another answer: '2'"
    ]


@pytest.mark.parametrize("value", ["true", "NaN", "Infinity", "-Infinity"])
def test_what_is_neither_text_nor_a_number_is_no_answer(tmp_path, out, value):
    source = tmp_path / "source.jsonl"
    source.write_text('{"question": "a", "answer": 3}\n{"question": "b", "answer": ' + value + "}")
    write_questions(Questions({"file": str(source)}), Cut(), out)
    assert answers(out) == ["3"]
    assert "not text" in rejected(out)[0]["reason"]


def test_rows_appended_to_the_source_leave_full_parts_as_they_are(tmp_path, out):
    write_questions(Questions(write_source(tmp_path, asked(range(5)))), Cut(part_size=2), out)
    before = [(tmp_path / f"{part}.arrow").stat() for part in range(3)]
    write_questions(Questions(write_source(tmp_path, asked(range(7)))), Cut(part_size=2), out)
    after = [(tmp_path / f"{part}.arrow").stat() for part in range(3)]
    assert [then.st_ino == now.st_ino for then, now in zip(before, after, strict=True)] == [True, True, False]
    assert answers(out) == list("0123456")


def test_a_source_without_rows_is_an_error(tmp_path, out):
    source = write_source(tmp_path, asked([1]))
    with pytest.raises(DistraceError, match=r"source\.jsonl: no row is left after the 4 to skip"):
        write_questions(Questions(source, skip=4), Cut(), out)


def test_a_source_of_which_no_row_can_be_used_is_an_error_that_says_why(tmp_path, out):
    source = write_source(tmp_path, asked([1, 2]))
    with pytest.raises(DistraceError, match=r"none of 2 rows can be used; row 0: line 1: no column 'problem'"):
        write_questions(Questions(source, question="problem"), Cut(), out)
    assert not out.exists()


def test_the_fingerprint_holds_what_was_read_of_the_source_and_not_where(tmp_path):
    def fingerprint(name: str, rows: list, **columns) -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write_questions(Questions(write_source(folder, rows), **columns), Cut(), folder / "parts.arrow")
        return open_artifact(folder / "0.arrow").fingerprint

    first = fingerprint("a", asked([1, 2, 3]))
    assert fingerprint("b", asked([1, 2, 3])) == first
    assert fingerprint("a", asked([1, 2, 3, 4]), limit=3) == first
    others = [
        fingerprint("c", asked([1, 2, 4])),
        fingerprint("a", asked([1, 2, 3]), skip=1),
        fingerprint("a", asked([1, 2, 3, None])),
        fingerprint("a", asked([1, 2, 3]), answer="question"),
    ]
    assert len({first, *others}) == 5


def test_questions_of_the_world_carry_the_solutions_of_a_style(out):
    world = {"split": "train", "count": 3, "swaps": [2, 2], "style": "teacher"}
    write_questions(Questions({"world": world}, seed=1), Cut(), out)
    assert len(answers(out)) == 3
    assert all(open_parts(out, kinds.QUESTIONS).read()["solution"])
    with_other_seed = out.parent / "other" / "parts.arrow"
    write_questions(Questions({"world": world}, seed=2), Cut(), with_other_seed)
    assert open_artifact(out).fingerprint != open_artifact(with_other_seed).fingerprint
