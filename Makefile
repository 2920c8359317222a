# The doors for people: make demo, make test, make check. Everything they need is checked for and named.
#
#   make setup    .venv/bin/fpserver, from locked dependencies
#   make demo     set up, start on the embedded store, ingest, identify a degraded clip, print the answer
#                 (make demo MUSIC=~/Music for your own files; make stop ends the server it leaves running)
#   make cluster  set up, a Redis Cluster of three masters and three replicas on loopback, until Ctrl-C
#   make test     set up, all tests: in three processes, then those that measure time alone
#   make check    format, lint, strict types, tests

PYTHON ?= python3
MUSIC ?=
DATA ?= data/demo
PORT ?= 8710
BIN := .venv/bin

.PHONY: help setup demo stop cluster test check check-style format clean require
.DEFAULT_GOAL := help

help:
	@sed -n '3,8s/^# *//p' Makefile

require:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or newer (Debian: apt install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old, fpserver needs 3.11 or newer; name another with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module (Debian: apt install python3-venv)"; exit 1; }

.venv/python: | require
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime: .venv/python locks/runtime.txt locks/build.txt pyproject.toml
	@echo "setting up: locked dependencies into .venv (about 180 MB, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/build.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/runtime locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/dev.txt
	@touch $@

setup: .venv/runtime
	@echo "ready: .venv/bin/fpserver"

demo: .venv/runtime
	@$(BIN)/fpserver demo --data "$(DATA)" --port $(PORT) $(if $(MUSIC),--music "$(MUSIC)")

stop: .venv/runtime
	@$(BIN)/fpserver demo --data "$(DATA)" --stop

cluster: .venv/runtime
	@$(BIN)/fpserver cluster data/cluster

test: .venv/dev
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile -m "not alone"
	@$(BIN)/python -m pytest -m alone

check-style: .venv/dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: check-style test

format: .venv/dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	@rm -rf .venv data/demo data/cluster .pytest_cache .mypy_cache .ruff_cache
