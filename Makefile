# Two commands: `make reproduce` runs everything, `make test` tests it. Both set up .venv first.
PYTHON := $(or $(PYTHON),$(shell command -v python3.11 || command -v python3))
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: reproduce test setup clean

reproduce: setup
	snakemake --cores all $(if $(PRESET),--config preset=$(PRESET))
	@echo "Done: figures and tables lie in results/, a folder a preset."

test: setup
	ruff check .
	ruff format --check .
	lint-imports
	snakefmt --check Snakefile workflow
	snakemake --lint
	pytest

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	"$(PYTHON)" -m venv .venv
	python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake
