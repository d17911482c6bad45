"""Compute every score of real candidates once more, apart from distrace, and print how far the two are from each other.

    python benchmarks/scores.py --model FOLDER --candidates math_cot_100.jsonl --solutions gsm8k_train.jsonl \\
        --folder OUT [--questions 100] [--part-size 5] [--checked 3] [--cores 1]

It runs the workflow in OUT up to the ranking; `scores.yaml` beside this file is the config. Then it computes each score
of each candidate from the log-probs there, with a few lines of numpy, and some scores of the candidates of the first
questions from the model itself, one sequence at a time. It exits with status 1 if a score from the log-probs differs
by more than 1e-6, or one from the model by more than 1e-4. Killed, it goes on where it was.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
SET = "teacher/math/given"
BETA, SEED = 0.1, 0


def main() -> None:
    """Run, compare, print, and exit with status 1 if a difference is too large."""
    options = _options()
    prepare(options)
    target = f"results/ranking/every/{SET}.arrow"
    command = ["-m", "snakemake", "--directory", str(options.folder), "--cores", str(options.cores), target]
    subprocess.run([sys.executable, *command], cwd=HERE.parent, check=True)
    ranking = pl.read_ipc(options.folder / target)
    candidates = [read(options.folder, part) for part in range(-(-options.questions // options.part_size))]
    known = {one["rollout_id"]: one for part in candidates for one in part}
    pool = [known[name] for name in ranking["rollout_id"]]
    from_logprobs = largest_gaps(from_artifacts(pool), ranking)
    first = ranking["question_id"].unique(maintain_order=True)[: options.checked]
    checked = ranking.filter(pl.col("question_id").is_in(first.implode()))
    from_model = largest_gaps(by_model(options, [known[name] for name in checked["rollout_id"]]), checked)
    counts = {"candidates": len(pool), "checked_with_the_model": len(checked)}
    print(json.dumps(counts | {"from_logprobs": from_logprobs, "from_model": from_model}, indent=1))
    sys.exit(max(from_logprobs.values()) > 1e-6 or max(from_model.values()) > 1e-4)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="the student: a folder that transformers saved")
    parser.add_argument("--candidates", type=Path, required=True, help="JSON lines: `question`, `answer`, list `code`")
    parser.add_argument("--solutions", type=Path, required=True, help="GSM8K's training questions")
    parser.add_argument("--folder", type=Path, required=True, help="where the workflow runs")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--part-size", type=int, default=5, help="questions of a part")
    parser.add_argument("--checked", type=int, default=3, help="of how many questions to check candidates by the model")
    parser.add_argument("--cores", type=int, default=1)
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> None:
    """Make the folder of the workflow, unless it is there."""
    options.folder.mkdir(parents=True, exist_ok=True)
    links = {"model": options.model, "candidates.jsonl": options.candidates, "solutions.jsonl": options.solutions}
    for name, target in links.items():
        if not (options.folder / name).is_symlink():
            (options.folder / name).symlink_to(target.resolve())
    config = yaml.safe_load((HERE / "scores.yaml").read_text("utf-8"))
    config["questions"]["math"] |= {"limit": options.questions, "part_size": options.part_size}
    (options.folder / "config.yaml").write_text(yaml.safe_dump(config))


def read(folder: Path, part: int) -> list[dict]:
    """Return the candidates of a part, with their sentences and the tokens that each model has for them."""
    found = {row["rollout_id"]: row for row in table(folder, f"rollouts/{SET}/{part}").to_dicts()}
    for row in table(folder, f"questions/math/{part}").to_dicts():
        for one in found.values():
            if one["question_id"] == row["question_id"]:
                one["question"] = row["question"]
    for name, starts in table(folder, f"sentences/sentences/{SET}/{part}").group_by("rollout_id").agg("start").rows():
        found[name]["bounds"] = np.array([*sorted(starts), len(found[name]["text"])])
    for key, where in {
        "teacher": "teacher/full",
        "student": "student/full",
        "alone": "student/alone",
        "window-1": "student/window-1",
        "window-4": "student/window-4",
    }.items():
        for row in table(folder, f"logprobs/{where}/{SET}/{part}").to_dicts():
            ends = np.cumsum(np.array(row["gaps"], int) + row["lengths"])
            row |= {"starts": ends - row["lengths"], "ends": ends, "logps": np.array(row["logprobs"], float)}
            row["owner"] = owner(row["starts"], ends, found[row["rollout_id"]]["bounds"])
            found[row["rollout_id"]][key] = row
    return list(found.values())


def table(folder: Path, path: str) -> pl.DataFrame:
    return pl.read_ipc(folder / "results" / f"{path}.arrow")


def owner(starts: np.ndarray, ends: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return for each token the sentence that holds most of its characters, the earlier of two that hold as many."""
    held = np.minimum(ends[:, None], bounds[None, 1:]) - np.maximum(starts[:, None], bounds[None, :-1])
    return held.argmax(1)


def sentence_means(tokens: dict) -> dict[int, float]:
    return {s: tokens["logps"][tokens["owner"] == s].mean() for s in np.unique(tokens["owner"])}


