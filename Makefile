# Two commands need nothing but Python 3.11 or later with venv: `make demo` and `make test`.
# Every target makes its own set-up in $(VENV): the first time it says so and installs, later it does not.
# The tests with real processes and clocks run after the others, two files at a time: they use all processors.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
TEST_ARGS ?=
SOAK ?= 1h
FUZZ ?=
FUZZ_RUNS ?= 1000000
CORE := 'torpydo/wire.py,torpydo/crypto/*,torpydo/tpdp/*,torpydo/directory/*'

.DEFAULT_GOAL := help
.PHONY: help demo test coverage soak fuzz lint types wheel clean

help:
	@echo "make demo      one pool, five nodes and a client on this machine; fetches a file through three hops"
	@echo "make test      all tests (TEST_ARGS=... is handed to pytest)"
	@echo "make coverage  all tests, and which branches none reaches: of the core all, of the rest nine tenths must be"
	@echo "make soak      a real network under load and faults for an hour (SOAK=10m, SOAK=24h)"
	@echo "make fuzz      every parser under a fuzzer, a million inputs each (FUZZ=name, FUZZ_RUNS=1000)"
	@echo "make lint      ruff"
	@echo "make types     mypy, strict"
	@echo "make wheel     builds dist/*.whl and dist/*.tar.gz"
	@echo "make clean     removes everything that the other targets made"

demo: $(VENV)/.installed-cli
	@$(BIN)/torpydo demo $(DEMO_ARGS)

test: $(VENV)/.installed-test
	@echo "torpydo: running the tests"
ifeq ($(strip $(TEST_ARGS)),)
	@$(BIN)/python -m pytest --quiet --numprocesses=auto --dist=worksteal --ignore=tests/integration
	@$(BIN)/python -m pytest tests/integration --numprocesses=2 --dist=loadfile
else
	@$(BIN)/python -m pytest $(TEST_ARGS)
endif

soak: $(VENV)/.installed-test
	@$(BIN)/python -m tests.soak --time=$(SOAK)

fuzz: $(VENV)/.installed-fuzz
	@$(BIN)/python -m torpydo.testing.fuzz --runs=$(FUZZ_RUNS) $(FUZZ)

coverage: $(VENV)/.installed-test
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest --quiet --numprocesses=auto --dist=worksteal --ignore=tests/integration
	@$(BIN)/coverage run -m pytest --quiet tests/integration
	@$(BIN)/coverage combine --quiet
	@echo "torpydo: branches of what every byte from outside comes to first"
	@$(BIN)/coverage report --include=$(CORE) --fail-under=100
	@echo "torpydo: branches of everything else"
	@$(BIN)/coverage report --omit=$(CORE) --fail-under=90

lint: $(VENV)/.installed-dev
	@echo "torpydo: ruff"
	@$(BIN)/ruff check torpydo tests docs twisted

types: $(VENV)/.installed-dev
	@echo "torpydo: mypy --strict"
	@$(BIN)/mypy

wheel: $(VENV)/.installed-dev
	@echo "torpydo: building the wheel and the source archive"
	@rm -rf build dist
	@$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist fuzz-findings *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* _trial_temp* tests.*.test_*
	rm -f twisted/plugins/dropin.cache
	find torpydo tests twisted docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "torpydo: Python 3.11 or later is needed; say which one with make PYTHON=..." >&2; exit 1; }
	@echo "torpydo: making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# The stamp is newer than the files that name the dependencies as long as nothing has to be installed again.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	@echo "torpydo: installing torpydo with its '$*' extra into $(VENV) (this needs the network once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
