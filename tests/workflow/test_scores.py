"""benchmarks/scores.py: each score of candidates once more, apart from distrace, here with a tiny model."""

import json
import subprocess
import sys

import pytest

from snakemake_runs import ROOT
from tiny import tiny_model, tiny_tokenizer

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"
RESPONSES = (
    "Four and three make seven. So the answer is 7.",
    "First, add 4 and 3. Then we have 7.",
    "It is 7.",
    "Add one. Add two. Add four. We have 7 apples in all.",
)


@pytest.mark.slow
def test_scores_that_are_computed_apart_equal_those_of_the_ranking(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token, tokenizer.chat_template = tokenizer.eos_token, CHAT
    model = tiny_model(max_position_embeddings=256, bos_token_id=tokenizer.eos_token_id)
    for part in (tokenizer, model):
        part.save_pretrained(tmp_path / "model")
    questions = [f"What is {n} + 3?" for n in range(5)]
    candidates = [{"question": question, "answer": "7", "code": RESPONSES} for question in questions]
    solutions = [{"question": question, "answer": "It is 7. #### 7"} for question in questions]
    for name, rows in (("candidates", candidates), ("solutions", solutions)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {name: tmp_path / f"{name}.jsonl" for name in ("candidates", "solutions")}
    files |= {"model": tmp_path / "model", "folder": tmp_path / "run"}
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    command = [sys.executable, "benchmarks/scores.py", *options, "--questions", "5", "--checked", "2", "--cores", "2"]
    for _ in range(2):  # a second call finds all that the first one left
        found = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
        printed = json.loads(found.stdout[found.stdout.index("{\n") :])
        assert (printed["candidates"], printed["checked_with_the_model"]) == (20, 8)
