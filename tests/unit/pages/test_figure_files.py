import xml.etree.ElementTree as ElementTree

import polars as pl
import pytest

import results
from distrace.measures.labels import LABELS
from distrace.pages import figure_files
from distrace.pages.figure_files import report_figures, write_figures
from distrace.pages.numbers import numbers_of


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        yield numbers_of(results.write_results())


@pytest.fixture(scope="module")
def figures(numbers):
    return report_figures(numbers)


TRACE = f"main.teacher.{results.DISTILLED}.test.answer"


def test_every_figure_has_a_name_of_its_own(figures):
    assert set(figures) == {
        "accuracy.main",
        "lengths.main",
        *(f"{kind}.{TRACE}" for kind in ("labels", "curves-all-sentence", "curves-all-tenth", "sensitivity")),
    }


def test_each_figure_is_written_with_the_numbers_that_it_shows(numbers, figures, tmp_path):
    write_figures(figures, tmp_path / "figures")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == sorted(f"{name}.{suffix}" for name in figures for suffix in ("svg", "csv"))
    for path in (tmp_path / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    shares = pl.read_csv(tmp_path / "figures" / f"labels.{TRACE}.csv")
    [trace] = numbers["runs"]["main"]["traces"]
    drawn = dict(shares.filter(responses="all").select("label", "share").iter_rows())
    assert drawn == {label: trace["labels"][label]["mean"] for label in LABELS}
    points = pl.read_csv(tmp_path / "figures" / f"sensitivity.{TRACE}.csv")
    assert len(points) == 25 * len(LABELS)


def test_figures_are_written_whole_or_not_at_all(figures, tmp_path, monkeypatch):
    write_figures({"old": figures["accuracy.main"]}, tmp_path / "figures")

    def fail(path, text):
        raise OSError("no space left")

    monkeypatch.setattr(figure_files, "write_text", fail)
    with pytest.raises(OSError, match="no space"):
        write_figures(figures, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["old.csv", "old.svg"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    monkeypatch.undo()
    write_figures({"new": figures["accuracy.main"]}, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["new.csv", "new.svg"]
