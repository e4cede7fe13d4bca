# make quickstart   set everything up, and go from text to a model that writes, in under 5 minutes
# make test         set everything up, and run the tests
# make check        ruff, mypy, manual pages and completions up to date: what CI runs beside the tests
# make sanitize     the kernels' tests with memory and undefined behaviour watched: after changes in native/
# make docs         write man/ and completions/ again from the flags
# make clean        remove the virtual environment and what quickstart made

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# worksteal: neighbouring tests stay with one worker, and so does what they open and make once
PYTEST_ARGS ?= -n 2 --dist worksteal

# compiled modules are kept, whatever the environment says: some hundred processes start, each with 300 modules
export PYTHONDONTWRITEBYTECODE :=

.PHONY: quickstart test check lint types pages sanitize docs clean

quickstart: $(VENV)/.run
	rm -rf quickstart
	PATH="$(abspath $(BIN)):$$PATH" bash examples/quickstart.sh quickstart

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types pages

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

pages: $(VENV)/.dev
	$(BIN)/python -m pytest tests/test_docs.py -k 'manual_pages or completion_scripts'

sanitize: $(VENV)/.test
	$(BIN)/python tests/kernels/sanitize.py

docs: $(VENV)/.run
	$(BIN)/llmkit man --all -o man --force
	$(BIN)/llmkit completion bash > completions/llmkit.bash
	$(BIN)/llmkit completion zsh > completions/_llmkit
	$(BIN)/llmkit completion fish > completions/llmkit.fish

clean:
	rm -rf $(VENV) quickstart

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmkit needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

# of what only tests import, few modules are compiled, at their first import
$(VENV)/.test: $(VENV)/.run
	$(PIP) --no-compile --editable '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --no-compile --editable '.[dev]'
	touch $(VENV)/.test $@
