"""Check a finished project against the plainest loop: one sequence at a time, all logits, float32.

    python benchmarks/plain_loop.py --directory examples/smollm2-gsm8k [--responses 20] [--golden FILE]

For the first responses of each trace, and each of its three models, it computes every sentence's probability again and
prints the largest difference from the provenance artifact. With --golden, it also writes the student's probabilities to
a file, which a test compares with.
"""

import argparse
import json
import os
from pathlib import Path

import polars as pl
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from distrace import kinds
from distrace.models import read_card
from distrace.parts import open_parts
from distrace.plan import Plan, Trace, load_plan, model_path
from distrace.text.alignment import align_generated, decode_generated, encode_prompt, encode_response
from distrace.text.prompts import generated_pieces, load_format, prompt_text, response_pieces

TOLERANCE = 1e-4


def main() -> None:
    """Compare, print, and exit with status 1 if a probability differs by more than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--responses", type=int, default=20)
    parser.add_argument("--golden", type=Path)
    options = parser.parse_args()
    golden = options.golden and options.golden.resolve()
    os.chdir(options.directory)
    plan = load_plan(yaml.safe_load(Path("config.yaml").read_text()))
    worst = max(
        compare(plan, trace, options.responses, golden) for run in plan.config["runs"] for trace in plan.traces(run)
    )
    print(f"largest difference of a sentence probability: {worst:.2g}")
    raise SystemExit(worst > TOLERANCE)


def compare(plan: Plan, trace: Trace, count: int, golden: Path | None) -> float:
    """Return the largest difference of a sentence probability over the first `count` responses and the three models."""
    responses = _responses(plan, trace).head(count).to_dicts()
    labelled = open_parts(plan.trace_parts(trace), kinds.PROVENANCE).read()
    student = plan.config["runs"][trace.run]["student"]
    worst = 0.0
    for role, name in (("teacher", trace.teacher), ("student", student), ("distilled", trace.rollouts.author)):
        expected = sentence_probabilities(plan, name, trace.rollouts.author, responses, labelled)
        found = dict(zip(labelled.select("rollout_id", "sentence").iter_rows(), labelled[f"p_{role}"], strict=True))
        gap = max(abs(found[key] - value) for key, value in expected.items())
        print(f"{trace.rollouts.folder}, {role} {name}: {len(expected)} sentences, largest difference {gap:.2g}")
        worst = max(worst, gap)
        if golden and role == "student":
            _write_golden(golden, responses, expected)
    return worst


def _responses(plan: Plan, trace: Trace) -> pl.DataFrame:
    rollouts = open_parts(plan.rollouts_parts("rollouts", trace.rollouts), kinds.ROLLOUTS).read()
    asked = open_parts(plan.questions_parts(trace.rollouts.questions), kinds.QUESTIONS).read()
    return rollouts.join(asked, on="question_id", maintain_order="left").filter(pl.col("text") != "")


@torch.inference_mode()
def sentence_probabilities(plan: Plan, name: str, author: str, responses: list[dict], labelled: pl.DataFrame) -> dict:
    """Return p(s) of each labelled sentence by (rollout_id, sentence)."""
    card, settings = read_card(Path(model_path(name))), plan.model_settings(name)
    tokenizer = AutoTokenizer.from_pretrained(card.location, revision=card.revision)
    model = AutoModelForCausalLM.from_pretrained(card.location, revision=card.revision, dtype=torch.float32).eval()
    form = load_format(settings, tokenizer)
    found = {}
    for response in responses:
        prompt = encode_prompt(tokenizer, prompt_text(form, response["question"]))
        if name == author:  # a model is scored on the tokens that it sampled
            written = generated_pieces(form, decode_generated(tokenizer, response["token_ids"]))
            aligned = align_generated(tokenizer, response["token_ids"], written)
        else:
            aligned = encode_response(tokenizer, response_pieces(form, response["text"], response["answer_start"]))
        ids = torch.tensor([prompt + aligned.token_ids.tolist()])
        logprobs = model(ids).logits[0].log_softmax(1)
        spans: dict[int, list[float]] = {}
        sentences = labelled.filter(pl.col("rollout_id") == response["rollout_id"]).select("sentence", "start", "end")
        bounds = list(sentences.iter_rows())
        for place in aligned.scored.nonzero()[0]:
            start, end = aligned.starts[place], aligned.ends[place]
            shared = [min(end, last) - max(start, first) for _, first, last in bounds]
            sentence = bounds[shared.index(max(shared))][0]
            position = len(prompt) + int(place)
            spans.setdefault(sentence, []).append(logprobs[position - 1, ids[0, position]].item())
        for sentence, values in spans.items():
            found[response["rollout_id"], sentence] = float(torch.tensor(values).double().mean().exp())
    return found


def _write_golden(path: Path, responses: list[dict], expected: dict) -> None:
    rows = []
    for response in responses:
        mine = [value for (rollout_id, _), value in sorted(expected.items()) if rollout_id == response["rollout_id"]]
        rows.append({"question": response["question"], "text": response["text"], "probabilities": mine})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
