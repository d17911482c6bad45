"""The world: its questions, its corpora, and the origin of its sentences."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import world
from distrace.errors import DistraceError

EVERY_STYLE = frozenset(world.STYLES)
SEEDS = st.integers(0, 2**32)


def solved(style: str, count: int = 200, swaps: tuple[int, int] = (1, 6), seed: int = 0) -> list[dict[str, str]]:
    return world.questions("train", count, swaps, seed, style)


def read(question: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Read the row and the swaps off a question's text, without the code that wrote it."""
    row, swaps = re.fullmatch(r"A row holds (.+)\. Swap (.+)\. What is in front\?", question).groups()
    return row.split(), [tuple(swap.split()[1:]) for swap in swaps.split(", ")]


def swapped(row: list[str], one: str, other: str) -> list[str]:
    row = list(row)
    i, j = row.index(one), row.index(other)
    row[i], row[j] = row[j], row[i]
    return row


def stated(solution: str) -> str:
    return re.search(r"^The answer is (\w+)\.$", solution, re.MULTILINE)[1]


@settings(deadline=None)
@given(seed=SEEDS)
def test_the_answer_is_what_stands_in_front_after_all_swaps_and_not_before(seed):
    for asked in world.questions("test", 5, (1, 6), seed):
        start, swaps = read(asked["question"])
        row = start
        for one, other in swaps:
            row = swapped(row, one, other)
        assert asked["answer"] == row[0] != start[0]


@settings(deadline=None)
@given(seed=SEEDS, least=st.integers(2, 6), more=st.integers(0, 3))
def test_questions_have_a_number_of_swaps_within_the_bounds(seed, least, more):
    asked = world.questions("train", 5, (least, least + more), seed)
    assert all(least <= len(read(row["question"])[1]) <= least + more for row in asked)


@settings(deadline=None)
@given(seed=SEEDS, style=st.sampled_from([None, *world.STYLES]))
def test_the_same_seed_gives_the_same_rows(seed, style):
    assert world.questions("train", 5, (2, 4), seed, style) == world.questions("train", 5, (2, 4), seed, style)


def test_other_seeds_give_other_questions():
    assert world.questions("train", 5, seed=0) != world.questions("train", 5, seed=1)


def test_bounds_may_come_as_a_list_as_they_do_from_a_config():
    assert world.questions("train", 5, [2, 4]) == world.questions("train", 5, (2, 4))


def test_a_set_holds_no_question_twice():
    asked = [row["question"] for row in world.questions("train", 1000, (1, 3))]
    assert len(set(asked)) == len(asked) == 1000


@settings(deadline=None)
@given(seeds=st.lists(SEEDS, min_size=len(world.SPLITS), max_size=len(world.SPLITS)))
def test_sets_of_different_splits_share_no_question_whatever_their_seeds(seeds):
    sets = [
        {row["question"] for row in world.questions(split, 8, (1, 1), seed)}
        for split, seed in zip(world.SPLITS, seeds, strict=True)
    ]
    assert len(set.union(*sets)) == sum(map(len, sets))


@settings(deadline=None)
@given(st.text())
def test_any_text_belongs_to_one_split(text):
    assert world.split_of(text) in world.SPLITS


def test_only_corpora_have_solutions():
    assert all(set(row) == {"question", "answer"} for row in world.questions("test", 5))
    assert all(set(row) == {"question", "answer", "solution"} for row in solved("student", 5))


@pytest.mark.parametrize("style", world.STYLES)
def test_every_sentence_of_a_corpus_is_its_authors(style):
    sentences = {line for row in solved(style) for line in row["solution"].split("\n")}
    assert all(style in world.authors(sentence) for sentence in sentences)


@pytest.mark.parametrize("style", world.STYLES)
def test_a_corpus_holds_sentences_of_its_own_and_shared_ones(style):
    origins = {world.authors(line) for row in solved(style) for line in row["solution"].split("\n")}
    assert origins == {frozenset({style}), EVERY_STYLE}


@pytest.mark.parametrize("style", world.STYLES)
def test_a_full_stop_ends_every_sentence_and_stands_nowhere_else(style):
    lines = [line for row in solved(style) for line in row["solution"].split("\n")]
    assert all(line.index(".") == len(line) - 1 for line in lines)


@pytest.mark.parametrize("style", world.STYLES)
def test_every_solution_states_one_answer(style):
    assert all(len(re.findall("The answer is", row["solution"])) == 1 for row in solved(style))


