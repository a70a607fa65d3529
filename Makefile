# Every target sets itself up from a bare Python >= 3.11, in a private .venv.
#
# Another interpreter:          make demo PYTHON=python3.12
# Linux without the CUDA build: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
# A short look at a target:     make demo bench LIFELONG_GYM_QUICK=1

PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
FEDERATED := .venv-federated
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

RIVALS := bench
# Ratios are printed, which -rP shows.
BENCH_FLAGS := --benchmark-only -rP
ifdef LIFELONG_GYM_QUICK
# The rivals are looked up, but not installed; each benchmark runs once, untimed, at small sizes.
DEMO_FLAGS := --seeds 2 --sweeps 21
RIVALS := test
BENCH_ALSO := resolve
BENCH_FLAGS := --benchmark-disable -n 2
endif

# What is asked for at once shares one installation: the largest that any of it needs.
LARGEST := $(if $(filter test types resolve,$(MAKECMDGOALS)),test,demo)
ifneq ($(filter bench,$(MAKECMDGOALS)),)
LARGEST := $(RIVALS)
endif
READY := $(VENV)/$(LARGEST).stamp

.DEFAULT_GOAL := help
.PHONY: help demo test types bench lowest federated clean resolve FORCE

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: $(READY)  ## watch lifelong learning: fifty cart-poles, a table, a plot, an animation
	$(BIN)/lifelong demo $(DEMO_FLAGS)

test: $(READY)  ## lint, types, doctests, tests and examples
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: $(READY) $(BENCH_ALSO)  ## measure the speed, side by side with others
	$(BIN)/pytest benchmarks -o addopts=--strict-markers $(BENCH_FLAGS)

# What `make test` finds in mypy's cache afterwards.
types: $(READY)
	$(BIN)/mypy

# Old libraries don't know yet what newer ones beneath them have deprecated.
lowest: $(LOWEST)/stamp  ## the tests, on the lowest versions that pyproject.toml promises
	$(LOWEST)/bin/python -m pytest -W default::DeprecationWarning

# flwr wants older versions of four packages than the rest is tested with; its simulations run on ray.
federated: $(FEDERATED)/stamp  ## the tests of federated learning, and its example on Flower, in an environment for flwr
	$(FEDERATED)/bin/python -m pytest -n 0 tests/test_federated.py tests/test_learned_weights.py tests/test_flower.py

clean:  ## remove environments, caches and build output, but no results
	rm -rf $(VENV) $(LOWEST) $(FEDERATED) build dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that an installation went to its end. All stamps are removed before pip starts, so an interrupted
# installation leaves none, and an environment without any is built anew. So is one that was moved or has lost its
# interpreter: it no longer finds the package here. Each stamp includes those before it (demo, test, bench).
ifneq ($(shell cd / && "$(CURDIR)/$(BIN)/python" -c "from importlib.util import find_spec; print(find_spec('lifelong_gym').origin)" 2>/dev/null),$(CURDIR)/lifelong_gym/__init__.py)
UNSOUND := FORCE
endif

# A comma of its own would end an argument of `call`.
BENCH := .[test,benchmarks]

define install
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "lifelong_gym needs Python 3.11 or newer: make $(basename $(notdir $@)) PYTHON=/path/to/python3"; exit 1; }
	@if [ -n "$(UNSOUND)" ] || [ -z "$$(ls $(VENV)/*.stamp 2>/dev/null)" ]; then \
	  $(PYTHON) -m venv --clear $(VENV); fi
	@rm -f $(VENV)/*.stamp
	$(PIP) install -c constraints.txt -e "$(1)"
	@touch $(2)
endef

$(VENV)/demo.stamp: pyproject.toml constraints.txt $(UNSOUND)
	$(call install,.,$@)

$(VENV)/test.stamp: pyproject.toml constraints.txt $(UNSOUND)
	$(call install,.[test],$(VENV)/demo.stamp $@)

$(VENV)/bench.stamp: pyproject.toml constraints.txt $(UNSOUND)
	$(call install,$(BENCH),$(VENV)/demo.stamp $(VENV)/test.stamp $@)

# What the pages tell to install, and the tests don't.
resolve: $(READY)
	$(PIP) install --dry-run -c constraints.txt -e "$(BENCH)"
	$(PIP) install --quiet --dry-run pre-commit
	$(PIP) install --quiet --dry-run --no-deps 'universal-portfolios>=0.4.17'

$(LOWEST)/stamp: pyproject.toml constraints.txt tests/lowest.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install -c $(LOWEST)/constraints.txt -e ".[test]"
	@touch $@

$(FEDERATED)/stamp: pyproject.toml constraints-federated.txt
	$(PYTHON) -m venv --clear $(FEDERATED)
	$(FEDERATED)/bin/python -m pip --disable-pip-version-check install -c constraints-federated.txt \
	  -e ".[test,federated]" "flwr[simulation]"
	@touch $@
