# `make demo` and `make test` need git, make and Python 3.11 or newer, and nothing else.
PYTHON ?= python3
BIN := .venv/bin

# Python compiles the modules that it imports; compiling all of them takes longer.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
PIP := $(INSTALL) --editable

# Containers often set it. Every process would compile all of ganvas again: 1.3 s each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-pairs docs test check lint clean

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/playable: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) '.[ui,provenance]'
	touch $@

.venv/ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) '.[dev]'
	# Without torchvision, which one test replaces in a process of its own.
	$(INSTALL) --no-deps spandrel einops
	touch $@ .venv/playable .venv/documented

demo: .venv/playable ## Train a GAN on capital letters of 24 typeface families, and generate alphabets and a latent walk.
	rm -rf runs/demo
	$(BIN)/ganvas train dcgan_letters letters --precision auto --out runs/demo
	$(BIN)/ganvas sample runs/demo -n 10 --all-classes --seed 0 --out runs/demo/alphabet.png
	$(BIN)/ganvas walk runs/demo --through 2 --all-classes --out runs/demo/walk.gif
	@echo "Ten typefaces:        $(CURDIR)/runs/demo/alphabet.png"
	@echo "From one to another:  $(CURDIR)/runs/demo/walk.gif"
	@echo "Play with it:         $(BIN)/ganvas studio runs --open"
	@echo "The report:           $(CURDIR)/runs/demo/report.html"

PAIRS := runs/demo-pairs

demo-pairs: .venv/playable ## Train pix2pix from thin to black letters, and translate a word of a typeface it has not seen.
	$(PIP) '.[ui,provenance,demo]'
	rm -rf $(PAIRS)
	$(BIN)/ganvas data letters $(PAIRS)/letters --size 64 --pairs thin,black
	$(BIN)/ganvas train pix2pix $(PAIRS)/letters --config examples/thin_to_black.toml --out $(PAIRS)/run
	$(BIN)/python examples/word.py $(PAIRS)/letters/test/A GANVAS $(PAIRS)/word.png
	$(BIN)/ganvas translate $(PAIRS)/run $(PAIRS)/word.png --out $(PAIRS)/black
	@echo "Thin:   $(CURDIR)/$(PAIRS)/word.png"
	@echo "Black:  $(CURDIR)/$(PAIRS)/black/word.png"

.venv/documented: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) '.[docs]'
	touch $@

docs: .venv/documented ## The pages as a site in site/. A link or an image that is missing is an error.
	rm -rf site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c tools/site -d build/site . site
	@echo "The documentation:    $(CURDIR)/site/index.html"

test: .venv/ready ## All tests, at most ten minutes on two cores. Temporary files of tests that pass are removed.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -o tmp_path_retention_policy=failed

lint: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

check: lint test ## What CI runs: format, lint, types, tests with warnings as errors.

clean:
	rm -rf .venv runs site
