# Everything here sets itself up in .venv. The plain pip commands stand in README.md.
PYTHON ?= python3
# Another build of torch: make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
TORCH_INDEX_URL ?=
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
endif
# a file of tests to a process, so that what they share is made once
PARALLEL := -n logical --maxprocesses 4 --dist loadfile
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test test-all check bench clean

demo: $(VENV)/installed
	$(BIN)/python main.py demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PARALLEL)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed
	$(BIN)/python main.py bench

$(VENV)/bare:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q "pip>=25.1"
	@touch $@

# torch first and by itself: its index holds nothing else of ours
$(VENV)/installed: $(VENV)/bare pyproject.toml constraints.txt
	$(PIP) torch $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL))
	$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --group dev
	@touch $@

clean:
	rm -rf $(VENV) build dist demo-output bench-output .pytest_cache .mypy_cache .ruff_cache
