from distrace.pages.tables import TABLES, Cell, correlation_rows, difference_rows, overlap_rows


def pair(differ: bool, p_adjusted: float | None = 0.01) -> dict:
    difference = {"mean": 0.031, "low": 0.002, "high": 0.06, "n": 9}
    return {"strategy": "a", "other": "b", "difference": difference, "p_adjusted": p_adjusted, "differ": differ}


def test_a_difference_is_in_points_and_has_the_other_sign_on_the_other_side():
    [[diagonal, above], [below, _]] = difference_rows(["a", "b"], [pair(differ=True)])
    assert diagonal is None
    assert above == Cell("+3.1", 0.6, "+0.2 to +6.0; p (Holm) 0.0100")
    assert below == Cell("-3.1", -0.6, "-6.0 to -0.2; p (Holm) 0.0100")


def test_only_strategies_that_differ_are_filled():
    [[_, cell], _] = difference_rows(["a", "b"], [pair(differ=False, p_adjusted=None)])
    assert (cell.heat, cell.title) == (0, "+0.2 to +6.0; p (Holm) not defined")


def test_correlations_within_questions_lie_below_the_diagonal():
    found = {"scores": ["a", "b"], "within": -0.25, "questions": 3, "over_all": 0.5, "candidates": 12}
    [[_, above], [below, _]] = correlation_rows(["a", "b"], [found])
    assert above == Cell("+0.50", 0.5, "over 12 candidates")
    assert below == Cell("-0.25", -0.25, "within 3 questions")


def test_what_is_not_defined_is_a_dash():
    found = {"scores": ["a", "b"], "within": None, "questions": 0, "over_all": None, "candidates": 1}
    assert [cell.text for row in correlation_rows(["a", "b"], [found]) for cell in row if cell] == ["-", "-"]
    [[_, cell], _] = overlap_rows(["a", "b"], [{"strategies": ["a", "b"], "shared": 0, "jaccard": None}])
    assert cell.text == "-"


def test_an_overlap_is_the_same_on_both_sides():
    [[_, above], [below, _]] = overlap_rows(["a", "b"], [{"strategies": ["a", "b"], "shared": 2, "jaccard": 0.4}])
    assert above == below == Cell("0.40", 0.4, "2 responses chosen by both")


def test_no_pairs_leave_the_table_empty():
    assert [table(["a"], []) for table in TABLES.values()] == [[[None]]] * 3


def test_zero_has_no_minus():
    found = {"scores": ["a", "b"], "within": -0.001, "questions": 3, "over_all": 0.0, "candidates": 12}
    assert {cell.text for row in correlation_rows(["a", "b"], [found]) for cell in row if cell} == {"+0.00"}
