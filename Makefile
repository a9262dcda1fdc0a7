# Each command sets up what it needs in .venv, once; `make help` lists them.

PYTHON  ?= python3
WORKERS ?= 2
DEMO     = minillm train lm --out runs/demo --max-seconds 110 --overwrite
SAMPLE   = minillm generate runs/demo --prompt "The "

BIN     = .venv/bin
INSTALL = @echo "installing into .venv, this once ..."; \
          $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
SETUP   = pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' Makefile

demo: .venv/.stamp-core ## train the article's model on real text for two minutes, then sample from it
	$(BIN)/$(DEMO)
	$(BIN)/$(SAMPLE)

test: .venv/.stamp-test ## every test, the slow ones too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: .venv/.stamp-lint ## ruff, mypy and the house's import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.stamp-bench ## the engine beside hand-written NumPy, torch, autograd and MyGrad
	$(BIN)/python benchmarks/engine.py

clean: ## remove .venv and caches; runs/ stays
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than the files that say what to install, so a second run calls no pip.

.venv/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "minillm needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "this Python cannot make a venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.stamp-core: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e .
	@touch $@

.venv/.stamp-test: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[test]"
	@touch $@ .venv/.stamp-core

.venv/.stamp-lint: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[lint]"
	@touch $@ .venv/.stamp-core

.venv/.stamp-bench: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[bench]"
	@touch $@ .venv/.stamp-core
