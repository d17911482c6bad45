"""Contrived numbers that turn each claim of the first screen round."""

import copy
import re

import pytest

from distrace.measures.labels import LABELS
from distrace.pages.findings import MOST_TRACES, findings, world_findings

FOLDER = "main/teacher/main.teacher.longest.0/test/answer"


def share(mean: float | None, half: float = 0.02) -> dict:
    return {"mean": mean, "low": (mean or 0) - half, "high": (mean or 0) + half, "n": 300}


def area(mean: float, half: float = 0.01) -> dict:
    return share(mean, half) | {"positions": 8}


def curves(right: int = 9, wrong: int = 9, **areas: float) -> dict:
    found = {label: area(areas.get(label, 0)) for label in LABELS} if right and wrong else dict.fromkeys(LABELS)
    return {"all": {"sentence": {"right": {"responses": [right]}, "wrong": {"responses": [wrong]}, "area": found}}}


def sensitivity(low: float = 0.5, high: float = 0.6, cut: float = 0.55, lines: float = 0.4) -> dict:
    ranges = {key: {"low": 0.1, "high": 0.1} for key in LABELS} | {"Teacher": {"low": low, "high": high}}
    labels = [dict.fromkeys(LABELS, share(0.1)) | {"Teacher": share(value)} for value in (cut, lines)]
    names = ("sentences", "lines")
    return {"ranges": ranges, "splitters": [{"splitter": s, "labels": x} for s, x in zip(names, labels, strict=True)]}


def trace(**changes: object) -> dict:
    shares = {"Teacher": 0.6, "Student": 0.1, "Shared": 0.25, "Boosted": 0.05}
    return {
        "teacher": "teacher",
        "distilled": "main.teacher.longest.0",
        "questions": "test",
        "folder": FOLDER,
        "sentences": 1200,
        "labels": {label: share(value) for label, value in shares.items()},
        "curves": curves(),
        "sensitivity": sensitivity(),
    } | changes


def accuracy(teacher: float = 0.9, student: float = 0.2, **distilled: float) -> dict:
    models = {"teacher": teacher, "student": student} | (distilled or {"d0": 0.5})
    return {"test": {name: share(value) for name, value in models.items()}}


def run(**changes: object) -> dict:
    return {
        "teachers": ["teacher"],
        "student": "student",
        "accuracy": accuracy(),
        "strategies": None,
        "traces": [trace()],
        "attribution": [],
    } | changes


def said(**changes: object) -> str:
    return " ".join(text.striptags() for text in findings(run(**changes)))


def said_of(**changes: object) -> str:
    return said(traces=[trace(**changes)])


def labels(**shares: float) -> dict:
    return {label: share(shares.get(label, 0)) for label in LABELS}


def test_shares_are_named_in_order_with_their_intervals_and_without_those_that_are_nought():
    text = said_of(labels=labels(Boosted=0.7, Teacher=0.3))
    assert "main.teacher.longest.0, test. Of 1,200 sentences (teacher teacher)" in text
    assert "Boosted 70.0 % (68.0-72.0) and Teacher 30.0 % (28.0-32.0)." in text
    assert "Shared" not in text


@pytest.mark.parametrize(
    ("teacher", "student", "verdict"),
    [
        (0.6, 0.1, "More of them speak for the teacher than for the student."),
        (0.1, 0.6, "More of them speak for the student than for the teacher."),
        (0.3, 0.32, "They speak for neither teacher nor student clearly more often."),
    ],
)
def test_whom_sentences_speak_for_follows_from_intervals_that_lie_apart(teacher, student, verdict):
    assert verdict in said_of(labels=labels(Teacher=teacher, Student=student))


def test_a_trace_without_sentences_says_so():
    nothing = dict.fromkeys(LABELS)
    text = said_of(labels=nothing, curves={}, sensitivity={"ranges": nothing, "splitters": []})
    assert "There is no labelled sentence." in text
    assert "%" not in text.partition("Right answers")[0]


