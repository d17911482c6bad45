"""An exported selection, as `datasets` and TRL take it, and what a kill or another selection leaves of it."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from datasets import Dataset, load_dataset
from trl import SFTConfig, SFTTrainer

from builders import rejects_of, write_parts, write_questions, write_rollouts
from distrace import kinds
from distrace.artifacts import open_artifact, write, write_rejects
from distrace.errors import DistraceError
from distrace.export.files import LLAMA_FACTORY, PARQUET, TRL
from distrace.identity import short_id
from distrace.nodes import exported_selection
from distrace.nodes.exported_selection import write_exported_selection
from distrace.rejects import Reject
from distrace.settings import ModelSettings
from distrace.text.prompts import load_format
from distrace.training.examples import tokenised
from tiny import tiny_model, tiny_tokenizer, write_author

PLAIN = ModelSettings(format="plain")
ABOUT = {
    "run": "main",
    "strategy": "grape",
    "teacher": "big",
    "student": "small",
    "seed": 3,
    "questions": {"name": "q"},
}
TEXTS = {
    "a": ("Add 1 and 2.", "Three."),
    "b": ("Add 1 and 2.", "It is 3."),
    "c": ("Add 3 and 4.", "Seven.\nSo 7."),
    "d": ("Add 3 and 4.", "No </think> idea."),
}
ANSWERS = {"Add 1 and 2.": "3", "Add 3 and 4.": "7"}


class Export:
    """The artifacts that an export is made from, in two parts; `chosen` are candidates, in order."""

    def __init__(self, folder: Path, chosen: str = "ac"):
        self.folder, self.out = folder, folder / "results" / "grape" / "README.md"
        self.questions = write_questions(folder / "q.arrow", ANSWERS)
        for part, names in enumerate(("ab", "cd")):
            texts = {name: TEXTS[name] for name in names}
            write_rollouts(folder / f"rollouts/{part}.arrow", self.questions, texts)
        write_rejects(folder / "rollouts/0.arrow", [Reject("q", 0, "too long")], {})
        ranked = [
            {"rollout_id": name, "question_id": short_id(TEXTS[name][0]), "sample": number, "grape": -0.5 * number}
            for number, name in enumerate(TEXTS)
        ]
        self.ranking = folder / "ranking.arrow"
        write(self.ranking, kinds.RANKING, pl.DataFrame(ranked, schema_overrides={"sample": pl.Int32}), {"of": 1})
        write_rejects(self.ranking, [Reject("e", 4, "cut off")], {})
        self.rollouts, self.selection = write_parts(folder / "rollouts"), folder / "selection.arrow"
        self.student = write_author(folder / "student")
        self.choose(chosen)

    def choose(self, chosen: str) -> None:
        """Write a selection of these candidates, as if one of the others were not eligible."""
        others = [name for name in TEXTS if name not in chosen]
        rows = [(name, 1, f"{name} is best", True) for name in chosen]
        rows += [(name, None, "wrong", number > 0) for number, name in enumerate(others)]
        frame = pl.DataFrame(rows, schema=["rollout_id", "rank", "reason", "eligible"], orient="row")
        asked = {name: short_id(question) for name, (question, _) in TEXTS.items()}
        frame = frame.with_columns(question_id=pl.col("rollout_id").replace_strict(asked), teacher=pl.lit("big"))
        write(self.selection, kinds.SELECTION, frame, {"chosen": chosen})

    def write(self, settings: ModelSettings = PLAIN, about: dict = ABOUT) -> Path:
        """Write the export; return its folder."""
        inputs = {"rollouts": [self.rollouts], "rankings": [self.ranking], "selection": self.selection}
        models = {"teachers": [self.student], "student": self.student, "settings": settings}
        write_exported_selection(about, self.questions, **inputs, **models, out=self.out, threads=2)
        return self.out.parent


@pytest.fixture
def export(tmp_path) -> Export:
    return Export(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def load(export: Export) -> Dataset:
    return load_dataset(str(export.out.parent), split="train", cache_dir=str(export.folder / "cache"))


def load_for_trl(export: Export) -> Dataset:
    file, cache = str(export.out.parent / TRL), str(export.folder / "cache")
    return load_dataset("json", data_files=file, split="train", cache_dir=cache)


def test_datasets_loads_the_folder_with_scores_and_fingerprints(export):
    export.write()
    rows = load(export).to_list()
    parts = [open_artifact(export.folder / f"rollouts/{part}.arrow").fingerprint for part in range(2)]
    assert [row["response"] for row in rows] == ["Three.", "Seven.\nSo 7."]
    assert rows[1] == {
        "question": "Add 3 and 4.",
        "response": "Seven.\nSo 7.",
        "answer_start": 0,
        "rollout_id": "c",
        "question_id": short_id("Add 3 and 4."),
        "rank": 1,
        "reason": "c is best",
        "teacher": "big",
        "sample": 2,
        "grape": -1.0,
        "ranking_fingerprint": open_artifact(export.ranking).fingerprint,
        "selection_fingerprint": open_artifact(export.selection).fingerprint,
        "rollouts_fingerprint": parts[1],
    }


def test_datasets_loads_the_form_for_trl_with_scores(export):
    export.write()
    assert [(row["prompt"], row["completion"], row["grape"]) for row in load_for_trl(export)] == [
        ("Add 1 and 2.\n", "Three.", 0.0),
        ("Add 3 and 4.\n", "Seven.\nSo 7.", -1.0),
    ]


def test_trl_trains_a_step_on_the_export_and_on_the_tokens_of_finetune(export, tmp_path):
    export.write()
    options = {"max_steps": 1, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True}
    arguments = SFTConfig(output_dir=str(tmp_path / "trl"), save_strategy="no", **options)
    tokenizer = tiny_tokenizer()
    trainer = SFTTrainer(tiny_model(), args=arguments, train_dataset=load_for_trl(export), processing_class=tokenizer)
    form = load_format(PLAIN, tokenizer)
    for row, name in zip(trainer.train_dataset, "ac", strict=True):
        example = tokenised(tokenizer, form, 99, (), (name, *TEXTS[name], 0))
        assert (row["input_ids"], row["labels"]) == (example["input_ids"].tolist(), example["labels"].tolist())
    assert trainer.train().training_loss > 0


def test_the_files_for_llama_factory_name_each_other(export):
    folder = export.write() / "llama_factory"
    training = yaml.safe_load((folder / "sft.yaml").read_text())
    [(name, described)] = json.loads((folder / "dataset_info.json").read_text()).items()
    assert training["dataset"] == name == "main.big.grape"
    assert Path(training["dataset_dir"]) == folder
    rows = [json.loads(line) for line in (folder / described["file_name"]).read_text().splitlines()]
    assert rows[0]["instruction"] == "Add 1 and 2.\n"
    assert rows[0]["output"] == "Three.<|end|>"
    assert training["seed"] == 3


def test_the_card_accounts_for_all_candidates(export):
    card = (export.write() / "README.md").read_text()
    for line in (
        "| not drawn: too long | 1 |",
        "| not ranked: cut off | 1 |",
        "| not eligible: wrong | 1 |",
        "| eligible and passed over | 1 |",
        "| chosen, the rows of this data set | 2 |",
        "| grape | 4 | -0.75 | 2 | -0.5 |",
    ):
        assert line in card
    assert open_artifact(export.questions).fingerprint in card
    assert str(export.folder) not in card


def test_a_response_that_the_students_format_cannot_write_is_rejected_and_counted(export):
    export.choose("ad")
    (export.folder / "f.jinja").write_text('{%- set between = "</think>" -%}{{ message }}:')
    folder = export.write(ModelSettings(format=str(export.folder / "f.jinja")))
    assert [row["rollout_id"] for row in load(export)] == ["a"]
    [reject] = rejects_of(folder)
    assert (reject["source"], reject["row"]) == ("d", 1)
    assert reject["reason"].startswith("character 3 of the text begins '</think>'")
    assert "| chosen and not written: character 3 of the text begins '&lt;/think>'" in export.out.read_text()


def test_an_export_without_a_row_is_an_error_that_says_why_and_leaves_no_file(export):
    export.choose("d")
    (export.folder / "f.jinja").write_text('{%- set between = "</think>" -%}{{ message }}:')
    with pytest.raises(DistraceError, match=r"no chosen response is left to export; first reason: .*</think>"):
        export.write(ModelSettings(format=str(export.folder / "f.jinja")))
    assert not export.out.parent.exists()


def test_a_second_run_gives_the_same_bytes(export):
    first = contents(export.write())
    assert set(first) == {
        "README.md",
        *map(str, (PARQUET, TRL, LLAMA_FACTORY)),
        "llama_factory/dataset_info.json",
        "llama_factory/sft.yaml",
    }
    assert contents(export.write()) == first


def test_a_killed_job_leaves_no_half_of_a_file_and_the_next_one_none_of_its_own(export, monkeypatch):
    folder = export.out.parent

    def killed(*_):
        (folder.with_name(".grape.unfinished") / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(exported_selection, "dataset_card", killed)
        patched.setattr(exported_selection.shutil, "rmtree", lambda *_, **__: None)  # as after a SIGKILL
        with pytest.raises(KeyboardInterrupt):
            export.write()
    assert not folder.exists()
    export.write()
    assert {path.name for path in folder.parent.iterdir()} == {"grape", "grape.rejects.arrow"}
    assert not (folder / "half").exists()


def test_what_users_put_into_the_folder_stays(export):
    mine = export.write() / "llama_factory" / "mine.safetensors"
    mine.touch()
    export.write()
    assert mine.exists()


def test_a_selection_from_other_rankings_is_refused(export):
    write(export.ranking, kinds.RANKING, open_artifact(export.ranking).read().head(1), {"of": 2})
    with pytest.raises(DistraceError, match="the rankings hold only 1 of them; delete the older one"):
        export.write()
