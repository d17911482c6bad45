"""The dataset card, as `datasets` and people read it."""

import polars as pl
import pytest
import yaml

from distrace.export.card import Account, dataset_card
from distrace.models import Card

MODELS = [("teacher", Card("big", "owner/big", "abc", "f1")), ("student", Card("small", "/home/me/small", None, "f2"))]
ABOUT = {
    "run": "main",
    "strategy": "grape",
    "teacher": "big",
    "student": "small",
    "sampling": {"name": "explore", "temperature": 0.6, "top_k": None},
    "beta": 0.1,
}
SCORES = pl.DataFrame({"rollout_id": list("abc"), "sample": 0, "grape": [-1.0, -2.0, None], "finish_reason": "stop"})
ACCOUNT = Account(
    {}, {"cut off": 4}, {"the answer is wrong": 3}, 2, {"character 1 of the text begins '<think>' | x\ny": 1}, 7
)


def card(account: Account = ACCOUNT) -> str:
    return dataset_card(ABOUT, MODELS, SCORES, SCORES.head(1), account, "f3")


def test_the_metadata_lead_to_the_data_files_and_name_no_licence():
    _, metadata, _ = card().split("---\n", 2)
    found = yaml.safe_load(metadata)
    files = [{"split": "train", "path": "data/train.parquet"}]
    assert found["configs"] == [{"config_name": "default", "data_files": files}]
    assert found["size_categories"] == ["n<1K"]
    assert "license" not in found
    assert "## Licence\n\nNone is given here." in card()


def test_the_card_names_models_with_their_revisions_and_fingerprints_and_no_folder():
    assert "| teacher | big | owner/big | abc | f1 |" in card()
    assert "| student | small | weights of its own |  | f2 |" in card()
    assert "/home/me" not in card()


def test_the_card_names_all_teachers_of_a_pool():
    pool = [MODELS[0], ("teacher", Card("other", "owner/other", "abc", "f4")), MODELS[1]]
    assert "7 responses of `big` and `other`, selected" in dataset_card(ABOUT, pool, SCORES, SCORES, ACCOUNT, "f3")


def test_the_card_has_the_settings_that_are_set():
    lines = card().splitlines()
    assert {"| sampling.name | explore |", "| sampling.temperature | 0.6 |", "| beta | 0.1 |"} <= set(lines)
    assert "top_k" not in card()


def test_the_card_has_the_means_of_scores_of_candidates_and_of_the_chosen():
    assert "| grape | 2 | -1.5 | 1 | -1 |" in card()
    assert "| finish_reason" not in card()
    assert "| sample |" not in card()


def test_the_card_accounts_for_every_response_and_no_reason_breaks_its_table():
    lines = card().splitlines()
    assert lines[-6:] == [
        "| --- | --- |",
        "| not ranked: cut off | 4 |",
        "| not eligible: the answer is wrong | 3 |",
        "| eligible and passed over | 2 |",
        "| chosen and not written: character 1 of the text begins '&lt;think>' \\| x y | 1 |",
        "| chosen, the rows of this data set | 7 |",
    ]


@pytest.mark.parametrize(("rows", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**6, "n>1M")])
def test_the_size_is_told_in_the_words_of_the_hub(rows, size):
    assert f"- {size}\n" in card(Account({}, {}, {}, 0, {}, rows))