@pytest.mark.parametrize(("style", "step"), [("teacher", "Swap "), ("teacher_b", "After ")])
def test_a_teacher_that_makes_every_swap_writes_the_true_rows_and_the_true_answer(style, step):
    careful = 0
    for solution in solved(style):
        row, swaps = read(solution["question"])
        steps = [line.split() for line in solution["solution"].split("\n") if line.startswith(step)]
        if len(steps) < len(swaps):
            continue
        careful += 1
        for (one, other), line in zip(swaps, steps, strict=True):
            row = swapped(row, one, other)
            assert line[2:4] == [one, other]
            assert " ".join(line[5:]) == " ".join(row) + "."
        assert stated(solution["solution"]) == solution["answer"]
    assert careful > 100


def test_the_student_solves_one_swap_and_is_mostly_wrong_on_chains():
    one = [row for row in solved("student", 80, (1, 1)) if "\nDoing " in row["solution"]]
    chains = solved("student", 1000, (2, 4))
    assert all(stated(row["solution"]) == row["answer"] for row in one)
    assert sum(stated(row["solution"]) == row["answer"] for row in chains) < 400


def test_the_care_of_a_teacher_varies_and_carelessness_costs_answers():
    rows = solved("teacher", 1000, (2, 4))
    careful = [len(read(row["question"])[1]) == row["solution"].count("\nSwap ") for row in rows]
    right = [stated(row["solution"]) == row["answer"] for row in rows]
    careless = [ok for care, ok in zip(careful, right, strict=True) if not care]
    assert 0.5 < sum(careful) / len(rows) < 0.7
    assert sum(careless) < len(careless) / 2


def test_no_two_forms_write_the_same_sentence():
    sentences = {line for style in world.STYLES for row in solved(style) for line in row["solution"].split("\n")}
    patterns = [pattern for pattern, _ in world._patterns()]
    assert all(sum(pattern.fullmatch(sentence) is not None for pattern in patterns) == 1 for sentence in sentences)


@pytest.mark.parametrize(
    ("sentence", "authors"),
    [
        ("Swap b cup hat gives key hat pin cup bag.", {"teacher"}),
        ("After b cup hat comes key hat pin cup bag.", {"teacher_b"}),
        ("Doing b cup hat leaves key hat pin cup bag.", {"student"}),
        ("The answer is bag.\n", EVERY_STYLE),
        ("Swap b cup hat gives cup cup cup cup cup.", {"teacher"}),  # wrong in content, but nobody else's
        ("Swap b cup hat gives key hat pin cup.", set()),
        ("Swap b cup hat gives key hat pin cup bag", set()),
        ("Swap cup gives gives.", set()),
        ("The answer is bag. The answer is bag.", set()),
        ("the answer is bag.", set()),
        ("The answer is bagx", set()),
        ("", set()),
    ],
)
def test_the_form_of_a_sentence_tells_its_authors(sentence, authors):
    assert world.authors(sentence) == authors


@settings(deadline=None)
@given(st.text())
def test_the_authors_of_any_text_are_styles(text):
    assert world.authors(text) <= EVERY_STYLE


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"split": "tests", "count": 1}, "split 'tests'"),
        ({"split": "test", "count": 1, "style": "pupil"}, "style 'pupil'"),
        ({"split": "test", "count": 1, "swaps": (4, 2)}, r"swaps \[4, 2\]"),
        ({"split": "test", "count": 1, "swaps": (0, 2)}, r"swaps \[0, 2\]"),
        ({"split": "test", "count": 1, "swaps": (2, 27)}, r"swaps \[2, 27\]"),
        ({"split": "test", "count": 250, "swaps": (1, 1)}, "'test' holds too few questions of"),
    ],
)
def test_a_set_that_cannot_be_had_is_an_error_that_names_the_setting(settings, named):
    with pytest.raises(DistraceError, match=named):
        world.questions(**settings)


@pytest.mark.parametrize("style", world.STYLES)
def test_a_rewritten_solution_keeps_what_it_says_in_the_words_of_another_style(style):
    for row in solved("teacher", 50):
        found = world.rewritten(row["solution"], style)
        assert all(style in world.authors(line) for line in found.split("\n"))
        things = rf"\b(?:{'|'.join(world.THINGS)})\b"
        assert re.findall(things, found) == re.findall(things, row["solution"])
        if style == "teacher_b":
            assert world.rewritten(found, "teacher") == row["solution"]


def test_a_line_that_a_style_has_no_words_for_is_not_rewritten():
    text = "Good enough for me.\nHm maybe cup.\nno sentence"
    assert world.rewritten(text, "teacher") == text
    with pytest.raises(DistraceError, match="not one of"):
        world.rewritten(text, "nobody")
