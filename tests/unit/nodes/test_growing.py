"""More samples, more questions, another way to the same data: only what is new is computed."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from distrace import kinds
from distrace.artifacts import open_artifact, write
from distrace.engines.transformers import TransformersEngine
from distrace.nodes.finetune import write_finetuned
from distrace.nodes.logprobs import score_rollouts
from distrace.nodes.rollouts import sample_rollouts
from distrace.settings import Execution, ModelSettings, Sampling, Training
from tiny import write_author

SETTINGS = ModelSettings(format="plain")


class Project:
    """A folder with a model, in which an author answers questions and is scored; `asked` counts what the model did."""

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []
        self.model = write_author(folder / "weights")

    def questions(self, *texts: str) -> Path:
        rows = [{"question_id": f"q{text}", "question": text, "answer": "7", "solution": None} for text in texts]
        write(self.folder / "questions.arrow", kinds.QUESTIONS, rows, {"texts": texts})
        return self.folder / "questions.arrow"

    def answer(self, *questions: str, **sampling: object) -> list[dict]:
        """Draw responses and score them; return the log-probs' rows, and count the requests of both in `asked`."""
        self.asked.clear()
        out, scores = self.folder / "rollouts.arrow", self.folder / "logprobs.arrow"
        asked = self.questions(*questions)
        for path in (out, scores):
            path.unlink(missing_ok=True)  # as Snakemake does before it runs a job again
        settings = Sampling(**{"samples": 2, "max_tokens": 8, "seed": 1} | sampling)
        sample_rollouts(asked, self.model, SETTINGS, settings, Execution(), out)
        score_rollouts(out, asked, self.model, SETTINGS, Execution(), "full", scores)
        rollouts = open_artifact(out, kinds.ROLLOUTS).read("rollout_id", "question_id", "sample", "text")
        return rollouts.join(open_artifact(scores, kinds.LOGPROBS).read(), on="rollout_id").to_dicts()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    found = Project(tmp_path)
    for name in ("generate", "score"):
        whole = getattr(TransformersEngine, name)

        def counted(engine, requests, *rest, whole=whole):
            found.asked.append(len(requests))
            return whole(engine, requests, *rest)

        monkeypatch.setattr(TransformersEngine, name, counted)
    return found


def imported_again(node: str, **options: object) -> set[str]:
    """Run a job as the workflow does, and return what it imports: the first parts of the modules' names."""
    texts = {
        name: str(value) if isinstance(value, str | Path) else json.dumps(value) for name, value in options.items()
    }
    command = [sys.executable, "-X", "importtime", "-m", f"distrace.nodes.{node}"]
    command += [f"--{name}={text}" for name, text in texts.items()]
    found = subprocess.run(command, text=True, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "nothing has changed since" in found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_a_job_whose_result_was_kept_imports_nothing_that_takes_seconds(project):
    project.answer("4 + 3?")
    same = {"questions": project.folder / "questions.arrow", "model": project.model, "settings": asdict(SETTINGS)}
    same |= {"execution": {}}
    rollouts, logprobs = project.folder / "rollouts.arrow", project.folder / "logprobs.arrow"
    imported = imported_again("rollouts", out=rollouts, sampling={"samples": 2, "max_tokens": 8, "seed": 1}, **same)
    imported |= imported_again("logprobs", out=logprobs, rollouts=rollouts, context="full", threads=1, **same)
    assert imported >= {"distrace", "polars"}
    assert not imported & {"torch", "transformers", "datasets", "trl", "tokenizers"}


def test_the_same_job_again_runs_no_model(project):
    before = project.answer("a", "b")
    assert project.asked == [4, 4]
    assert project.answer("a", "b") == before
    assert project.asked == []


def test_more_samples_draw_and_score_the_new_ones_alone(project):
    before = project.answer("a", "b")
    after = project.answer("a", "b", samples=3)
    assert project.asked == [2, 2]
    assert [(row["question_id"], row["sample"]) for row in after] == [(q, s) for q in ("qa", "qb") for s in range(3)]
    assert [row for row in after if row["sample"] < 2] == before


def test_more_questions_ask_the_new_ones_alone(project):
    before = project.answer("a")
    after = project.answer("b", "a")
    assert project.asked == [2, 2]
    assert [row for row in after if row["question_id"] == "qa"] == before


def test_responses_whose_identity_does_not_say_who_wrote_them_are_taken_up(project, tmp_path):
    before = project.answer("a", "b")
    [kept] = tmp_path.glob(".rollouts.arrow.kept/*/rollouts.arrow")
    older = open_artifact(kept)
    write(kept, kinds.ROLLOUTS, older.read(), {key: v for key, v in older.identity.items() if key != "author"})
    kept.parent.rename(kept.parent.with_name("older"))
    assert project.answer("a", "b") == before
    assert project.asked == []


def test_fewer_samples_take_what_is_there(project):
    before = project.answer("a", samples=3)
    assert project.answer("a", samples=1) == [row for row in before if row["sample"] == 0]
    assert project.asked == []


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"seed": 2}, {"max_tokens": 9}])
def test_responses_drawn_in_another_way_are_drawn_anew(project, change):
    project.answer("a")
    project.answer("a", **change)
    assert project.asked == [2, 2]


def test_a_grown_set_is_that_of_a_single_run_but_for_rounding(project, tmp_path):
    project.answer("a", "b")
    grown = project.answer("a", "b", "c", samples=3)
    shutil.rmtree(tmp_path / ".rollouts.arrow.kept")
    shutil.rmtree(tmp_path / ".logprobs.arrow.kept")
    again = project.answer("a", "b", "c", samples=3)
    assert project.asked == [9, 9]
    names = ("rollout_id", "text", "token_ids", "starts", "ends", "ranks")
    assert [[row[name] for name in names] for row in grown] == [[row[name] for name in names] for row in again]
    for one, other in zip(grown, again, strict=True):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


def test_a_model_is_not_trained_again_where_another_selection_chose_the_same(project, tmp_path, monkeypatch):
    project.answer("a", "b")
    [first, *_] = open_artifact(tmp_path / "rollouts.arrow").read("rollout_id", "question_id").to_dicts()
    selection, card = tmp_path / "selection.arrow", tmp_path / "trained" / "model.json"

    def train(reason: str) -> bytes:
        write(selection, kinds.SELECTION, [first | {"rank": 1, "reason": reason}], {"beta": reason})
        training = Training(max_steps=1, batch_size=1, micro_batch_size=1)
        inputs = {"questions": tmp_path / "questions.arrow", "rollouts": [tmp_path / "rollouts.arrow"]}
        write_finetuned("student", project.model, SETTINGS, training, out=card, selection=selection, **inputs)
        return card.read_bytes()

    before = train("beta 0.1")
    monkeypatch.setattr("distrace.training.trainer.train", lambda *_: pytest.fail("it was trained again"))
    shutil.rmtree(card.parent / "weights")
    card.unlink()
    assert train("beta 0.2") == before
    assert (card.parent / "weights" / "model.safetensors").is_file()
