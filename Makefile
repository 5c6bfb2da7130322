# `make` lists the verbs. Each builds .venv in this folder when it is missing or out of date.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

# In two processes, file by file. Not those with the most tests first: the long ones have few, and would end it all alone.
TWICE := -n 2 --dist loadfile --no-loadscope-reorder

# Pytest in a temporary directory of its own, which goes with all that killed processes left in it.
define pytest
@folder=$$(mktemp -d) && OMP_WAIT_POLICY=PASSIVE TMPDIR=$$folder $(BIN)/python -m pytest --basetemp $$folder/t $(1); \
	code=$$?; rm -rf $$folder; exit $$code
endef

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

install: .venv/installed  ## build .venv with every extra

demo: .venv/installed  ## the main job on bundled real data, end to end: latentmill-demo/
	$(BIN)/latentmill demo --out latentmill-demo

examples: .venv/installed  ## train, export, measure and generate: images, a table, time series: example-*/
	@for name in images table series; do echo "== examples/$$name.py"; $(BIN)/python examples/$$name.py || exit 1; echo; done

test: .venv/installed  ## lint, types and the tests, in minutes
	@$(MAKE) --no-print-directory lint types
	$(call pytest,$(TWICE))

full: .venv/installed  ## the long tests too
	$(call pytest,$(TWICE) -m "not soak" --timeout 1800)

soak: .venv/installed  ## faults repeated over seeds, for SOAK_SECONDS (600)
	$(call pytest,-m soak --timeout 7200)

lint: .venv/installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed  ## mypy, strict
	$(BIN)/mypy

bench: .venv/installed  ## speed, as ratios within one run
	$(BIN)/python -m benchmarks

freeze: .venv/installed  ## write the versions in .venv to constraints.txt
	@{ echo "# Exact versions of everything that is installed. Made with: make freeze"; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.new && mv constraints.new constraints.txt

.PHONY: help install demo examples test full soak lint types bench freeze
