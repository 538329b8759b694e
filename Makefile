# `make demo` and `make test` need git, make and Python 3.11 or newer, and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check lint clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/ready ## Train a DCGAN on real handwritten digits, sample it, measure it, write its report.
	rm -rf runs/demo
	$(BIN)/ganvas train dcgan_digits digits --out runs/demo
	$(BIN)/ganvas sample runs/demo -n 80 --seed 0 --out runs/demo/grid.png
	$(BIN)/ganvas measure runs/demo --against digits
	@echo "The report: $(CURDIR)/runs/demo/report.html"

test: .venv/ready ## All tests, at most ten minutes on two cores.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

check: lint test ## What CI runs: format, lint, types, tests with warnings as errors.

clean:
	rm -rf .venv runs
