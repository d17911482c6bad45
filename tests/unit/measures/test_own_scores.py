import hashlib
from pathlib import Path

import polars as pl
import pytest

from distrace.errors import DistraceError
from distrace.measures.own_scores import OwnScore, load_score
from distrace.measures.scores import Candidates, candidates_of

LISTS = {"starts": pl.List(pl.Int32), "ends": pl.List(pl.Int32), "logprobs": pl.List(pl.Float32)}


def candidates(*logprobs: list[float]) -> Candidates:
    names = [f"r{n}" for n in range(len(logprobs))]
    spans = {
        "starts": [list(range(len(of))) for of in logprobs],
        "ends": [list(range(1, 1 + len(of))) for of in logprobs],
    }
    scored = pl.DataFrame(
        {"rollout_id": names} | spans | {"logprobs": list(logprobs)}, schema={"rollout_id": pl.String} | LISTS
    )
    responses = pl.DataFrame(
        {"rollout_id": names, "text": ["x"] * len(names)}, schema={"rollout_id": pl.String, "text": pl.String}
    )
    return candidates_of(responses, pl.DataFrame(), scored, scored, 0.1, 0)


POOL = candidates([-1.0, -3.0], [-0.5])


def write(folder: Path, body: str) -> OwnScore:
    (folder / "mine.py").write_text(f"import polars as pl\n\n\n{body}\n")
    return OwnScore(str(folder / "mine.py"), "lowest", ("alone",))


def score(folder: Path, value: str):
    own, _ = load_score(write(folder, f"def score(candidates):\n    return {value}"))
    return own.compute(POOL)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("candidates.student.select(pl.col('logprobs').list.min()).to_series()", [-3.0, -0.5]),
        ("candidates.responses['text'].str.len_chars()", [1.0, 1.0]),
        ("[1, None]", [1.0, None]),
        ("[None] * 2", [None, None]),
        ("__import__('numpy').arange(2)", [0.0, 1.0]),
    ],
)
def test_a_series_a_list_and_an_array_of_numbers_are_scores(tmp_path, value, expected):
    found = score(tmp_path, value)
    assert found.dtype == pl.Float64
    assert found.to_list() == expected


def test_a_score_has_what_the_config_says_of_it_and_the_digest_of_its_file(tmp_path):
    settings = write(tmp_path, "def score(candidates):\n    return [0, 0]")
    own, digest = load_score(settings)
    assert (own.pick, own.needs) == ("lowest", ("alone",))
    assert digest == hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    write(tmp_path, "def score(candidates):\n    return [1, 1]")
    again, other = load_score(settings)
    assert other != digest
    assert again.compute(POOL).to_list() == [1, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "[1.0]",
            "must return 2 numbers, one for each candidate of candidates.responses, in their order; it returned 1",
        ),
        ("['a', 'b']", "it returned values of type String: convert them to floats"),
        ("[True, False]", "it returned values of type Boolean"),
        ("7", "it returned a int"),
        ("[1.0, float('nan')]", "gave 1 candidates no finite number, the first r1: return None where"),
        ("[float('-inf'), 1.0]", "gave 1 candidates no finite number, the first r0"),
        ("1 / 0", "line 5: score(candidates) failed with ZeroDivisionError: division by zero"),
        ("pl.col('x').sum_of()", "line 5: score(candidates) failed with AttributeError"),
    ],
)
def test_anything_else_is_an_error_that_names_the_file_and_the_fix(tmp_path, value, message):
    with pytest.raises(DistraceError) as error:
        score(tmp_path, value)
    assert str(error.value).startswith(str(tmp_path / "mine.py"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def scores(candidates):\n    return []", "has no function `score(candidates)`; define one"),
        ("score = 3", "has no function `score(candidates)`"),
        ("def score(candidates:", "the file failed with SyntaxError"),
        ("import no_such_module", "line 4: the file failed with ModuleNotFoundError"),
    ],
)
def test_a_file_that_defines_no_score_is_an_error(tmp_path, body, message):
    with pytest.raises(DistraceError) as error:
        load_score(write(tmp_path, body))
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DistraceError, match=r"nowhere\.py: cannot be read"):
        load_score(OwnScore(str(tmp_path / "nowhere.py")))


def test_a_part_without_candidates_is_not_asked_about(tmp_path):
    own, _ = load_score(write(tmp_path, "def score(candidates):\n    return candidates.responses['text'][0]"))
    assert own.compute(candidates()).to_list() == []
