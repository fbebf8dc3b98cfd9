# Every target does its own set-up: a virtual environment in .venv with the locked dependencies.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check bench chromium supabase supabase-test front-door pictures lock clean
.DELETE_ON_ERROR:

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("headgate needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(STAMP)  ## a bulk request through a real server, worker and emulator, with a verdict
	$(BIN)/headgate demo $(ARGS)

test: $(STAMP) chromium supabase  ## everything: the checks, then the tiers that need a Temporal server, a browser and Supabase
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/headgate server --fetch-only
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)  ## format, lint, types, contracts, unit and property tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit tests/property $(ARGS)

bench: $(STAMP)  ## the benchmarks with real windows: an hour and a half; JSON in build/bench
	$(BIN)/python -m benchmarks $(ARGS)

chromium:  ## a browser for tests/browser, where apt can install one; elsewhere the tier skips and says so
	@sh tools/chromium.sh

supabase:  ## the programs of tests/supabase, from npm and apt; elsewhere its tests skip and say so
	@sh tools/supabase.sh

front-door: $(STAMP) supabase  ## the Supabase front door live on this machine, with a page to play with, until Ctrl-C
	@$(BIN)/python -m tests.supabase.show $(ARGS)

supabase-test: $(STAMP) supabase  ## the Supabase front door alone: database, functions, clients, end to end
	$(BIN)/python -m pytest tests/supabase $(ARGS)

pictures: $(STAMP) chromium  ## the pictures of the Web UI in docs/pictures, taken anew
	$(BIN)/python -m tests.browser.pictures

lock: $(STAMP)  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml --group dev -o requirements.lock

clean:
	rm -rf .venv build
