"""Fine-tuning and fresh models, on a model of a few thousand weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import SUMS, write_parts, write_questions, write_rollouts, write_sums
from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.errors import DistraceError
from distrace.identity import short_id
from distrace.models import folder_card, read_card, write_card
from distrace.nodes import finetune
from distrace.nodes.finetune import tokenised, write_finetuned
from distrace.nodes.fresh import Fresh, write_fresh
from distrace.settings import ModelSettings, Training

PLAIN = ModelSettings(format="plain")
TRAINING = Training(max_steps=6, batch_size=4, micro_batch_size=2, learning_rate=1e-2, max_length=64)


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_sums(tmp_path_factory.mktemp("questions") / "0.arrow")


@pytest.fixture(scope="module")
def base(tmp_path_factory, questions) -> Path:
    card = tmp_path_factory.mktemp("base") / "model.json"
    write_fresh("base", Fresh(vocabulary=300, hidden=16, layers=1, heads=2, context_length=128), questions, card)
    return card


def train(folder: Path, base: Path, questions: Path, training: Training = TRAINING) -> dict[str, torch.Tensor]:
    write_finetuned("tuned", base, PLAIN, training, questions, folder / "model.json")
    return AutoModelForCausalLM.from_pretrained(read_card(folder / "model.json").location).state_dict()


def test_only_the_response_and_its_end_carry_loss(base):
    wanted = pl.DataFrame({"source": ["a"], "question": ["Add 1 and 2."], "text": ["Three."], "answer_start": [0]})
    tokenizer = AutoTokenizer.from_pretrained(read_card(base).location)
    [example], rejects = tokenised(wanted, tokenizer, PLAIN, 64)
    learnt = [token for token, mask in zip(example["input_ids"], example["completion_mask"], strict=True) if mask]
    assert tokenizer.decode(learnt[:-1]) == "Three."
    assert learnt[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(example["input_ids"]).startswith("Add 1 and 2.\n")
    assert rejects == []


def test_examples_that_are_too_long_are_rejected_with_their_length(base):
    wanted = pl.DataFrame(
        {"source": ["a", "b"], "question": ["Add?", "Add?"], "text": ["No.", "No. " * 50], "answer_start": [0, 0]}
    )
    tokenizer = AutoTokenizer.from_pretrained(read_card(base).location)
    examples, [reject] = tokenised(wanted, tokenizer, PLAIN, 32)
    assert len(examples) == 1
    assert reject.source == "b"
    assert "more than max_length 32" in reject.reason


def test_training_lowers_the_loss_and_leaves_model_card_log_and_rejects(tmp_path, base, questions):
    train(tmp_path, base, questions, replace(TRAINING, max_steps=30))
    log = open_artifact(tmp_path / "training.arrow", kinds.TRAINING).read()
    assert log["loss"][-1] < log["loss"][0] / 2
    assert (tmp_path / "README.md").read_text().startswith("# tuned")
    assert open_artifact(tmp_path / "training.rejects.arrow", kinds.REJECTS).rows == 0
    assert not list(tmp_path.glob(".checkpoints-*"))


def test_the_same_training_gives_the_same_weights_and_fingerprint(tmp_path, base, questions):
    train(tmp_path / "a", base, questions)
    train(tmp_path / "b", base, questions)
    prints = {json.loads((tmp_path / name / "model.json").read_text())["fingerprint"] for name in "ab"}
    assert len(prints) == 1


def write_selection(folder: Path, parts: list[str], chosen: str) -> tuple[Path, Path]:
    """Write two-letter responses, one for each letter of each part, to the first questions; and a selection of some."""
    for number, names in enumerate(parts):
        texts = {name: (SUMS[ord(name) - ord("a")][0], name * 2) for name in names}
        asked = write_questions(folder / "asked" / f"{number}.arrow", {question: "0" for question, _ in texts.values()})
        write_rollouts(folder / "rollouts" / f"{number}.arrow", asked, texts)
    rows = [
        {"rollout_id": name, "question_id": short_id("x"), "rank": rank, "reason": ""}
        for rank, name in enumerate(chosen)
    ]
    write(folder / "selection.arrow", kinds.SELECTION, rows, {"chosen": chosen})
    return write_parts(folder / "rollouts"), folder / "selection.arrow"


def test_the_responses_of_a_selection_are_learnt_in_its_order_from_whichever_part(
    tmp_path, base, questions, monkeypatch
):
    learnt = []

    def none_of(wanted, *_):
        learnt.append(wanted)
        return [], []

    monkeypatch.setattr(finetune, "tokenised", none_of)
    rollouts, selection = write_selection(tmp_path, ["ab", "", "cd"], "dab")
    with pytest.raises(DistraceError, match="no example is left"):
        write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "out/model.json", rollouts, selection)
    rows = learnt[0].select("source", "question", "text", "answer_start").rows()
    assert rows == [(name, SUMS[number][0], name * 2, 0) for name, number in (("d", 3), ("a", 0), ("b", 1))]


def test_a_selection_of_responses_that_no_part_holds_is_refused(tmp_path, base, questions):
    rollouts, selection = write_selection(tmp_path, ["ab", "c"], "cz")
    with pytest.raises(DistraceError, match="chose 2 responses; the rollouts hold only 1 of them"):
        write_finetuned("tuned", base, PLAIN, TRAINING, questions, tmp_path / "out/model.json", rollouts, selection)


def test_lora_changes_the_model_and_is_merged(tmp_path, base, questions):
    tuned = train(tmp_path, base, questions, replace(TRAINING, method="lora", lora_rank=2))
    before = AutoModelForCausalLM.from_pretrained(read_card(base).location).state_dict()
    assert tuned.keys() == before.keys()
    assert any(not torch.equal(tuned[key], before[key]) for key in before)
    assert torch.equal(tuned["model.embed_tokens.weight"], before["model.embed_tokens.weight"])


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path, base, questions, monkeypatch):
    whole = train(tmp_path / "whole", base, questions)
    steps = []

    class Killed(finetune.Progress):
        def on_step_end(self, args, state, control, **_):
            steps.append(state.global_step)
            if len(steps) == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "Progress", Killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", base, questions)
    again = train(tmp_path / "killed", base, questions)
    assert steps == [1, 2, 3, 4, 3, 4, 5, 6]
    for key, value in whole.items():
        torch.testing.assert_close(again[key], value)


def test_no_usable_example_is_an_error_that_says_why(tmp_path, base, questions):
    with pytest.raises(DistraceError, match="more than max_length 2"):
        train(tmp_path, base, questions, replace(TRAINING, max_length=2))


def test_code_that_comes_with_a_tokenizer_runs_where_the_model_is_trusted(tmp_path, base, questions, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda _: "n")
    weights = Path(shutil.copytree(read_card(base).location, tmp_path / "weights"))
    (weights / "own.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n\n\nclass OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    described = json.loads((weights / "tokenizer_config.json").read_text())
    described |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (weights / "tokenizer_config.json").write_text(json.dumps(described))
    write_card(tmp_path / "model.json", folder_card("own", str(weights)))
    with pytest.raises(ValueError, match="custom code"):
        train(tmp_path / "distrusted", tmp_path / "model.json", questions)
    loaded = []
    tokenise = finetune.tokenised
    monkeypatch.setattr(finetune, "tokenised", lambda *args: loaded.append(type(args[1]).__name__) or tokenise(*args))
    trust = replace(PLAIN, trust_remote_code=True)
    write_finetuned("tuned", tmp_path / "model.json", trust, TRAINING, questions, tmp_path / "tuned" / "model.json")
    assert loaded == ["OwnTokenizer"]
