# fedsim: `make run` installs and runs the quickstart; `make test` installs and runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup run test check slow digests faults bench browser flower fig5 clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

run: $(STAMP)
	$(BIN)/fedsim run quickstart

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow --timeout 3600

# Every scenario that ships, held byte for byte against digests of an earlier version.
digests: $(STAMP)
	$(BIN)/python tests/digests/compare.py

faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults -m 'slow or not slow' -n 2 --timeout 3600

bench: $(STAMP)
	@for script in analysis/benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# Chromium for the tests that look at pages; without one they are skipped.
browser:
	command -v chromium || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

flower: $(STAMP)
	$(BIN)/python -m pytest tests/flower -m 'slow or not slow' --timeout 600

fig5: $(STAMP)
	$(BIN)/python analysis/fig5.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
