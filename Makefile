# Every command of the project. All it needs is Python 3.11 or newer and make; the rest goes to .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The demo and the UI look at one and the same Dagster instance.
DEMO_HOME := $(CURDIR)/.demo/dagster_home
PORT ?= 3000
export DAGSTER_DISABLE_TELEMETRY := yes
export DAGSTER_TELEMETRY_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Many commands start many processes: none of them compiles again what another one has compiled.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo ui test bench soak properties lint format types schemas install lock wheel clean distclean

help: ## show these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## watch a contract protect a pipeline: about two minutes
	@$(BIN)/python -m demo.story

ui: $(INSTALLED) ## open the demo's instance in the Dagster UI (PORT=3000)
	@$(BIN)/python -m demo.instance
	@echo "The Dagster UI will be at http://127.0.0.1:$(PORT) (Ctrl-C stops it)"
	@DAGSTER_HOME="$(DEMO_HOME)" exec $(BIN)/dagster dev -f definitions.py -h 127.0.0.1 -p $(PORT)

test: $(INSTALLED) ## run the tests (ARGS="-k circuit" passes options to pytest)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

bench: $(INSTALLED) ## measure (ARGS="--rows 1000000"; --no-peers; --check)
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(INSTALLED) ## millions of simulated events, a million hostile conditions, 200 kills (minutes)
	@DAGSTER_CONTRACTS_SOAK_EVENTS=1000000 DAGSTER_CONTRACTS_KILLS=200 \
	  DAGSTER_CONTRACTS_HOSTILE_INPUTS=1000000 DAGSTER_CONTRACTS_PIPELINES=10 \
	  $(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 tests/soak \
	  tests/resilience/test_processes.py tests/orchestration/test_pipeline.py \
	  tests/orchestration/test_pipeline_judge.py tests/core/test_condition.py $(ARGS)

properties: $(INSTALLED) ## run the property tests with a hundred times as many examples (hours)
	@HYPOTHESIS_PROFILE=soak DAGSTER_CONTRACTS_HOSTILE_INPUTS=1000000 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(INSTALLED) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

schemas: $(INSTALLED) ## make the editors' schema and the reference's tables anew
	@$(BIN)/python -m dagster_contracts.documents.editor docs/compact-form.md

install: $(INSTALLED) ## make .venv as requirements.lock says

# uv installs in seconds what takes pip a minute. It does not read pip's settings, so pip itself does
# the work where they name another index, and wherever uv cannot.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), once ..."
	@{ ! $(BIN)/python -m pip config list | grep -q '[.]index-url=' \
	    && $(BIN)/python -m pip install --quiet uv 2>/dev/null \
	    && $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock; } \
	  || $(BIN)/python -m pip install --quiet -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock: $(INSTALLED) ## resolve requirements.lock anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-strip-extras --no-emit-index-url --no-header \
	  --extra databases --extra postgres --group dev \
	  -o requirements.lock pyproject.toml

wheel: $(INSTALLED) ## build the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel -d dist

clean: ## forget the demo, caches and builds
	@rm -rf .demo .dagster_contracts dist build .mypy_cache .ruff_cache .hypothesis
	@rm -rf .import_linter_cache .pytest_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and .venv and .bench too
	@rm -rf $(VENV) .bench