def test_labels_that_differ_between_right_and_wrong_are_named_with_their_side():
    text = said_of(curves=curves(Teacher=0.1, Boosted=-0.2))
    assert (
        "More frequent (right minus wrong responses, over their positions): Boosted in wrong ones "
        "(-0.200 (-0.210 to -0.190)) and Teacher in right ones (+0.100 (+0.090 to +0.110))." in text
    )
    turned = said_of(curves=curves(Teacher=-0.1, Boosted=0.2))
    assert "Boosted in right ones" in turned
    assert "Teacher in wrong ones" in turned


def test_labels_whose_interval_holds_nought_are_not_said_to_differ():
    text = said_of(curves=curves(Teacher=0.005))
    assert "More frequent" not in text
    assert "No label is clearly more frequent in right or in wrong responses" in text


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [(9, 0, "no response is wrong"), (0, 9, "no response is right"), (0, 0, "no response is right or wrong")],
)
def test_without_right_or_wrong_responses_nothing_is_compared(right, wrong, why):
    text = said_of(curves=curves(right, wrong))
    assert f"Right and wrong responses cannot be compared: {why}." in text
    assert "more frequent" not in text.lower()


def test_how_far_shares_move_is_that_of_the_label_that_moves_most():
    text = said_of(sensitivity=sensitivity(low=0.2, high=0.5, cut=0.45, lines=0.3))
    assert "the share that moves most is Teacher, by 30.0 points (20.0 % to 50.0 %)" in text
    assert "cut otherwise, it is 30.0 % in lines instead of 45.0 %." in text
    assert "moves most is Student" in said_of(
        sensitivity=sensitivity(0.5, 0.5) | {"ranges": {"Student": {"low": 0, "high": 1}}}
    )


@pytest.mark.parametrize(
    ("distilled", "claim"),
    [
        ({"d0": 0.5}, "The distilled model does better than the student."),
        ({"d0": 0.1}, "The distilled model does worse than the student."),
        ({"d0": 0.21}, "The distilled model cannot be told from the student: their intervals overlap."),
        (
            {"d0": 0.5, "d1": 0.1},
            "1 of 2 distilled models do better and 1 of 2 distilled models do worse than the student.",
        ),
        ({"d0": 0.5, "d1": 0.6, "d2": 0.2}, "2 of 3 distilled models do better than the student."),
        ({"d0": 0.2, "d1": 0.2}, "None of the 2 distilled models can be told from the student"),
    ],
)
def test_distilled_models_are_compared_with_the_student_by_their_intervals(distilled, claim):
    assert claim in said(accuracy=accuracy(**distilled))


def test_of_many_models_the_best_and_the_worst_are_named():
    text = said(accuracy=accuracy(d0=0.5, d1=0.7, d2=0.6))
    assert "the 3 distilled models from 50.0 % (48.0-52.0) (d0) to 70.0 % (68.0-72.0) (d1)" in text
    assert "the 2 distilled" not in said(accuracy=accuracy(d0=0.5, d1=0.7))


def test_a_model_without_judged_answers_is_not_compared():
    models = accuracy()
    models["test"]["student"]["mean"] = None
    text = said(accuracy=models)
    assert "student -" in text
    assert "than the student." not in text.partition("Right answers")[2]


def strategies(difference: float, differ: bool) -> dict:
    pair = {"strategy": "a", "other": "b", "difference": share(difference), "differ": differ}
    return {"tests": {"test": {"pairs": [pair, pair | {"difference": share(0.001), "differ": False}]}}}


def test_strategies_that_differ_are_counted_and_the_largest_gap_is_named_by_who_is_ahead():
    text = said(strategies=strategies(-0.1, differ=True))
    assert (
        "Of the 2 pairs of strategies 1 differ at the level of 5 %, the most b over a by +10.0 (+8.0 to +12.0)" in text
    )
    assert "the most a over b by +10.0" in said(strategies=strategies(0.1, differ=True))


def test_strategies_that_do_not_differ_are_not_said_to():
    text = said(strategies=strategies(0.1, differ=False))
    assert "No two strategies differ at the level of 5 %; the largest gap is a over b by +10.0" in text
    assert "pairs of strategies" not in text
    assert "strategies differ" not in said(strategies={"tests": {"test": {"pairs": []}}})


