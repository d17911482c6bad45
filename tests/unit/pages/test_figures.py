from distrace.measures.labels import LABELS
from distrace.pages.figures import (
    MIN_RESPONSES,
    as_svg,
    curve_figure,
    rows_of,
    sensitivity_figure,
)
from distrace.pages.texts import COLOURS, LETTERS


def curve(*responses: int, share: float = 0.5) -> dict:
    band = {name: [value] * len(responses) for name, value in (("mean", share), ("low", 0.25), ("high", 0.75))}
    return {"responses": list(responses), "labels": dict.fromkeys(LABELS, band)}


def curves(**groups: dict) -> dict:
    found = {"all": curve(9, 9, 9), "right": curve(0, 0, 0), "wrong": curve(0, 0, 0), "width": 1, "positions": 3}
    return found | groups


def test_positions_that_few_responses_reach_are_not_drawn():
    found = curves(right=curve(9, MIN_RESPONSES, MIN_RESPONSES - 1), wrong=curve(MIN_RESPONSES, 0, 0))
    rows = rows_of(curve_figure(found, "sentence"))
    places = [(row["place"], row["responses"]) for row in rows if row["label"] == "Teacher"]
    assert places == [(1, "right"), (2, "right"), (1, "wrong")]
    assert rows[0] == {
        "place": 1,
        "responses": "right",
        "label": "Teacher",
        "share": 0.5,
        "low": 0.25,
        "high": 0.75,
        "number": 9,
    }


def test_places_are_numbers_of_sentences_or_the_middles_of_tenths():
    def places(scale: str, **changes) -> list:
        rows = rows_of(curve_figure(curves(right=curve(9, 9, 9)) | changes, scale))
        return [row["place"] for row in rows if row["label"] == "Boosted"]

    assert places("sentence") == [1, 2, 3]
    assert places("sentence", width=4, positions=11) == [1, 5, 9]
    assert places("tenth", positions=10) == [0.05, 0.15, 0.25]


def test_where_nothing_was_judged_the_curves_of_all_responses_are_drawn():
    rows = rows_of(curve_figure(curves(), "sentence"))
    assert {row["responses"] for row in rows} == {"all"}
    assert "<svg" in as_svg(curve_figure(curves(), "sentence"))


def test_the_figure_of_thresholds_leaves_out_shares_that_do_not_exist():
    share = {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 3}
    labels = {"Teacher": share, "Student": None, "Shared": None, "Boosted": None}
    rows = rows_of(sensitivity_figure({"thresholds": [{"alpha": 0.1, "beta": 0.2, "labels": labels}]}))
    assert rows == [{"alpha": 0.1, "beta": 0.2, "label": "Teacher", "share": 0.5, "low": 0.25, "high": 0.75}]


def test_each_label_has_a_colour_and_a_letter_of_its_own():
    assert len(set(COLOURS.values())) == len(set(LETTERS.values())) == len(LABELS)
