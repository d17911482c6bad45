"""The world: its questions, its corpora, and the origin of its sentences."""

import json
import re
from collections import Counter
from dataclasses import asdict
from hashlib import sha256
from itertools import permutations, product

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
    patterns = world._patterns().values()
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


@pytest.mark.parametrize("swaps", [(1, 1), (1, 2), (2, 2)])
def test_no_split_holds_more_questions_than_it_is_said_to_and_few_fewer(swaps):
    every = [
        (row, chain)
        for length in range(swaps[0], swaps[1] + 1)
        for row in permutations(world.THINGS)
        for chain in product(permutations(world.THINGS, 2), repeat=length)
    ]
    puzzles = [
        world.Puzzle(row, tuple((letter, *pair) for letter, pair in zip("ab", chain, strict=False)))
        for row, chain in every
    ]
    held = Counter(world.split_of(puzzle.question) for puzzle in puzzles if puzzle.answer != puzzle.row[0])
    assert max(held.values()) <= world.most_questions(swaps) < 1.6 * min(held.values())


def test_a_count_that_no_split_holds_is_refused_before_any_question_is_drawn(monkeypatch):
    monkeypatch.setattr(world, "_puzzle", None)
    with pytest.raises(DistraceError, match="holds too few questions of 1 swap for a count of 100000: at most 276"):
        world.questions("test", 100_000, (1, 1))


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


# Digests of 300 rows of seed 3 with 1 to 6 swaps, as they were before there were dials.
BEFORE_DIALS = {
    (None, "teacher_corpus"): "ec5547cf6621366f",
    (None, "teacher_b_corpus"): "fa62f999edba9957",
    (None, "student_corpus"): "e5c1a684e14c97bd",
    (None, "train"): "45de42098cee8aec",
    (None, "test"): "7c3f59dec6e7c851",
    ("teacher", "train"): "3690e1d2dc7d403b",
    ("teacher_b", "train"): "d9a9e5c974d08c25",
    ("student", "train"): "c11326916b66c29f",
}
DIALS = st.builds(world.Dials, *[st.sampled_from([0.0, 0.3, 0.9])] * 3)


@pytest.mark.parametrize(("style", "split"), BEFORE_DIALS)
@pytest.mark.parametrize("dials", [{}, {"overlap": 0.0, "filler": 0, "paraphrase": 0.0}])
def test_with_all_dials_at_zero_every_corpus_is_byte_for_byte_what_it_was(style, split, dials):
    rows = world.questions(split, 300, (1, 6), 3, style, **dials)
    assert sha256(json.dumps(rows).encode()).hexdigest()[:16] == BEFORE_DIALS[style, split]


def test_with_all_dials_at_zero_the_styles_of_a_form_are_those_of_the_table():
    assert world._writers(world.NO_DIALS) == {name: form.styles for name, form in world.FORMS.items()}


@settings(deadline=None)
@given(dials=DIALS, style=st.sampled_from([*world.STYLES, world.REWRITTEN]))
def test_whatever_the_dials_questions_stay_and_every_sentence_is_its_authors(dials, style):
    rows = world.questions("train", 10, (1, 4), 0, style, **asdict(dials))
    assert [row["question"] for row in rows] == [row["question"] for row in world.questions("train", 10, (1, 4), 0)]
    author = world.STUDENT if style == world.REWRITTEN else style
    assert all(author in world.authors(line, dials) for row in rows for line in row["solution"].split("\n"))


@pytest.mark.parametrize("style", [*world.STYLES, world.REWRITTEN])
@pytest.mark.parametrize(
    "dials", [world.Dials(0.4), world.Dials(0, 0.4), world.Dials(0, 0, 0.4), world.Dials(0.4, 0, 0.4)]
)
def test_a_dial_that_changes_nothing_of_a_style_is_not_turned_for_it(style, dials):
    def written(turned: dict) -> list:
        return world.questions("train", 200, (1, 4), 0, style, **turned)

    turned = world.turned(style, dials)
    assert written(turned) == written(asdict(dials))
    for name in turned:
        assert written({**turned, name: 0}) != written(turned)


def test_with_overlap_the_student_has_the_teachers_form_as_often_as_the_dial_says():
    rows = world.questions("train", 2000, (2, 4), 0, "student", overlap=0.3)
    forms = Counter(world.form_of(line) for row in rows for line in row["solution"].split("\n"))
    for teachers, students in (("step", "glance"), ("check", "done")):
        assert forms[teachers] / (forms[teachers] + forms[students]) == pytest.approx(0.3, abs=0.04)


def test_fillers_are_at_another_rate_in_each_answer_so_that_length_and_content_come_apart():
    rows = world.questions("train", 1000, (4, 4), 0, "teacher", filler=0.8)
    lines = [row["solution"].split("\n") for row in rows]
    careful = [
        sum(world.form_of(line) in world.FILLERS for line in mine) for mine in lines if "\nSwap d" in "\n".join(mine)
    ]
    assert {0, 1, 2, 3, 4, 5, 6} <= set(careful)
    assert all(
        world.form_of(mine[0]) not in world.FILLERS and world.form_of(mine[-1]) not in world.FILLERS for mine in lines
    )


def test_paraphrases_take_the_share_of_the_dial_and_some_are_the_students():
    rows = world.questions("train", 1000, (2, 4), 0, "teacher", paraphrase=0.6)
    forms = Counter(world.form_of(line) for row in rows for line in row["solution"].split("\n"))
    steps = ("step", *world.PARAPHRASES["step"])
    assert forms["step"] / sum(forms[name] for name in steps) == pytest.approx(0.4, abs=0.04)
    for name in world.PARAPHRASES["step"]:
        assert forms[name] / sum(forms[n] for n in steps) == pytest.approx(0.2, abs=0.03)
    assert world.authors("Doing b cup hat leaves key hat pin cup bag.", world.Dials(paraphrase=0.6)) == {
        "teacher",
        "student",
    }
    assert world.authors("Then b cup hat shows key hat pin cup bag.") == set()


def test_rewritten_answers_say_what_the_teacher_says_in_the_students_sentences():
    pairs = zip(solved("teacher", 100, (2, 4)), solved(world.REWRITTEN, 100, (2, 4)), strict=True)
    for teachers, rewritten in pairs:
        said = [world.slots_of(line) for line in teachers["solution"].split("\n")]
        again = [world.slots_of(line) for line in rewritten["solution"].split("\n")]
        assert [slots for slots in said if "row" in slots or "thing" in slots] == [slots for slots in again if slots]
        assert all("student" in world.authors(line) for line in rewritten["solution"].split("\n"))


@settings(deadline=None)
@given(seed=SEEDS)
def test_a_puzzle_is_read_back_from_its_question(seed):
    for asked in world.questions("test", 3, (1, 6), seed):
        puzzle = world.read_puzzle(asked["question"])
        assert (puzzle.question, puzzle.answer) == (asked["question"], asked["answer"])


def test_a_question_of_another_kind_is_no_puzzle():
    with pytest.raises(DistraceError, match=r"'What is 1\+1\?' is none of its questions"):
        world.read_puzzle("What is 1+1?")
