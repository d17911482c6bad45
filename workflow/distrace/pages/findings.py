"""What was found, in sentences: the first screen of the report, chosen and filled by its numbers alone.

A claim that two things differ stands only where their 95 % intervals lie apart, or that of the difference leaves out 0.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from distrace.pages.texts import counted, interval_text, linked, listed, percent, points_text, signed_text

Numbers = dict[str, Any]

MOST_TRACES = 3  # of a run that the first screen speaks of


def findings(run: Numbers) -> list[Markup]:
    """Return what was found in a run, a few sentences for each thing, which a bold word or two names."""
    found = []
    for trace in run["traces"][:MOST_TRACES]:
        found.append(_about(_text("{}, {}", trace["distilled"], trace["questions"]), _trace(trace)))
    if (left := len(run["traces"]) - MOST_TRACES) > 0:
        found.append(_text("{} more below.", counted(left, "trace")))
    found += [_about("Which teacher", _attributed(attribution)) for attribution in run["attribution"]]
    for questions, models in run["accuracy"].items():
        pairs = _strategies(run["strategies"], questions)
        found.append(_about(f"Right answers, {questions}", [*_answers(run, models), *pairs]))
    return found


def _about(what: str, sentences: Iterable[Markup]) -> Markup:
    return _text("<strong>{}.</strong> {}", what, Markup(" ").join(sentences))


def _trace(trace: Numbers) -> Iterator[Markup]:
    yield from _labels(trace)
    yield from _right_and_wrong(trace)
    yield from _in_contexts(trace.get("contexts") or {})
    yield from _moves(trace)
    yield from _verbatim(trace.get("evidence"))


def world_findings(world: Numbers | None) -> list[Markup]:
    """Return what is found where the true origin of each sentence is known."""
    return [_against_truth(trace) for trace in (world or {"traces": []})["traces"][:MOST_TRACES]]


def _text(pattern: str, *values: object) -> Markup:
    return Markup(pattern).format(*values)


def _apart(one: Numbers, other: Numbers) -> int:
    """Return 1 if the interval of one share lies above that of the other, -1 if below, 0 if they overlap."""
    if None in (one["mean"], other["mean"]):
        return 0
    return int(one["low"] > other["high"]) - int(one["high"] < other["low"])


def _answers(run: Numbers, models: Numbers) -> Iterator[Markup]:
    """Yield how many questions are answered right, and how the distilled models do beside the student."""
    distilled = distilled_answers(run, models)
    named = [_text("{} {}", name, interval_text(models[name])) for name in models if name in given_models(run)]
    yield _text("{}.", listed([*named, *_best_and_worst(distilled)]))
    student = models.get(run["student"])
    if distilled and student is not None and student["mean"] is not None:
        yield _compared([_apart(value, student) for value in distilled.values()])


def given_models(run: Numbers) -> list[str]:
    """Return the models of a run that it does not train: its teachers and its student."""
    return [*run["teachers"], run["student"]]


def distilled_answers(run: Numbers, models: Numbers) -> Numbers:
    """Return those of the models' accuracies that are of distilled models and known."""
    given = given_models(run)
    return {name: value for name, value in models.items() if name not in given and value["mean"] is not None}


def _best_and_worst(distilled: Numbers) -> list[Markup]:
    ranked = sorted(distilled, key=lambda name: -distilled[name]["mean"])
    if len(ranked) <= 2:
        return [_text("{} {}", name, interval_text(distilled[name])) for name in ranked]
    best, worst = (_text("{} ({})", interval_text(distilled[name]), name) for name in (ranked[0], ranked[-1]))
    return [_text("the {} distilled models from {} to {}", len(ranked), worst, best)]


def _compared(sides: list[int]) -> Markup:
    """Return how many distilled models do better and worse than the student, by the sides on which they lie."""
    said = []
    for side, does in ((1, "better"), (-1, "worse")):
        if number := sides.count(side):
            which = "the distilled model does" if len(sides) == 1 else f"{number} of {len(sides)} distilled models do"
            said.append(_text("{} {}", which, does))
    if said:
        sentence = listed(said)
        return _text("{}{} than the student.", sentence[0].upper(), sentence[1:])
    which = "The distilled model cannot" if len(sides) == 1 else f"None of the {len(sides)} distilled models can"
    return _text("{} be told from the student: their intervals overlap.", which)


