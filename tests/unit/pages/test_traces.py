import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import explored
import results
from builders import write_logprobs, write_parts
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.measures.labels import LABELS, Thresholds
from distrace.measures.validation import ORIGINS
from distrace.nodes.provenance import write_provenance
from distrace.nodes.truth import write_truth
from distrace.pages.explorer import chunks as chunking
from distrace.pages.explorer import write_page
from distrace.pages.explorer.traces import packed_tokens
from distrace.parts import open_parts
from distrace.plan import load_plan

PAGE = Path("results/report/explorer.html")
WRITTEN = {
    "d0": (
        "1+1?",
        True,
        [("Ünïcode 👩‍👩‍👧 e\u0301\n", results.TEACHER), ("二\n", results.SHARED), ("<<2>>\n", results.STUDENT)],
    ),
    "d1": ("2+2?", False, [("The student does not score this.\n", results.BOOSTED), ("5\n", results.TEACHER)]),
    "d2": ("3+3?", True, []),
    "d3": ("4+4?", None, [("Plan to go from a to c.\n", results.STUDENT)]),
}
BFLOAT16 = {"check_float32": True}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "TRACED", WRITTEN)


def written_study(config=results.CONFIG):
    """Write the results of a config, in which no sentence of d1 has a probability under the student; give the plan."""
    plan = results.write_results(config)
    [trace] = plan.traces("main")
    folder = trace.rollouts.folder
    [part] = [p for p in plan.parts["test"] if "d1" in ids_of(Path(f"results/rollouts/{folder}/{p}.arrow"))]
    scored = [Path(f"results/logprobs/{scorer}/full/{folder}/{part}.arrow") for scorer in plan.scorers(trace).values()]
    of = open_artifact(scored[1])
    write(scored[1], kinds.LOGPROBS, of.read().filter(pl.col("rollout_id") != "d1"), dict(of.identity) | {"less": 1})
    rollouts, sentences = (Path(f"results/{kind}/{folder}/{part}.arrow") for kind in ("rollouts", "sentences/lines"))
    out = Path(plan.trace_parts(trace))
    write_provenance(rollouts, sentences, *scored, Thresholds(0.05, 0.1), out.with_name(f"{part}.arrow"))
    for path in [out, *(path.with_name("parts.arrow") for path in scored)]:
        write_parts(path.parent)
    return plan


def ids_of(path):
    return open_artifact(path, kinds.ROLLOUTS).read("rollout_id")["rollout_id"].to_list()


def shown(plan):
    """Build the explorer; return its trace in the index and, of all chunks of a kind together, the arrays."""
    write_page(plan, PAGE)
    index, chunks = explored.read(PAGE)
    [about] = index["traces"]
    bounds = index["rollout_sets"][about["rollouts"]]["bounds"]

    def joined(kind):
        found = [explored.arrays(chunks, f"{kind}-0-{k}") for k in range(len(bounds) - 1)]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    return about, joined


def labelled_of(plan):
    [trace] = plan.traces("main")
    return open_parts(plan.trace_parts(trace), kinds.PROVENANCE).read()


@pytest.mark.parametrize("most", [1, 40, 10**6])
def test_sentences_are_those_of_the_trace_response_by_response(monkeypatch, most):
    monkeypatch.setattr(chunking.cut_bounds, "__defaults__", (most,))
    plan = written_study()
    about, joined = shown(plan)
    found, expected = joined("sentences"), labelled_of(plan)
    assert found["counts"].tolist() == [3, 0, 0, 1]
    assert len(expected) == 4
    for name, column in [
        ("number", "sentence"),
        *((n, n) for n in expected.columns if n.startswith(("p_", "tokens_"))),
    ]:
        assert found[name].tolist() == expected[column].to_list(), name
    assert [LABELS[code] for code in found["label"]] == expected["label"].to_list()
    assert {"origin", "label_float32"}.isdisjoint(found)
    assert (about["sentences"], about["rejected"]) == (4, 2)
    assert about["reasons"] == {"the student did not score the response": 2}


def test_places_are_counted_in_code_points():
    _, joined = shown(written_study())
    found = joined("sentences")
    text = "".join(sentence for sentence, _ in WRITTEN["d0"][2])
    cut = [text[start:end] for start, end in zip(found["start"][:3], found["end"][:3], strict=True)]
    assert cut == [sentence for sentence, _ in WRITTEN["d0"][2]]


def test_a_trace_of_which_every_sentence_is_rejected_is_shown_without_sentences(monkeypatch):
    monkeypatch.setattr(results, "TRACED", {"d1": WRITTEN["d1"]})
    monkeypatch.setattr(results, "ANSWERS", {"2+2?": "4"})
    config = copy.deepcopy(results.CONFIG)
    config["questions"]["test"]["parts"] = 1
    about, joined = shown(written_study(config))
    found = joined("sentences")
    assert found.pop("counts").tolist() == [0]
    assert {len(array) for array in found.values()} == {0}
    assert (about["sentences"], about["rejected"]) == (0, 2)


