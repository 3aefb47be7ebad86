# Two commands do all the set-up: `make campaign` runs the main job, `make test` passes the tests.
# Both install what they need into .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS   ?=

.PHONY: help campaign test lint types bench-checker bench image-base clean

help:            ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

campaign: $(VENV)/.runtime   ## three runs of five real Raft nodes under kill-leader, partition and pause-disk
	$(BIN)/capsize campaign --system raft --workload register --faults kill-leader,partition,pause-disk \
	  --runs 3 --time-limit 20 $(ARGS)

test: $(VENV)/.dev           ## the tests; what this machine cannot run is skipped and said (CAPSIZE_REQUIRE_ALL=1: fails)
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev           ## ruff, mypy and pyright in strict mode, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --warnings
	PYTHONPATH=src $(BIN)/lint-imports --no-cache

bench-checker: $(VENV)/.dev  ## regenerate the checker's bench, run it, print and store the table
	$(BIN)/python bench/checker.py $(ARGS)

image-base:                  ## build debian:bookworm-slim from Debian packages, where no image registry can be reached
	sh cluster/image/base.sh

clean:                       ## remove what was built, not the store of runs
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "capsize: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "capsize: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml
	$(PIP) install --no-compile --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(PIP) install --no-compile --editable '.[dev]'
	@touch $@ $(VENV)/.runtime
