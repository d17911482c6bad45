import pytest

import results
from distrace.pages.sensitivity import sensitivity_numbers


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        plan = results.write_results()
        [trace] = plan.traces("main")
        yield sensitivity_numbers(plan, trace)


def means(labels: dict) -> dict:
    return {label: share["mean"] for label, share in labels.items() if share and share["mean"]}


def test_the_grid_has_the_shares_of_the_labels_at_each_point(found):
    points = {(point["alpha"], point["beta"]): means(point["labels"]) for point in found["thresholds"]}
    assert len(points) == 25
    # The probabilities of the results lie far from all thresholds of the grid.
    assert {tuple(shares.items()) for shares in points.values()} == {
        (("Teacher", 4 / 8), ("Student", 1 / 8), ("Shared", 2 / 8), ("Boosted", 1 / 8))
    }
    assert found["ranges"]["Teacher"] == {"low": 0.5, "high": 0.5}


def test_the_runs_own_splitter_comes_first_and_others_cut_anew(found):
    lines, paragraphs, sentences = found["splitters"]
    assert (lines["splitter"], lines["sentences"], lines["unlabelled"]) == ("lines", 8, 0)
    assert (paragraphs["splitter"], paragraphs["sentences"]) == ("paragraphs", 4)
    assert sentences["splitter"] == "sentences"
    # Each response is one paragraph: d0 0.608 under the teacher, 0.292 under the student; d1, d2 and d3 are clear.
    assert means(paragraphs["labels"]) == {"Teacher": 3 / 4, "Student": 1 / 4}
    assert paragraphs["labels"]["Teacher"]["n"] == 4
