# The same commands that .ci/run uses. Every target sets up the environment first.
PYTHON ?= $(shell .ci/find-python)
VENV := .venv
STAMP := $(VENV)/.complete
PYTEST = $(VENV)/bin/python -m pytest -n 4 --dist loadgroup -rsfE
COMPILE := --compile-bytecode
# Some images forbid it; without it, each of the many processes compiles karat anew.
export PYTHONDONTWRITEBYTECODE :=
# Tests in which a version of Python shows, and that start no Ray.
QUICK := system space journal schedulers samplers datasets statistics cli/test_main.py attention/test_operator.py test_wheel.py

.PHONY: run test test-all test-quick test-other-python test-cluster check lint bench evidence chaos requirements clean

run: $(STAMP)
	$(VENV)/bin/python launch.py --space search_spaces/fourier_grid.yaml

# Four at a time, since most of the long ones wait. Without the tests marked slow or cluster (pyproject.toml says which those are).
test: $(STAMP)
	$(PYTEST) -m "not slow and not cluster"

# All tests, as CI runs them. Those on a real Slurm of two nodes and on a real Ray cluster with PostgreSQL and
# MLflow need root, slurm-wlm, munge, iproute2 and postgresql: without them they are skipped, and with
# `make test-all CLUSTER=1` they fail. The tests of the report's page in Chromium do the same with BROWSER=1.
test-all: $(STAMP)
	$(PYTEST)

# A part of `make test` that takes a minute.
test-quick: $(STAMP)
	$(PYTEST) -m "not slow and not cluster" $(QUICK:%=tests/%)

# The same on another version of Python, where the machine has one; in an environment of its own, of which
# only what is imported is compiled to bytecode.
test-other-python: $(STAMP)
	@version=$$($(VENV)/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	other=$$(.ci/find-python $$version); \
	if [ -n "$$other" ]; then $(MAKE) VENV=.venv-not-$$version PYTHON=$$other COMPILE= test-quick; \
	else echo "skipped: beside $$version there is no Python from 3.11 to 3.13 here"; fi

# Only the cluster tests, in ten minutes.
test-cluster: $(STAMP)
	$(VENV)/bin/python -m pytest -m cluster -rsfE

check: lint
	$(VENV)/bin/python -m pytest tests/test_architecture.py

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Compares kernels with softmax, the engines, then loaders: some five minutes on an idle machine.
bench: $(STAMP)
	$(VENV)/bin/python -m benchmarks.attention --sweep short --rounds 5 --out benchmarks/results
	$(VENV)/bin/python -m benchmarks.search --trials 40
	$(VENV)/bin/python -m benchmarks.loader

# Whole studies with a known truth, simulated: do verdicts keep what they promise? Some 4,400 studies.
evidence: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.evidence --out docs/evidence.md

# A real study whose processes are killed again and again: ten minutes.
chaos: $(STAMP)
	$(VENV)/bin/python -m tests.faults.chaos --kills 20 --seed 0

# Bytecode is compiled here once, instead of by every worker process when it starts.
# karat itself is installed as a link to this folder, for `import karat` and $(VENV)/bin/karat from anywhere.
$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "karat needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "setting up $(VENV): about a minute, 7 GB"
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv=uv; \
	else \
		$(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install --quiet uv && uv=$(VENV)/bin/uv; \
	fi && $$uv pip install --quiet $(COMPILE) --python $(VENV)/bin/python -r requirements.txt && \
	$$uv pip install --quiet --no-deps --no-build-isolation --python $(VENV)/bin/python --editable .
	@$(VENV)/bin/python -m karat.attention.kernels._compiled
	@touch $@

# Only when a dependency in pyproject.toml changes. Markers cover all Python versions from 3.11.
requirements:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--no-emit-index-url --no-header --quiet -o requirements.txt

clean:
	rm -rf $(VENV) .venv-not-* .mypy_cache .ruff_cache .pytest_cache
