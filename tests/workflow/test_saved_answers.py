"""Answers of a distilled model that were saved elsewhere are traced as if it had written them here."""

import json

import yaml

from distrace import kinds
from distrace.artifacts import open_artifact
from distrace.parts import open_parts
from snakemake_runs import planned_jobs, snakemake

DISTILLED = "main.teacher.teacher_count.0"


def test_saved_answers_get_the_labels_that_they_got_when_the_model_wrote_them(copy_of_finished, config):
    folder, place = copy_of_finished, f"{DISTILLED}/test"
    written = open_parts(folder / f"results/rollouts/{place}/answer/parts.arrow", kinds.ROLLOUTS)
    questions = open_parts(folder / "results/questions/test/parts.arrow").read("question_id", "question")
    rows = written.read("question_id", "text", "token_ids").join(questions, on="question_id").to_dicts()
    (folder / "saved.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config["sampling"]["saved"] = config["sampling"]["answer"] | {
        "responses_of": {DISTILLED: {"file": "saved.jsonl", "response": "text", "token_ids": "token_ids"}}
    }
    config["runs"]["main"]["test"]["sampling"] = "saved"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    outputs = {output for _, output in planned_jobs(folder)}
    assert f"results/rollouts/{place}/saved/parts.arrow" in outputs
    assert "results/rollouts/student/test/saved/0.arrow" in outputs
    target = f"results/provenance/main/teacher/{place}/saved/parts.arrow"
    snakemake(folder, target)
    labels = [
        open_parts(folder / path).read("sentence", "p_teacher", "p_student", "p_distilled", "label").rows()
        for path in (target, target.replace("saved", "answer"))
    ]
    assert labels[0] == labels[1]
    assert (
        open_artifact(folder / f"results/rollouts/{place}/saved/0.arrow").read("finish_reason").unique().item()
        == "imported"
    )