def _strategies(strategies: Numbers | None, questions: str) -> Iterator[Markup]:
    pairs = strategies["tests"][questions]["pairs"] if strategies else []
    if not pairs:
        return
    differ = [pair for pair in pairs if pair["differ"]]
    gap = _gap(max(differ or pairs, key=lambda pair: abs(pair["difference"]["mean"])))
    if differ:
        of = counted(len(pairs), "pair")
        yield _text("Of the {} of strategies {} differ at the level of 5 %, the most {}.", of, len(differ), gap)
    else:
        yield _text("No two strategies differ at the level of 5 %; the largest gap is {}.", gap)


def _gap(pair: Numbers) -> Markup:
    one, other, difference = pair["strategy"], pair["other"], pair["difference"]
    if difference["mean"] < 0:
        one, other = other, one
        difference = {"mean": -difference["mean"], "low": -difference["high"], "high": -difference["low"]}
    return _text("{} over {} by {} points", one, other, points_text(difference))


def _labels(trace: Numbers) -> Iterator[Markup]:
    shares = {label: share for label, share in trace["labels"].items() if share}
    if not shares:
        yield _text("There is no labelled sentence.")
        return
    ranked = sorted(shares, key=lambda label: -shares[label]["mean"])
    parts = [
        _text("{} {}", label, linked(interval_text(shares[label]), trace=trace["folder"], label=label))
        for label in ranked
        if shares[label]["mean"]
    ]
    side = _apart(shares["Teacher"], shares["Student"])
    if side:
        more, less = ("teacher", "student") if side > 0 else ("student", "teacher")
        verdict = _text("More of them speak for the {} than for the {}.", more, less)
    else:
        verdict = _text("They speak for neither teacher nor student clearly more often.")
    of = counted(trace["sentences"], "sentence")
    yield _text("Of {} (teacher {}) {}. {}", of, trace["teacher"], listed(parts), verdict)


def _right_and_wrong(trace: Numbers) -> Iterator[Markup]:
    curves = trace["curves"].get("all", {}).get("sentence")
    if not curves:
        return
    missing = [group for group in ("right", "wrong") if not any(curves[group]["responses"])]
    areas = {label: area for label, area in curves["area"].items() if area}
    if missing or not areas:
        why = f"no response is {' or '.join(missing)}" if missing else "they share no position"
        yield _text("Right and wrong responses cannot be compared: {}.", why)
        return
    said = []
    for label, area in sorted(areas.items(), key=lambda item: -abs(item[1]["mean"])):
        if area["low"] > 0 or area["high"] < 0:
            group = "right" if area["low"] > 0 else "wrong"
            name = linked(label, trace=trace["folder"], label=label, correct=group)
            said.append(_text("{} in {} ones ({})", name, group, signed_text(area)))
    if said:
        yield _text("More frequent (right minus wrong responses, over their positions): {}.", listed(said))
    else:
        widest = max(areas.values(), key=lambda area: area["high"] - area["low"])
        yield _text(
            "No label is clearly more frequent in right or in wrong responses: every interval of the area between the "
            "curves holds 0 (the widest {}).",
            signed_text(widest),
        )


def _in_contexts(contexts: Numbers) -> Iterator[Markup]:
    """Yield how far Teacher falls along responses, and what of it is gone where the models see less of them.

    Of sentences that show a habit, where the run names any: first and later ones are then of one kind.
    """
    if not contexts:
        return
    for habit in contexts["full"]["habits"]:
        yield from _fall(f"sentences with the habit {habit}", {c: v["habits"][habit] for c, v in contexts.items()})
    if not contexts["full"]["habits"]:
        yield from _fall("sentences", contexts)


