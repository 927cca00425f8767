# Two commands: `make demo` and `make test`. Both start from a machine with Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: setup system demo test lint types clean

setup: .venv/ready

# The environment is built under another name and renamed, so that a stopped build is not taken for whole.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Firnline needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Optional system packages: bubblewrap runs generated code, chromium tests the report.
system:
	@sh .ci/system

demo: setup system
	$(BIN)/firnline run quickstart --out runs/quickstart

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test: setup system lint types
	$(BIN)/pytest -n 2

clean:
	rm -rf .venv runs