def test_tokens_lie_where_they_lie_and_are_as_probable_as_can_be_seen():
    plan = written_study()
    [trace] = plan.traces("main")
    _, joined = shown(plan)
    found = joined("tokens")
    for role, scorer in plan.scorers(trace).items():
        scored = {
            row["rollout_id"]: row for row in open_parts(plan.logprobs_parts(scorer, trace.rollouts)).read().to_dicts()
        }
        wanted = [scored.get(name, {"starts": [], "ends": [], "logprobs": []}) for name in WRITTEN]
        assert found[f"counts_{role}"].tolist() == [len(row["starts"]) for row in wanted]
        split = np.cumsum(found[f"counts_{role}"])[:-1]
        starts = [np.cumsum(steps).tolist() for steps in np.split(found[f"starts_{role}"], split)]
        assert starts == [row["starts"] for row in wanted]
        lengths = found[f"lengths_{role}"].tolist()
        assert lengths == [e - s for row in wanted for s, e in zip(row["starts"], row["ends"], strict=True)]
        seen = -25 * (found[f"logprobs_{role}"] / 255) ** 2
        exact = [value for row in wanted for value in row["logprobs"]]
        np.testing.assert_allclose(np.sqrt(-seen), np.sqrt(np.negative(exact)), atol=5 / 510 + 1e-9)


def test_probabilities_beyond_the_scale_are_at_its_ends(tmp_path):
    questions = results.write_questions(tmp_path / "q.arrow", {"1?": "1"})
    rollouts = results.write_rollouts(tmp_path / "r.arrow", questions, {"r": ("1?", "abc")})
    tokens = {"r": [(0, 1, -1000.0), (1, 1, 0.0), (1, 3, 1e-7), (2, 3, -25.0), (2, 3, -6.25)]}
    path = write_logprobs(tmp_path / "l.arrow", rollouts, tokens)
    packed = packed_tokens(open_artifact(path).read("rollout_id", "starts", "ends", "logprobs"))
    assert packed["logprobs"].to_list() == [[255, 0, 0, 255, 128]]
    assert packed["starts"].to_list() == [[0, 1, 0, 1, 0]]
    assert packed["lengths"].to_list() == [[1, 0, 2, 1, 1]]


def test_the_float32_check_gives_labels_of_its_part_and_the_shift():
    config = copy.deepcopy(results.CONFIG)
    config["runs"]["main"] |= BFLOAT16
    config["models"]["student"]["dtype"] = "bfloat16"
    plan = results.write_results(config)
    [trace] = plan.traces("main")
    _write_comparison(plan, trace)
    about, joined = shown(plan)
    checked = open_artifact(plan.float32_check_path(trace), kinds.FLOAT32_CHECK).read()
    codes = dict(zip(checked.select("rollout_id", "sentence").iter_rows(), checked["label_float32"], strict=True))
    wanted = [
        LABELS.index(codes[key]) if key in codes else 255
        for key in labelled_of(plan).select("rollout_id", "sentence").iter_rows()
    ]
    assert joined("sentences")["label_float32"].tolist() == wanted
    assert {255} < set(wanted)
    changes = [
        np.quantile(
            np.abs((checked[f"p_{a}"] - checked[f"p_{b}"]) - (checked[f"p_{a}_float32"] - checked[f"p_{b}_float32"])),
            0.99,
        )
        for a, b in (("teacher", "student"), ("teacher", "distilled"), ("student", "distilled"))
    ]
    assert about["shift"] == pytest.approx(max(changes))
    assert about["shift"] > 0.01


def _write_comparison(plan, trace):
    mine = [name for name in WRITTEN if name in ids_of(Path(f"results/rollouts/{trace.rollouts.folder}/0.arrow"))]
    values = {name: [0.4] * len(WRITTEN[name][2]) for name in mine}
    results.write_comparison(plan, dict.fromkeys(plan.scorers(trace).values(), values))


def test_without_a_check_there_is_no_shift():
    about, _ = shown(written_study())
    assert about["shift"] is None
    assert (about["has_truth"], about["has_evidence"], about["has_tokens"]) == (False, True, True)


def test_evidence_stands_in_the_order_of_the_labelled_sentences():
    plan = written_study()
    [trace] = plan.traces("main")
    write_page(plan, PAGE)
    index, chunks = explored.read(PAGE)
    [about] = index["traces"]
    parts = range(len(index["rollout_sets"][about["rollouts"]]["bounds"]) - 1)
    found = [explored.decoded(chunks[f"evidence-0-{k}"])[0] for k in parts]
    known = open_parts(plan.evidence_parts(trace), kinds.EVIDENCE).read()
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE).read("rollout_id", "sentence")
    expected = labelled.join(known, on=["rollout_id", "sentence"], how="left", maintain_order="left")
    for name in ("words", "responses", "source_rollout_id", "control_stretch_start"):
        assert [value for chunk in found for value in chunk[name]] == expected[name].to_list()


def test_in_the_world_each_sentence_has_its_true_origin():
    plan = written_study()
    [trace] = plan.traces("main")
    known = Path(plan.rollouts_parts("truth", trace.rollouts))
    for part in plan.parts["test"]:
        paths = (
            Path(f"results/{kind}/{trace.rollouts.folder}/{part}.arrow") for kind in ("rollouts", "sentences/lines")
        )
        write_truth(*paths, known.with_name(f"{part}.arrow"))
    write_parts(known.parent)
    about, joined = shown(load_plan(in_world(results.CONFIG)))
    assert about["has_truth"]
    assert [ORIGINS[code] for code in joined("sentences")["origin"]] == ["none", "none", "none", "teacher"]


def in_world(config):
    """Return a config of the same names, in which questions and models are of the world."""
    config = copy.deepcopy(config)
    for style in ("teacher", "student"):
        world = {"split": f"{style}_corpus", "count": 4, "style": style}
        config["questions"][style] = {"source": {"world": world}}
        tuned = {"base": f"{style}_fresh", "questions": style, "training": "short"}
        config["models"][style] = {"source": {"finetune": tuned}}
        config["models"][f"{style}_fresh"] = {"source": {"fresh": {"questions": style}}, "format": "plain"}
    config["questions"]["test"]["source"] = {"world": {"split": "test", "count": 4}}
    return config
