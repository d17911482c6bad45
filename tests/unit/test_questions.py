"""Into which parts a set of questions is cut, and which of them are told to have changed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distrace.errors import DistraceError
from distrace.questions import Cut, Questions, count_parts, part_digests, source_rows

WORLD = {"split": "train", "count": 10, "swaps": [1, 2], "style": None}
HUB = {"hub": "owner/name", "revision": "abc", "split": "train"}


def in_file(folder: Path, numbers, suffix: str = ".jsonl", **settings) -> Questions:
    """Return a set from a file with a row for each number."""
    path = folder / f"source{suffix}"
    rows = [{"question": f"What is {number}?", "answer": number} for number in numbers]
    path.write_text("\n\n".join(map(json.dumps, rows)) if suffix == ".jsonl" else json.dumps(rows))
    return Questions({"file": str(path)}, **settings)


@given(st.integers(0, 50), st.builds(Cut, parts=st.integers(1, 9)) | st.builds(Cut, part_size=st.integers(1, 9)))
def test_every_row_is_in_one_part_and_in_order(rows, cut):
    stretches = cut.stretches(rows)
    assert [row for stretch in stretches for row in stretch] == list(range(rows))
    assert len(stretches) >= 1


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 9))
def test_with_a_part_size_more_rows_leave_full_parts_as_they_are(rows, more, size):
    before, after = Cut(part_size=size).stretches(rows), Cut(part_size=size).stretches(rows + more)
    full = rows // size
    assert after[:full] == before[:full]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(("skip", "limit", "parts"), [(0, None, 4), (1, None, 3), (0, 4, 2), (6, 9, 1), (9, None, 1)])
def test_the_rows_of_a_file_are_counted_where_the_number_of_parts_follows_from_them(
    tmp_path, suffix, skip, limit, parts
):
    settings = in_file(tmp_path, range(7), suffix, skip=skip, limit=limit)
    assert count_parts(settings, Cut(part_size=2)) == parts
    assert len(part_digests(settings, Cut(part_size=2))) == parts
    assert len(list(source_rows(settings))) == len(range(7)[skip : None if limit is None else skip + limit])


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_appended_rows_change_the_digests_of_no_full_part(tmp_path, suffix):
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    before = part_digests(in_file(tmp_path / "before", range(5), suffix), Cut(part_size=2))
    after = part_digests(in_file(tmp_path / "after", range(8), suffix), Cut(part_size=2))
    assert before[:2] == after[:2]
    assert before[2] not in after
    assert len(set(after)) == 4


def test_a_changed_row_changes_the_digest_of_its_part_alone(tmp_path):
    before = part_digests(in_file(tmp_path, range(6)), Cut(parts=3))
    after = part_digests(in_file(tmp_path, [0, 1, 2, 33, 4, 5]), Cut(parts=3))
    assert [then == now for then, now in zip(before, after, strict=True)] == [True, False, True]


def test_other_columns_change_all_digests(tmp_path):
    plain = part_digests(in_file(tmp_path, range(4)), Cut(parts=2))
    others = part_digests(in_file(tmp_path, range(4), answer="{{ answer }}"), Cut(parts=2))
    assert not set(plain) & set(others)


def test_more_questions_of_the_world_leave_full_parts_as_they_are():
    few, many = ({"world": WORLD | {"count": count}} for count in (5, 9))
    before, after = (part_digests(Questions(source, seed=1), Cut(part_size=2)) for source in (few, many))
    assert before[:2] == after[:2]
    assert part_digests(Questions(few, seed=2), Cut(part_size=2))[0] != before[0]


def test_solutions_of_the_world_depend_on_the_number_of_questions():
    few, many = ({"world": WORLD | {"style": "teacher", "count": count}} for count in (4, 6))
    before, after = (part_digests(Questions(source), Cut(part_size=2)) for source in (few, many))
    assert before[0] != after[0]


def test_hub_data_is_fixed_by_its_revision_and_never_loaded_for_the_plan():
    settings = Questions(HUB, limit=5)
    assert count_parts(settings, Cut(part_size=2)) == 3
    assert part_digests(settings, Cut(part_size=2))[:2] == part_digests(Questions(HUB, limit=9), Cut(part_size=2))[:2]
    assert len(set(part_digests(Questions(HUB), Cut(parts=3)))) == 3
    assert part_digests(Questions(HUB | {"revision": "def"}), Cut()) != part_digests(Questions(HUB), Cut())


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DistraceError, match="no such file"):
        count_parts(Questions({"file": str(tmp_path / "none.jsonl")}), Cut(part_size=2))
