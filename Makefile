# A fresh machine needs Python 3.10 or later (with venv) and make; everything else goes into .venv.

PYTHON ?= python3
# Test processes side by side.
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# To bytecode, as pip does where an installation is not editable: without, and where Python may not write any
# (PYTHONDONTWRITEBYTECODE), each process takes 0.4 s more to start.
COMPILE := $(BIN)/python -m compileall -q tahr

# One BLAS thread each: the test processes share the cores already.
test test-all fuzz: export OPENBLAS_NUM_THREADS = 1
# pyright's wrapper would print a notice for each newer release; pyproject.toml chooses the release.
test test-all lint: export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.PHONY: demo test test-all fuzz bench lint format clean

# Trains a network on real images. ARGS reaches the program: make demo ARGS="--data digits"
demo: $(VENV)/.demo
	$(BIN)/tahr demo $(ARGS)

test: lint
	$(PYTEST) -q -n $(JOBS) -m "not slow"

test-all: lint
	$(PYTEST) -q -n $(JOBS)

# The property tests only, with many more examples and fresh random choices.
fuzz: $(VENV)/.dev
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -q -n $(JOBS) -m hypothesis --timeout=3600

# docs/benchmarks.md tells what ARGS may say: make bench ARGS="workloads --only W3,W5 --peers torch".
# The variables would hold a current OpenBLAS to an older processor's kernels.
bench: $(VENV)/.dev
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check . || { echo "run 'make format'"; exit 1; }
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written when its step has succeeded; a change of pyproject.toml installs again.
$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.created
	$(PIP) --editable '.[demo]'
	$(COMPILE)
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.created
	$(PIP) --editable '.[demo,test,dev]'
	$(COMPILE)
	@touch $@ $(VENV)/.demo