def _fall(what: str, contexts: Numbers) -> Iterator[Markup]:
    fall = contexts["full"]["along"]["fall"]
    if not fall:
        return
    if fall["low"] <= 0:
        yield _text("Teacher does not clearly fall from first to later {} ({} points).", what, points_text(fall))
        return
    along = {context: found["along"] for context, found in contexts.items() if context != "full"}
    said = [
        _text("{} in {} ({} of it)", points_text(found["gone"]), context, percent(found["gone_share"]["mean"]))
        for context, found in along.items()
        if found["gone"] and found["gone"]["low"] > 0
    ]
    gone = _text("gone where the models see less: {}", listed(said)) if said else "no less where the models see less"
    yield _text("From first to later {} Teacher falls by {} points; {}.", what, points_text(fall), gone)


def _moves(trace: Numbers) -> Iterator[Markup]:
    """Yield how far shares move with the thresholds and with the way to cut, by the label that moves most."""
    found = trace["sensitivity"]
    ranges = {label: values for label, values in found["ranges"].items() if values}
    if not ranges:
        return
    label = max(ranges, key=lambda name: ranges[name]["high"] - ranges[name]["low"])
    low, high = ranges[label]["low"], ranges[label]["high"]
    own, *others = found["splitters"]
    cut = [
        _text("{} in {}", percent(other["labels"][label]["mean"]), other["splitter"])
        for other in others
        if other["labels"][label]
    ]
    points = 100 * (high - low)
    yield _text(
        "From half to double of alpha and beta, the share that moves most is {}, by {} points ({} to {}); "
        "cut otherwise, it is {} instead of {}.",
        *(label, f"{points:.1f}", percent(low), percent(high), listed(cut), percent(own["labels"][label]["mean"])),
    )


def _verbatim(evidence: Numbers | None) -> Iterator[Markup]:
    """Yield how many sentences stand in the training data word for word, beside the control (docs/evidence.md)."""
    if not evidence or not all(evidence["shares"]["all"].get(name) for name in ("training", "control", "difference")):
        return
    found: Numbers = evidence["shares"]["all"]
    difference = found["difference"]
    side = int(difference["low"] > 0) - int(difference["high"] < 0)
    yield _text(
        "At least {} words in a row (or all) stand in the training data in {} of the sentences, {} in the student's "
        "own answers ({}).",
        *(evidence["verbatim_words"], interval_text(found["training"])),
        {1: "more than", 0: "not clearly more or fewer than", -1: "fewer than"}[side],
        interval_text(found["control"]),
    )


def _attributed(found: Numbers) -> Iterator[Markup]:
    distilled, questions, left = (found[key] for key in ("distilled", "questions", "not_excluded"))
    if not left:
        yield _text("By its answers to {}, {} writes like a student of none of these teachers.", questions, distilled)
    elif len(left) > 1:
        pattern = "By its answers to {}, {} cannot be excluded at 5 % as teachers of {}."
        yield _text(pattern, questions, listed(left), distilled)
    else:
        pattern = "By its answers to {}, {} writes like a student of {}; the other teachers are excluded at 5 %."
        yield _text(pattern, questions, distilled, left[0])
    if left and found["by"] == "leans":
        yield _text("Without reference students, a sibling of a teacher is not told from it.")
    detected = found["distilldetect"]
    if detected and detected["not_excluded"] != left:
        both = [teacher for teacher in left if teacher in detected["not_excluded"]]
        pattern = "DistillDetect leaves {}." if both else "DistillDetect does not agree: it leaves {}."
        yield _text(pattern, listed(detected["not_excluded"]))


def _against_truth(trace: Numbers) -> Markup:
    said = []
    for label in ("Teacher", "Student"):
        precision, recall = trace["precision"][label], trace["recall"][label]
        if precision is None:
            said.append(_text("No sentence is labelled {}", label))
            continue
        found = "there is none to find" if recall is None else f"{percent(recall)} of those there are have it"
        name = linked(label, trace=trace["folder"], label=label)
        said.append(_text("{} is right in {} of cases, and {}", name, percent(precision), found))
    return _about(_text("Against the truth, {}", trace["questions"]), [_text("{}.", sentence) for sentence in said])
