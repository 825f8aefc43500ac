# Two commands: `make reproduce` runs everything, `make test` tests it. Both set up .venv first.
BIN := .venv/bin
PYTHON := $(or $(PYTHON),$(shell command -v python3.11 || command -v python3))
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce test setup clean

reproduce: setup
	$(BIN)/snakemake --cores all $(if $(PRESET),--config preset=$(PRESET))
	@echo "Done: figures and tables lie in results/, a folder a preset."

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/pytest

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake
