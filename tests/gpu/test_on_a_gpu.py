"""What holds on a GPU (`make test-gpu`): the numbers of the CPU, memory that runs out, training, and a whole run."""

import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from distrace.engines import load_engine
from distrace.engines.requests import MAX_RANK, GenerateRequest, ScoreRequest
from distrace.gpus import visible_gpus
from distrace.models import folder_card
from distrace.settings import Execution, ModelSettings, Sampling, Training, TrainingExecution
from golden import MODEL, golden_requests, needs_model, score_all
from snakemake_runs import ROOT, new_folder, planned_jobs, snakemake
from tiny import ARCHITECTURES, engine_of, plain_scores, tiny_model
from trainings import hide_gpus, tiny_job, trained

pytestmark = pytest.mark.gpu

PROMPT = list(range(5, 25))
RESPONSES = [[*range(30, 60)], [*range(30, 50), 7, 8, 9], [11], [*range(70, 140, 2)]]
REQUESTS = [ScoreRequest(PROMPT, response, np.ones(len(response), bool)) for response in RESPONSES]


@pytest.fixture(autouse=True, scope="module")
def _gpu():
    assert torch.cuda.is_available(), "torch sees no GPU"


def on_gpu(architecture: str = "llama", purpose: str = "score", **settings: object):
    return engine_of(tiny_model(architecture, **settings).to("cuda"), name=architecture, purpose=purpose)


def test_the_gpu_is_found_without_torch():
    assert len(visible_gpus()) == torch.cuda.device_count()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_log_probs_of_a_gpu_are_those_of_a_plain_pass_on_a_cpu(architecture):
    scores = score_all(on_gpu(architecture), REQUESTS)
    model = tiny_model(architecture)
    for request, score in zip(REQUESTS, scores, strict=True):
        logprobs, ranks = plain_scores(model, request.prompt, request.response)
        assert score.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert np.mean(score.ranks == np.minimum(ranks, MAX_RANK)) > 0.9  # near-equal logits may change places


@needs_model
@pytest.mark.parametrize(("dtype", "mean", "largest"), [("float32", 2e-5, 1e-3), ("bfloat16", 0.05, 3.0)])
def test_log_probs_of_a_real_model_are_those_of_the_cpu_in_float32(dtype, mean, largest):
    card = folder_card("smollm2", str(MODEL))
    expected, found = (
        np.concatenate([score.logprobs for score in score_all(engine, golden_requests(engine.tokenizer)[1])])
        for engine in (
            load_engine(card, ModelSettings(), Execution(), "score"),
            load_engine(card, ModelSettings(dtype=dtype), Execution(gpus=1), "score"),
        )
    )
    gaps = np.abs(found - expected)
    print(f"{dtype}: {len(gaps)} tokens, mean difference {gaps.mean():.2g}, largest {gaps.max():.2g}")
    assert gaps.mean() < mean
    assert gaps.max() < largest


def test_a_batch_that_does_not_fit_is_scored_in_halves(caplog):
    wide = on_gpu(hidden_size=2048, intermediate_size=8192, head_dim=512, max_position_embeddings=8192)
    rows = np.random.default_rng(0).integers(0, 290, (16, 4000)).tolist()
    requests = [ScoreRequest([1], row, np.ones(len(row), bool)) for row in rows]
    expected = [wide.score([request])[0].logprobs for request in requests]
    torch.cuda.empty_cache()
    held, total = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((held + 2 * 2**30) / total)  # 16 rows need more, one needs less
    try:
        with caplog.at_level(logging.WARNING):
            found = [score.logprobs for score in wide.score(requests)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "trying halves" in caplog.text
    assert all(np.allclose(one, other, atol=1e-3) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "mistral"])
def test_responses_are_the_same_again_with_the_log_probs_that_scoring_gives_them(architecture):
    engine = on_gpu(architecture, "generate")
    requests = [GenerateRequest(PROMPT[: 5 + seed], 30, seed) for seed in range(8)]
    first, second = (engine.generate(requests, Sampling(temperature=0.8, top_p=0.95)) for _ in range(2))
    assert [one.token_ids for one in first] == [one.token_ids for one in second]
    for request, one in zip(requests, first, strict=True):
        score = engine.score([ScoreRequest(request.prompt, one.token_ids, np.ones(len(one.token_ids), bool))])[0]
        assert one.logprobs == pytest.approx(score.logprobs, abs=1e-4)


@pytest.mark.parametrize(
    "training",
    [Training(max_steps=6), Training(max_steps=6, packing=True), Training(max_steps=6, method="lora")],
    ids=["full", "packed", "lora"],
)
def test_a_training_on_a_gpu_goes_as_on_a_cpu(tmp_path, training):
    for name in ("gpu", "cpu"):
        (tmp_path / name).mkdir()
    rows, weights = trained(tiny_job(tmp_path / "gpu", training, execution=TrainingExecution(gpus=1)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=hide_gpus) as pool:
        expected, expected_weights = pool.submit(trained, tiny_job(tmp_path / "cpu", training)).result()
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in expected], rel=1e-3)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected_weights[name], atol=2e-3, rtol=0)


def test_a_whole_run_on_a_gpu_is_finished_then(tmp_path):
    config = yaml.safe_load((ROOT / "tests/workflow/config.yaml").read_text())
    for model in config["models"].values():
        if "fresh" not in model["source"]:
            model["gpus"] = 1
    folder = new_folder(tmp_path / "run", config)
    snakemake(folder)
    logs = "".join(path.read_text() for path in (folder / "logs").rglob("*.log"))
    assert "running on CPU" not in logs
    assert not planned_jobs(folder)
    assert pl.read_ipc(next((folder / "results/provenance").rglob("0.arrow"))).height > 0
