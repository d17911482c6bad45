"""Truth, separation and validation: labels set against the known origin of sentences in the world."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from builders import write_lines, write_logprobs, write_probabilities, write_questions, write_rollouts
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import artifacts
from distrace.errors import DistraceError
from distrace.provenance import Thresholds
from distrace.separation import write_separation
from distrace.truth import write_truth
from distrace.validation import CLAIMS, Pair, confusion, origin_of, precision_and_recall, roc_auc

PAIR = Pair("teacher", "student")
LINES = ["Plan to go from a to c.\n", "That looks easy enough.\n", "The answer is cup.\n", "Plan cup go.\n"]
ORIGINS = ["teacher", "student", "both", "none"]


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """One response that holds a sentence of each origin, scored by two models with one token a sentence."""
    questions = write_questions(tmp_path / "questions.arrow", {"What is in front?": "cup"})
    text = "".join(LINES)
    rollouts = write_rollouts(tmp_path / "rollouts.arrow", questions, {"r": ("What is in front?", text)})
    sentences = write_lines(tmp_path / "sentences.arrow", rollouts)
    write_truth(rollouts, sentences, tmp_path / "truth.arrow")
    for name, values in (("teacher", [0.9, 0.1, 0.8, 0.2]), ("student", [0.1, 0.9, 0.8, 0.2])):
        write_probabilities(tmp_path / f"{name}.arrow", sentences, rollouts, {"r": values})
    return {path.stem: path for path in tmp_path.glob("*.arrow")}


def test_truth_names_the_styles_that_write_a_sentence(files):
    origins = artifacts.read(files["truth"], "truth")["origin"].to_list()
    assert origins == ["teacher", "student", "student+teacher+teacher_b", "none"]


def test_a_pair_of_styles_sees_four_origins(files):
    truth = artifacts.read(files["truth"], "truth")
    assert truth.select(origin_of(PAIR)).to_series().to_list() == ORIGINS
    other = truth.select(origin_of(Pair("teacher_b", "student"))).to_series().to_list()
    assert other == ["none", "student", "both", "none"]


def test_separation_holds_both_probabilities_of_every_sentence(files, tmp_path):
    out = tmp_path / "separation.arrow"
    write_separation(files["sentences"], files["truth"], files["teacher"], files["student"], PAIR, out)
    table = artifacts.read(out, "separation")
    assert table["origin"].to_list() == ORIGINS
    assert table["p_teacher"].to_list() == pytest.approx([0.9, 0.1, 0.8, 0.2])
    assert table["p_student"].to_list() == pytest.approx([0.1, 0.9, 0.8, 0.2])


def test_separation_refuses_log_probs_of_other_rollouts(files, tmp_path):
    questions = write_questions(tmp_path / "q.arrow", {"Else?": "1"})
    others = write_rollouts(tmp_path / "r.arrow", questions, {"r": ("Else?", "One.")})
    strange = write_logprobs(tmp_path / "l.arrow", others, {"r": [(0, 4, -1.0)]})
    with pytest.raises(DistraceError, match="was computed from rollouts"):
        write_separation(files["sentences"], files["truth"], strange, files["student"], PAIR, tmp_path / "x.arrow")


def labelled(rows: list[tuple[str, float, float, float]]) -> pl.DataFrame:
    columns = ["origin", "p_teacher", "p_student", "p_distilled"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(start=pl.lit(0), end=pl.lit(20))


def test_precision_is_the_share_of_a_label_and_recall_the_share_of_an_origin():
    table = labelled(
        [
            ("teacher", 0.9, 0.1, 0.9),  # Teacher, rightly
            ("teacher", 0.5, 0.5, 0.5),  # Shared, wrongly
            ("both", 0.9, 0.1, 0.9),  # Teacher, wrongly
            ("both", 0.5, 0.5, 0.5),  # Shared, rightly
            ("both", 0.5, 0.5, 0.9),  # Boosted, rightly
        ]
    )
    found = precision_and_recall(confusion(table, Thresholds(0.05, 0.1)))
    assert found["Teacher"] == {"precision": 0.5, "recall": 0.5, "labelled": 2, "of_origin": 2}
    assert found["Shared"]["precision"] == 0.5
    assert found["Shared"]["recall"] == pytest.approx(1 / 3)
    assert found["Boosted"]["precision"] == 1.0
    assert found["Student"]["precision"] is None
    assert found["Student"]["recall"] is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ORIGINS), *[st.floats(0, 1)] * 3), min_size=1, max_size=30))
def test_every_sentence_is_counted_once(rows):
    counts = confusion(labelled(rows), Thresholds(0.05, 0.1))
    assert counts["sentences"].sum() == len(rows)
    assert set(counts["label"]) <= set(CLAIMS)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_area_under_the_roc_curve_is_the_chance_of_the_right_order(positive, negative):
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert roc_auc(np.array(positive), np.array(negative)) == pytest.approx(sum(wins) / len(wins))


def test_without_one_kind_of_sentence_there_is_no_area():
    assert roc_auc(np.array([]), np.array([1.0])) is None
