"""The oracle: exact probabilities of sentences, held against the corpora that the same grammar draws."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import world
from distrace.oracle import follows, layouts_of, sentence_probabilities
from distrace.world import Author, Dials

QUESTION = "A row holds hat pin key cup bag. Swap a pin hat, b cup key. What is in front?"
AUTHORS = [
    Author("teacher"),
    Author("teacher_b"),
    Author("student"),
    Author(world.REWRITTEN),
    Author("student", Dials(overlap=0.3)),
    Author("teacher", Dials(paraphrase=0.4, filler=0.5)),
    Author("student", Dials(0.4, 0.6, 0.5)),
]
PLAN, ROW = "Plan to go from a to b.", "At first the row is hat pin key cup bag."
FIRST, SECOND = "Swap a pin hat gives pin hat key cup bag.", "Swap b cup key gives pin hat cup key bag."
ANSWER, CHECK = "The answer is pin.", "Checked all from a to b."
CAREFUL = [PLAN, ROW, FIRST, SECOND, ANSWER, CHECK]


def corpus(author: Author, count: int, swaps: tuple[int, int] = (2, 2), seed: int = 0) -> list[dict[str, str]]:
    dials = world.turned(author.style, author.dials)
    return world.questions("train", count, swaps, seed, author.style, **dials)


def chances(author: Author, sentences: list[str]) -> list[float]:
    return [round(p, 6) for p in sentence_probabilities(author, QUESTION, sentences)]


@pytest.mark.parametrize("author", AUTHORS)
def test_layouts_have_probabilities_that_add_up_to_one(author):
    assert sum(layout.probability for layout in layouts_of(author, "abc")) == pytest.approx(1)


@pytest.mark.parametrize("author", AUTHORS)
def test_no_author_writes_what_is_impossible_for_it_and_all_that_it_writes_follows(author):
    for row in corpus(author, 300, (1, 4)):
        sentences = row["solution"].split("\n")
        assert min(sentence_probabilities(author, row["question"], sentences)) > 0
        assert all(follows(row["question"], sentences))


@pytest.mark.parametrize("author", AUTHORS)
def test_answers_begin_in_a_way_as_often_as_the_probabilities_of_its_sentences_say(author):
    """Frequencies of forms and swaps in a corpus, beside the product of the probabilities of the sentences so far."""
    drawn = 2000
    forms, expected = Counter(), {}
    for row in corpus(author, drawn):
        sentences = row["solution"].split("\n")
        letters = tuple((world.form_of(s), world.slots_of(s).get("swap", " ")[0]) for s in sentences)
        chance = 1.0
        for number, p in enumerate(sentence_probabilities(author, row["question"], sentences), start=1):
            chance *= p / words_cost(sentences[number - 1])
            begun = letters[:number]
            forms[begun] += 1
            # Things that are guessed are not among the forms: all of them together.
            expected[begun] = chance * (guesses(begun) if begun[-1][0] in ("answer", "guess") else 1)
    for letters, count in forms.items():
        p = expected[letters]
        assert abs(count / drawn - p) < 5 * (p * (1 - p) / drawn) ** 0.5 + 1e-3


def words_cost(sentence: str) -> float:
    return len(world.WORDS) ** -world.MUTTERED if "words" in world.slots_of(sentence) else 1.0


def guesses(letters: tuple) -> int:
    """Return how many things an answer can state: one that follows from a row or a guess before is no choice."""
    names = [name for name, _ in letters]
    is_guess = "guess" in names or not any("row" in world.EVERY_FORM[n].template for n in names if n != "row")
    return len(world.THINGS) if is_guess else 1


def test_a_careful_answer_of_the_teacher_costs_its_choices_alone():
    # Of ten answers, six make all swaps and two leave one of the two out.
    assert chances(Author("teacher"), CAREFUL) == [0.8, 1, 0.875, round(0.6 / 0.7, 6), 1, 1]


def test_content_is_free_whether_it_is_right_or_wrong():
    wrong = [PLAN, ROW, "Swap a pin key gives bag bag bag bag bag.", SECOND, "The answer is hat.", CHECK]
    assert chances(Author("teacher"), wrong) == chances(Author("teacher"), CAREFUL)
    assert follows(QUESTION, wrong) == [True, True, False, False, False, True]


def test_a_guess_costs_a_fifth():
    assert chances(Author("teacher"), ["Let us see now.", ROW, ANSWER]) == [0.2, 1, 0.2]


def test_a_student_that_never_writes_the_teachers_sentences_reads_them_by_their_place():
    # One swap, then the answer: so the student's own habit, whosever form made the swap.
    assert chances(Author("student"), CAREFUL) == [0, 1, 0, 0, 1, 0]


@settings(deadline=None)
@given(st.floats(0.01, 0.99))
def test_with_overlap_the_student_writes_the_teachers_sentences_as_often_as_layouts_and_forms_are_its_own(overlap):
    student = Author("student", Dials(overlap=overlap))
    opened, _, _, second, _, checked = sentence_probabilities(student, QUESTION, CAREFUL)
    assert opened == pytest.approx(overlap * (overlap * 0.8 + (1 - overlap) * 9 / 13))
    # Layouts that begin with a swap a: of the teacher's, 0.6 go on and 0.1 do not; of the student's own, 3/13 do not.
    assert second == pytest.approx(overlap * 0.6 * overlap / (overlap * 0.7 + (1 - overlap) * 3 / 13))
    assert checked == pytest.approx(overlap)


def test_at_full_overlap_the_student_is_the_teacher():
    dials = Dials(overlap=1.0, filler=0.3, paraphrase=0.2)
    for row in corpus(Author("teacher", dials), 50):
        sentences = row["solution"].split("\n")
        of_teacher = sentence_probabilities(Author("teacher", dials), row["question"], sentences)
        of_student = sentence_probabilities(Author("student", dials), row["question"], sentences)
        assert of_student == pytest.approx(of_teacher)


def test_fillers_are_likelier_after_fillers_since_each_answer_has_its_own_share():
    author, filler = Author("teacher", Dials(filler=0.8)), "So far so good."
    few = sentence_probabilities(author, QUESTION, [PLAN, ROW, FIRST, filler])
    many = sentence_probabilities(author, QUESTION, [PLAN, filler, ROW, filler, FIRST, filler])
    assert few[3] < 0.4 / 4 < many[5]
    assert sentence_probabilities(author, QUESTION, [filler, PLAN]) == [0, pytest.approx(0.8)]


def test_a_sentence_of_no_form_has_no_probability_and_leaves_the_others_as_they_are():
    found = chances(Author("teacher"), [PLAN, "Hocus pocus.", ROW, *CAREFUL[2:]])
    assert found == [0.8, 0, *chances(Author("teacher"), CAREFUL)[1:]]
    assert follows(QUESTION, ["Hocus pocus."]) == [False]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*CAREFUL, "Doing b cup key leaves cup pin.", "Hm maybe hat.", "Let us go on.", "?"])))
def test_any_order_of_sentences_has_probabilities_under_every_author(sentences):
    for author in AUTHORS:
        assert all(0 <= p <= 1 for p in sentence_probabilities(author, QUESTION, sentences))
