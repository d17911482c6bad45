# `make run` and `make test` are all a fresh machine needs.
PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test lint format lock clean

run: .venv/installed
	snakemake --cores $(CORES)

test: .venv/installed
	pytest

lint: .venv/installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
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

clean:
	rm -rf .venv results/[!.]* logs .snakemake
