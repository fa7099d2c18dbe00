PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
PEERS_REDIS5 := .venv-redis5
PAIRS ?= 3.12:6.0 3.13:6.1
TASKS_PEERS := .venv-tasks
# The newest that is here: django.tasks needs 3.12.
PYTHON_OF_TASKS ?= $(or $(lastword $(wildcard $(HOME)/.pyenv/versions/3.1[2-9]*/bin/python)),python3.13)
MARKED ?= "gearmand or integration"
# The sessions that tests start compile each module once, even where the shell says not to.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo demo-web test integration django-tasks docs lint format types check bench peers soak matrix

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Both install the modules of python-gearman, so that what is there of either goes first.
	@$(BIN)/pip uninstall --quiet --yes --disable-pip-version-check gearman3 pygearman 2>/dev/null
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## Show seven acts with a job server, worker processes and a client
	@$(BIN)/python manage.py gearman_example_demo

demo-web: $(READY)  ## Run a small site with jobs in a browser: pictures, an import, a list of jobs
	@$(BIN)/python -m gearman_example.shop $(if $(FREE_PORTS),--free-ports)

test: $(READY)  ## Run the tests; those that need gearmand are skipped where it is not installed
	$(PYTEST) -m "not integration" --ignore=tests/contrib --ignore=tests/example
	$(PYTEST) -m "not integration" tests/contrib tests/example --ds=tests.contrib.settings

integration: $(READY)  ## Run everything that needs a real gearmand, on private ones
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; \
	for program in "$${GEARMAND:-gearmand}" gearman; do command -v $$program >/dev/null || { \
	  echo "$$program is not installed. Debian: apt-get install gearman-job-server gearman-tools" >&2; \
	  exit 1; }; done
	$(PYTEST) -m $(MARKED) --gearman-required
	$(PYTEST) -m $(MARKED) --gearman-required tests/contrib --ds=tests.contrib.settings

docs: $(READY)  ## Build the documentation into docs/_build/html; a warning or a dead link is an error
	@rm -rf docs/_build
	$(BIN)/sphinx-build -q -W --keep-going -n -b html docs docs/_build/html
	$(BIN)/python docs/links.py docs/_build/html

lint: $(READY)  ## Check style, formatting and what imports what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## Check the types, and what a user's type checker makes of them
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test  ## Lint, types and tests

bench: $(READY)  ## Measure it all, beside the wire and beside others (ten minutes); GROWTH=1: how cost grows
ifdef GROWTH
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" $(BIN)/python -m benchmarks.growth
else
	@$(MAKE) --no-print-directory --keep-going peers || echo "The others could not be installed." >&2
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" $(BIN)/python -m benchmarks
endif

peers: $(PEERS)/.ready $(PEERS_REDIS5)/.ready $(TASKS_PEERS)/.ready

$(PEERS)/.ready: benchmarks/peers/requirements.txt
$(PEERS_REDIS5)/.ready: benchmarks/peers/requirements-redis5.txt
$(PEERS)/.ready $(PEERS_REDIS5)/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(TASKS_PEERS)/.ready: benchmarks/django_tasks/requirements.txt
	$(PYTHON_OF_TASKS) -m venv $(TASKS_PEERS)
	$(TASKS_PEERS)/bin/pip install --quiet --disable-pip-version-check --requirement $< --editable .
	@touch $@

soak: $(READY)  ## Kill, stop, reload and cut off real workers under load, and print the numbers
	@$(BIN)/python -m soak $(if $(SERVER),--server $(SERVER)) $(if $(THREADS),--threads $(THREADS)) $(SCENARIOS)

django-tasks:  ## Run Django's own tests of tasks on our backend, with Django 6.0 and 6.1
	@RUN='python -m tests.upstream' ./matrix $(PAIRS)

matrix:  ## Run the tests on each supported pair of Python and Django that this machine has
	@./matrix 3.11:5.2 3.12:6.0 3.13:6.1
