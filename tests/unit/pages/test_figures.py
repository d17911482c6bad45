import polars as pl

from distrace.pages.figures import MIN_RESPONSES, position_figure


def test_positions_that_few_responses_reach_are_not_drawn():
    positions = pl.DataFrame(
        {
            "position": [0, 1, 2],
            "correct": [True, False, None],
            "label": ["Teacher"] * 3,
            "sentences": [3, 1, 9],
            "responses": [MIN_RESPONSES, MIN_RESPONSES - 1, 99],
        }
    )
    drawn = position_figure(positions).to_dict()["data"]["values"]
    assert drawn == [{"position": 1, "label": "Teacher", "answer": "right", "share": 3 / MIN_RESPONSES}]