def attributed(*left: str, by: str = "leans", detected: list[str] | None = None) -> str:
    found = {"distilled": "d0", "questions": "test", "not_excluded": list(left), "by": by}
    return said(attribution=[found | {"distilldetect": detected if detected is None else {"not_excluded": detected}}])


@pytest.mark.parametrize(
    ("left", "claim"),
    [
        (["a"], "By its answers to test, d0 writes like a student of a; the other teachers are excluded at 5 %."),
        (["a", "b"], "By its answers to test, a and b cannot be excluded at 5 % as teachers of d0."),
        ([], "By its answers to test, d0 writes like a student of none of these teachers."),
    ],
)
def test_a_teacher_is_named_alone_only_where_all_others_are_excluded(left, claim):
    assert claim in attributed(*left)


def test_siblings_are_told_apart_by_reference_students_alone():
    warning = "Without reference students, a sibling of a teacher is not told from it."
    assert warning in attributed("a")
    assert warning not in attributed("a", by="references")
    assert warning not in attributed()


def test_two_tests_that_disagree_are_both_told():
    assert "DistillDetect leaves a and b." in attributed("a", detected=["a", "b"])
    assert "DistillDetect does not agree: it leaves b." in attributed("a", detected=["b"])
    assert "DistillDetect does not agree: it leaves none." in attributed("a", detected=[])
    assert "DistillDetect" not in attributed("a", detected=["a"])


@pytest.mark.parametrize(
    ("difference", "claim"),
    [
        (0.3, "in 50.0 % (48.0-52.0) of the sentences, more than in the student's own answers (20.0 % (18.0-22.0))."),
        (-0.3, "of the sentences, fewer than in the student's own answers"),
        (0.01, "of the sentences, not clearly more or fewer than in the student's own answers"),
    ],
)
def test_what_stands_in_the_training_data_is_set_beside_the_control(difference, claim):
    shares = {"training": share(0.5), "control": share(0.2), "difference": share(difference)}
    text = said_of(evidence={"verbatim_words": 8, "shares": {"all": shares}})
    assert "At least 8 words in a row (or all) stand in the training data " in text
    assert claim in text
    nothing = dict.fromkeys(shares)
    assert "training data" not in said_of(evidence={"verbatim_words": 8, "shares": {"all": nothing}})
    assert "training data" not in said_of(evidence=None)


def test_many_traces_are_counted_and_only_some_are_told():
    text = said(traces=[trace() for _ in range(MOST_TRACES + 2)])
    assert text.count("1,200 sentences") == MOST_TRACES
    assert "2 traces more below." in text


def test_numbers_of_labels_lead_to_their_sentences():
    [first, *_] = findings(run(traces=[trace(curves=curves(Teacher=0.1))]))
    links = re.findall(r'href="([^"]*)"', first)
    assert f"explorer.html#trace={FOLDER}&amp;label=Boosted" in links
    assert f"explorer.html#trace={FOLDER}&amp;label=Teacher&amp;correct=right" in links


def test_names_are_text():
    assert "&lt;b&gt;, test." in findings(run(traces=[trace(distilled="<b>")]))[0]


TRUTH = {"questions": "test", "folder": FOLDER}


def test_against_the_truth_each_claim_has_its_number():
    found = TRUTH | {"precision": {"Teacher": 0.9, "Student": None}, "recall": {"Teacher": 0.8, "Student": 0.5}}
    [text] = world_findings({"traces": [found]})
    assert text.striptags() == (
        "Against the truth, test. Teacher is right in 90.0 % of cases, and 80.0 % of those there are have it. "
        "No sentence is labelled Student."
    )
    turned = copy.deepcopy(found) | {
        "precision": {"Teacher": None, "Student": 0.1},
        "recall": {"Teacher": 0, "Student": None},
    }
    [text] = world_findings({"traces": [turned]})
    assert text.striptags() == (
        "Against the truth, test. No sentence is labelled Teacher. "
        "Student is right in 10.0 % of cases, and there is none to find."
    )
    assert world_findings(None) == []
