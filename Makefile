# Needs Python (3.10 to 3.14), git and make. Everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-script-location

.PHONY: demo test test-main test-matrix lint docs clean

demo: $(VENV)/installed  ## The checker on a faulty module, then on the correct one.
	@echo '$$ nalu-lint examples/faux_nac.py'
	@$(BIN)/nalu-lint examples/faux_nac.py; test $$? -eq 1
	@echo
	@echo '$$ nalu-lint --explain NAL001'
	@$(BIN)/nalu-lint --explain NAL001
	@echo
	@echo '$$ nalu-lint examples/nac.py'
	@$(BIN)/nalu-lint examples/nac.py

test: test-main test-matrix  ## All tests; torch is needed by some and used where it can be had.

test-main: $(VENV)/tested
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-matrix: $(VENV)/tested  ## The checker, without torch, on every other Python found here.
	$(PYTHON) tests/matrix.py

lint: $(VENV)/linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/nalu-lint .

docs: $(VENV)/tested  ## The documentation, into build/site; a broken link is an error.
	$(BIN)/mkdocs build --strict --quiet

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed tests/requirements-torch.txt reference/pyproject.toml
	$(PIP) --editable '.[test]'
	$(PIP) -r tests/requirements-torch.txt && $(PIP) --no-deps --editable ./reference || \
		echo 'the pinned torch is not to be had for this Python: tests that need it are skipped'
	@touch $@

$(VENV)/linted: $(VENV)/tested
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .venvs build dist