def from_artifacts(pool: list[dict]) -> dict[str, list[float | None]]:
    """Return every score of every candidate, from its log-probs."""
    found: dict[str, list] = {}
    terms, lark = [], []
    for one in pool:
        student, logps = one["student"], one["student"]["logps"]
        teacher_means, student_means = sentence_means(one["teacher"]), sentence_means(student)
        both = teacher_means.keys() & student_means.keys()
        margins = np.array([np.exp(teacher_means[s]) - np.exp(student_means[s]) for s in sorted(both)])
        place = np.array([(student["owner"][:i] == s).sum() for i, s in enumerate(student["owner"])])
        ratio = logps.mean() / one["alone"]["logps"].mean()
        drawn = json.dumps(["random", SEED, one["rollout_id"]], separators=(",", ":")).encode()
        own = np.where(np.array(student["ranks"]) <= 50, np.exp(logps) / student["top_masses"], 0)
        for name, value in {
            "teacher_count": (margins > BETA).sum(),
            "fewest_teacher": (margins > BETA).sum(),
            "teacher_ratio": (margins > BETA).mean(),
            "teacher_margin": margins.mean(),
            "random": int(hashlib.sha256(drawn).hexdigest()[:16], 16) / 2**64,
            "longest": len(logps),
            "shortest": len(logps),
            "grape": logps.mean(),
            "perplexity": np.exp(-logps.mean()),
            "rsr": sum(student["ranks"]) / max(-logps.sum(), 1e-12),
            "drop": logps[place >= 2].mean() if (place >= 2).any() else None,
            "lalp_1": np.mean(list(sentence_means(one["window-1"]).values())),
            "lalp_4": np.mean(list(sentence_means(one["window-4"]).values())),
            "ifd": ratio if ratio <= 1 else None,
        }.items():
            found.setdefault(name, []).append(value)
        terms.append([(place < 2).mean(), logps[place < 2].mean(), logps[place >= 2].mean(), 1, logps.mean()])
        lark.append((one["question_id"], -logps.mean(), (1 - 2 * own + student["top_squares"]).mean()))
    terms = np.array(terms)
    effect = np.linalg.lstsq(terms[:, :4], terms[:, 4], rcond=None)[0][0]
    return found | {"casl": list(terms[:, 4] - effect * terms[:, 0]), "lark": lark_of(lark)}


def lark_of(candidates: list[tuple[str, float, float]]) -> list[float]:
    """Return LARK's score of each candidate, from its question, its loss and its Brier score."""
    found = []
    for question, loss, brier in candidates:
        mates = [(other, b) for asked, other, b in candidates if asked == question]
        total = sum(other for other, _ in mates)
        found.append(loss / total * (2 * brier / loss - sum(b for _, b in mates) / total))
    return found


def largest_gaps(scores: dict[str, list], ranking: pl.DataFrame) -> dict[str, float]:
    """Return the largest difference of each score from the ranking's; infinite where only one of the two is null."""
    found = {}
    for name, values in scores.items():
        pairs = zip(values, ranking[name], strict=True)
        gaps = [np.inf if (a is None) != (b is None) else abs((a or 0) - (b or 0)) for a, b in pairs]
        found[name] = float(max(gaps))
    return found


@torch.inference_mode()
def by_model(options: argparse.Namespace, candidates: list[dict]) -> dict[str, list[float | None]]:
    """Return the scores that need a student alone, from the student's logits in float32, one sequence at a time."""
    torch.set_num_threads(options.cores)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()

    def logits(before: list[int], ids: list[int]) -> torch.Tensor:
        return model(torch.tensor([before + ids]), use_cache=False).logits[0, len(before) - 1 : -1].double()

    def log_mean(before: list[int], ids: list[int]) -> float:
        return logits(before, ids).log_softmax(1)[range(len(ids)), ids].mean().item()

    found: dict[str, list] = {name: [] for name in ("grape", "rsr", "ifd", "lalp_1", "lalp_4")}
    lark = []
    for one in candidates:
        message = [{"role": "user", "content": one["question"]}]
        text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        prompt, ids = (tokenizer(t, add_special_tokens=False).input_ids for t in (text, one["text"]))
        assert ids == one["student"]["token_ids"]
        read = logits(prompt, ids)
        own = read[range(len(ids)), ids]
        logps = read.log_softmax(1)[range(len(ids)), ids]
        ranks = (1 + (read > own[:, None]).sum(1)).clamp(max=100)
        top = read.softmax(1).topk(50)
        q = top.values / top.values.sum(1, keepdim=True)
        chosen = (q * (top.indices == torch.tensor(ids)[:, None])).sum(1)
        lark.append((one["question_id"], -logps.mean().item(), (1 - 2 * chosen + (q**2).sum(1)).mean().item()))
        ratio = logps.mean().item() / log_mean([tokenizer.bos_token_id], ids)
        found["grape"].append(logps.mean().item())
        found["rsr"].append((ranks.sum() / -logps.sum()).item())
        found["ifd"].append(ratio if ratio <= 1 else None)
        of = one["student"]["owner"]
        for window in (1, 4):
            means = []
            for s in np.unique(of):
                seen, mine = (np.flatnonzero(where) for where in ((of >= s - window) & (of < s), of == s))
                means.append(log_mean(prompt + [ids[i] for i in seen], [ids[i] for i in mine]))
            found[f"lalp_{window}"].append(np.mean(means))
        print(f"{len(lark)} of {len(candidates)} by the model", file=sys.stderr, flush=True)
    return found | {"lark": lark_of(lark)}


if __name__ == "__main__":
    main()
