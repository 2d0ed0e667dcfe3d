# Every target does its own set-up (scripts/setup.sh); a second run does none of it again.
#
#   GPU=1       with `make setup`: install the CUDA set instead of the CPU set
#   ARGS="..."  further arguments of the command that a target runs
#   PYTHON=...  the interpreter to make .venv with
#   VENV=...    another folder than .venv

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
# Two processes: one for the tests that start engines, which use all cores as it is, one for the others.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup
export GPU PYTHON VENV

.PHONY: help setup study test test-faults test-models test-fast check format doctor bench lock clean distclean ready

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: ## install everything into .venv (GPU=1 for the CUDA set)
	@scripts/setup.sh

ready: # as setup, silent when there is nothing to do
	@scripts/setup.sh --quiet

study: ready ## run the study on this machine: train, evaluate, compare, report (ARGS="key=value ...")
	$(BIN)/rlvr study recipe=tiny $(ARGS)

test: ready ## run the tests, those on real engines included (ARGS="-k name")
	$(PYTEST) -m "not faults and not models" $(ARGS)

test-faults: ready ## kill, freeze and interrupt real engines (some minutes more)
	$(BIN)/python -m pytest -m faults $(ARGS)

test-models: ready ## start real engines on every architecture of docs/models.md (some minutes more)
	$(BIN)/python -m pytest -m models $(ARGS)

test-fast: ready ## run the tests that start no engine
	$(PYTEST) -m "not engines and not faults" $(ARGS)

check: ready ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: ready ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

doctor: ready ## say what this machine has and lacks
	$(BIN)/rlvr doctor $(ARGS)

bench: ready ## measure speed side by side with TRL, and all else in performance/
	$(BIN)/python -m performance $(ARGS)

lock: ready ## resolve requirements/cpu.txt anew from pyproject.toml
	$(BIN)/python scripts/lock.py $(ARGS)

clean: ## remove caches and build outputs (keeps .venv and runs/)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV)
