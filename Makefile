# Two commands: `make demo` shows the main job, `make test` passes the tests. Both set up what they need in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

# What `make demo` takes: DATA=path, and where the demo cannot tell them from the header, the names of its columns.
DATA      ?=
NAMES     ?=
USER_COL  ?=
ITEM_COL  ?=
VALUE_COL ?=
SEPARATOR ?=
demo_options = $(foreach option,data names user-col item-col value-col separator,$(call demo_option,$(option)))
demo_option  = $(if $($(call variable,$(1))),--$(1) "$($(call variable,$(1)))")
variable     = $(shell echo $(1) | tr a-z- A-Z_)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types compiled-tests unit up soak bench bench-fleet compose-test screenshots clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make the environment in .venv (the others do it by themselves)

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)
	@touch $@

demo: $(STAMP)  ## Train, recommend and show it, on a history of its own or on DATA=path
	@$(BIN)/timbral demo $(demo_options) $(ARGS)

test: lint  ## Every test, lint and type check
	@$(MAKE) --no-print-directory --jobs 2 types compiled-tests
	@$(MAKE) --no-print-directory unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit compiled-tests: export PYTHONDONTWRITEBYTECODE :=

compiled-tests: $(STAMP)  # five processes collect the tests: what one has compiled beforehand none of them compiles
	@$(BIN)/python -m pytest --collect-only --quiet >/dev/null 2>&1 || true  # what is wrong, `unit` shows

unit: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 5 --dist loadfile $(ARGS)

up: $(STAMP)  ## The whole stack in one terminal: server, workers, scheduler, Flower, HTTP API
	@$(BIN)/timbral up $(ARGS)

soak: $(STAMP)  ## Every fault on every server that is here, then ten minutes of work under random faults
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --every-server tests/faults
	$(BIN)/python -m benchmarks.soak $(ARGS)

$(STAMP)-bench: $(STAMP)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(STAMP)-bench  ## Measure the engine beside scikit-learn and implicit (LASTFM=path for the real data)
	$(BIN)/python -m benchmarks $(ARGS)

bench-fleet: $(STAMP)-bench  ## Measure the fleet beside one process and beside bare Celery
	$(BIN)/python -m benchmarks.fleet $(ARGS)

compose-test: $(STAMP)  ## Bring the compose stack up on a Docker Engine, use it, scale it, break it
	$(BIN)/python -m tools.compose_test $(ARGS)

screenshots: $(STAMP)  ## Make the pictures in docs/images
	$(BIN)/python -m tools.screenshots $(ARGS)
	$(BIN)/python -m tools.screenshot_page

clean:  ## Remove the environment and every cache
	rm -rf $(VENV) $(VENV).setup .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
