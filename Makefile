# `make reproduce` runs everything, `make report` makes the report alone, `make test` tests it. All set up .venv first.
BIN := .venv/bin
PYTHON := $(or $(PYTHON),$(shell command -v python3.11 || command -v python3))
# what is made already is not made again, but the report is: the run then ends by saying where all lies
SNAKEMAKE = $(BIN)/snakemake --cores all --forcerun report $(if $(PRESET),--config preset=$(PRESET))
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce report test setup clean

reproduce: setup
	$(SNAKEMAKE)

report: setup
	$(SNAKEMAKE) --until report

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake
