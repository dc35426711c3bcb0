# The commands for development. `make` alone lists the targets.

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
RUN := $(VENV)/bin/python
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/undertow-*/pyproject.toml))
PINS := pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
PIP := $(RUN) -m pip --disable-pip-version-check install --constraint constraints.txt

# platform/ and docker/ have the names of Python modules: keep the working folder out of sys.path.
export PYTHONSAFEPATH = 1

SHELL := bash
.SHELLFLAGS := -o errexit -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test long crash lint bench gpu tables constraints clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.ready  ## a small study: rnn, lstm and gru on scanned digits, and how far back their gradients reach
	@$(VENV)/bin/undertow study run experiments/demo.yaml

# Two processes for each core: a third of the tests' time is waiting for servers and processes.
test: $(VENV)/.ready-dev  ## run all tests but the long ones, in some processes; `make test ARGS="-k gradient"` passes options on
	@$(RUN) -m pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) * 2)) $(ARGS)

crash: $(VENV)/.ready-dev  ## crash a run, a study and a sync after every change of their home; `make crash ARGS="study --from 200"`
	@$(RUN) tests/crash/run.py $(ARGS)

long: $(VENV)/.ready-dev  ## run the tests that take minutes, such as those on a Ray cluster
	@UNDERTOW_REQUIRE=long $(RUN) -m pytest -m long --numprocesses 2 $(ARGS)

lint: $(VENV)/.ready-dev  ## check format, lint, types and layers
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.ready-dev  ## measure the platform against its peers: a table, and bench.json
	@$(RUN) tests/benchmarks/run.py

gpu: $(VENV)/.ready-dev  ## test and measure on a GPU, in eight minutes: a table, gpu.md and gpu.json
	@$(RUN) tests/gpu/run.py $(ARGS)

tables: $(VENV)/.ready-dev  ## write the tables of cells, tasks, probes and plugins into the READMEs of the plugins
	@for folder in $(PLUGINS); do for kind in cells tasks probes; do \
	   if grep --quiet --line-regexp "<!-- $$kind: begin -->" "$$folder/README.md"; then \
	     build=--build; if [ $$kind = probes ]; then build=; fi; \
	     $(VENV)/bin/undertow list $$kind --from "$${folder#plugins/}" $$build --write "$$folder/README.md"; \
	   fi; \
	 done; done
	@shipped="$(PLUGINS:plugins/%=%)"; export UNDERTOW_PLUGINS_ALLOW="$${shipped// /,}"; \
	 $(VENV)/bin/undertow plugin list --write plugins/README.md

constraints: $(VENV)/.ready-dev  ## write the versions that are installed into constraints.txt
	@$(RUN) -m pip freeze --all --exclude-editable --exclude pip --exclude wheel > $(VENV)/frozen
	@{ grep '^#' constraints.txt; \
	   sed -n 's/^\([A-Za-z0-9._-]*==[^+ ]*\).*/\1/p' $(VENV)/frozen | LC_ALL=C sort --ignore-case; \
	} > $(VENV)/constraints.txt
	@cat $(VENV)/constraints.txt > constraints.txt
	@touch $(VENV)/.ready $(VENV)/.ready-dev
	@echo "constraints.txt has the $$(grep --count == constraints.txt) versions of $(VENV)"

clean:  ## remove caches and build files; recorded runs and the environment stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist bench.json gpu.json gpu.md .venv-gpu
	find platform plugins tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Undertow needs Python 3.11 or later, and found none. Install one, or name it:" \
	  "make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Undertow needs Python 3.11 or later; $(PYTHON) is" \
	  "$$($(PYTHON) --version 2>&1). Name another: make PYTHON=/path/to/python3.12"; exit 2; }
	@echo "creating $(VENV) with $$($(PYTHON) --version 2>&1)"
	@$(PYTHON) -m venv $(VENV)

# Two stamps: the packages for running, and those for development on top. The build backend is installed first and
# builds without isolation, so that constraints.txt pins it as well; one call to pip installs the rest, so that nothing
# is resolved twice.
$(VENV)/.ready: $(PINS) | $(VENV)/bin/python
	$(call install,.)
	@touch $@

$(VENV)/.ready-dev: $(PINS) | $(VENV)/bin/python
	$(call install,'.[dev]')
	@touch $(VENV)/.ready $@

define install
@echo "installing into $(VENV) what constraints.txt pins (a few minutes, the first time)"
@$(PIP) --quiet hatchling editables
@$(PIP) --no-build-isolation --editable $(1) $(PLUGINS:%=--editable ./%) | { $(progress); }
endef

# pip prints hundreds of lines: show one that is updated, one for each large download, and the end.
define progress
while read -r what name rest; do case "$$what $$name $$rest" in \
	"Collecting "* | "Processing "*) printf '\r  %3d  %-60.60s' $$((++looked_at)) "$${name##*/}" ;; \
	"Downloading "*" MB"*) IFS=- read -r package version _ <<<"$$name"; \
		printf '\r  %-65s\n' "downloading $$package $$version $$rest" ;; \
	"Installing collected"*) commas="$${rest//[^,]/}"; \
		printf '\r  %-65s\n' "unpacking $$(($${#commas} + 1)) packages" ;; \
	"Successfully installed"*) echo "  done" ;; \
esac; done
endef
