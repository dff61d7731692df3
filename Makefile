# Each target sets up what it needs in a fresh clone with Python 3.11 or later, pip, make and git alone.
#   make demo    the whole story on the shipped example market      make bench   the tables in bench/
#   make test    every test                                           make lint    style and types

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
# Where the system's Python comes without ensurepip, the system's pip fills the environment from outside.
PIP     = $(if $(wildcard $(VENV)/bin/pip),$(RUN) -m pip,$(PYTHON) -m pip --python $(VENV))
QUIET  := --quiet --disable-pip-version-check
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test bench lint clean
.DEFAULT_GOAL := demo

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); }

# Run time and the compiled kernels; where no numba wheel exists the plain Python path does the same work, slower.
$(VENV)/run.stamp: pyproject.toml | $(RUN)
	@echo "installing marginseal into $(VENV) (once)"
	@$(PIP) install $(QUIET) --only-binary numba,llvmlite -e '.[fast]' || \
	  { echo "no numba wheel for this Python: going on without the compiled kernels, about ten times slower"; \
	    $(PIP) install $(QUIET) -e .; }
	@echo "compiling the kernels (once)"
	@$(RUN) -c 'from marginseal.algebra.vectors_numba import warm_up; warm_up()' 2>/dev/null || true
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	@echo "installing what the tests need into $(VENV) (once)"
	@$(PIP) install $(QUIET) -e '.[test]'
	@touch $@

demo: $(VENV)/run.stamp
	@$(VENV)/bin/marginseal demo

test: $(VENV)/test.stamp
	@$(RUN) -m pytest -n 2 --dist loadfile

lint: $(VENV)/test.stamp
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

bench: $(VENV)/run.stamp
	@$(RUN) bench/tables.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
