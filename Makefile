# `make reproduce` runs everything, and `make report` makes the report alone. `make test` runs all tests in a quarter of an hour, and
# `make check` the unit tests in two minutes. `make faults SEED=1 COUNT=500` searches for faults for as long as you like. `make docs`
# writes what of the documentation comes from the code and from results/reference, and builds the site into build/site. mkdocs counts
# warnings as faults (--strict) only where it also prints them: no --quiet. All of these set up .venv first.
BIN := .venv/bin
PYTHON := $(or $(PYTHON),$(shell command -v python3.11 || command -v python3))
# what is made already is not made again, but the report is: the run then ends by saying where all lies
SNAKEMAKE = $(BIN)/snakemake --cores all --forcerun report $(if $(PRESET),--config preset=$(PRESET))
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
SITE = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce report check test faults lint docs setup clean

reproduce: setup
	$(SNAKEMAKE)

report: setup
	$(SNAKEMAKE) --until report

check: lint
	$(BIN)/pytest $(PARALLEL) tests/unit

test: lint
	$(BIN)/pytest $(PARALLEL) -m 'not long' tests/workflow tests/stages tests/faults tests/unit

faults: setup
	$(BIN)/pytest -s tests/faults tests/stages/test_claims.py --faults-seed $(or $(SEED),0) --faults-count $(or $(COUNT),100)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/hadolint Dockerfile
	$(BIN)/python docs/generate.py --check
	$(SITE)

docs: setup
	$(BIN)/python docs/generate.py
	$(SITE)

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake
