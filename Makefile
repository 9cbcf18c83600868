# Countersign. Every target does its own set-up; a fresh machine needs Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run test test-quick check fix bench lock

run: $(VENV)/.run
	@exec $(PY) manage.py serve --demo

# Four processes on two cores: some of them usually wait.
test: $(VENV)/.dev
	$(PY) -m pytest -n 4 $(ARGS)

test-quick: $(VENV)/.dev
	$(PY) -m pytest --quick tests/approvals tests/agentcore tests/docs $(ARGS)

check: $(VENV)/.dev
	@$(PY) -m tests.checks

fix: $(VENV)/.dev
	$(PY) -m ruff check --fix -q .
	$(PY) -m ruff format -q .
	$(PY) manage.py export_docs
	$(PY) -m tests.sdk_differences

bench: $(VENV)/.run
	$(PY) -m benchmarks $(BENCH)

# Written only when the dependencies themselves change.
lock: $(VENV)/.dev
	$(PY) -m uv pip compile -q --universal --generate-hashes --python-version 3.11 pyproject.toml -o requirements.lock
	$(PY) -m uv pip compile -q --universal --generate-hashes --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(PY) -m uv pip compile -q --universal --generate-hashes --python-version 3.11 tests/docs/linters.in -o tests/docs/linters.lock
	echo hatchling | $(PY) -m uv pip compile -q --universal --generate-hashes --python-version 3.11 -c requirements-dev.lock - -o requirements-build.lock

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Countersign needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Type: make run PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock | $(VENV)/bin/python
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/python
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(PY) -m uv pip sync -q --python $(PY) --offline --require-hashes requirements-dev.lock  # removes what is listed no longer
	@touch $@
