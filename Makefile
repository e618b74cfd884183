# Skysail's verbs, for people and CI alike. A bare `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that runs and is new enough; say `make PYTHON=python3.12 …` to choose.
ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
endif

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -q
DECLARED := pyproject.toml constraints.txt

TESTS ?= tests
PYTEST_ARGS ?=
BENCH ?=
EXAMPLES ?= $(filter-out examples/demo.py,$(sort $(wildcard examples/*.py)))

.PHONY: help
help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment -------------------------------------------------------------------------------------------------------
# Two stamps: what the demo needs, and everything. Each is renewed when a declaration changes.

$(VENV)/.pip: constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Skysail needs Python 3.11, 3.12 or 3.13; none was found" >&2; exit 1; }
	scripts/make_venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.run: $(VENV)/.pip $(DECLARED)
	$(PIP) install -c constraints.txt -e '.[embedded,sklearn]'
	@touch $@

$(VENV)/.dev: $(VENV)/.pip $(DECLARED)
	$(PIP) install -c constraints.txt -e '.[embedded,sklearn]' --group dev
	@touch $(VENV)/.run $@

.PHONY: venv
venv: $(VENV)/.dev ## make .venv with everything that tests, checks and benchmarks need

.PHONY: constraints
constraints: ## renew constraints.txt from the newest versions that resolve
	scripts/constraints.sh "$(PYTHON)"

# --- to see it work ----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.run ## train, deploy, ask, promote and roll back a model on this machine
	$(PY) examples/demo.py

.PHONY: examples
examples: $(VENV)/.dev ## run every other example
	@for example in $(EXAMPLES); do echo "== $$example"; $(PY) "$$example"; done

.PHONY: up
up: $(VENV)/.run ## start broker, store, frontend and admin in the background
	$(VENV)/bin/skysail up --detach

.PHONY: down
down: $(VENV)/.run ## stop them
	$(VENV)/bin/skysail down

# --- to prove it -------------------------------------------------------------------------------------------------------

.PHONY: services
services: $(VENV)/.dev ## install what the tests run against: a JVM, Kafka's jars, Redis
	scripts/test_services.sh

.PHONY: test
test: services ## run the tests, or a part: make test TESTS=tests/topics
	$(PY) -m pytest $(PYTEST_ARGS) $(TESTS)

.PHONY: chaos
chaos: services ## inject each fault under load; one line for each
	$(PY) -m pytest -q -s -m chaos $(PYTEST_ARGS) tests/chaos

.PHONY: check
check: $(VENV)/.dev ## lint, format, types, scripts, layers, wheel
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/shellcheck scripts/*.sh .ci/run
	$(VENV)/bin/lint-imports --no-logo --cache-dir .cache/import_linter
	scripts/wheel_smoke.sh "$(PY)"

.PHONY: format
format: $(VENV)/.dev ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: bench
bench: services ## measure; a part: make bench BENCH=mosec; all names: BENCH=--list
	scripts/need.sh wrk wrk
	$(PY) -m benchmarks $(BENCH)

.PHONY: clean
clean: ## remove the environment, caches and build products
	rm -rf $(VENV) .cache .ruff_cache build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
