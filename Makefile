# Two commands do all the set-up from a bare clone: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The CPU build of torch: from a wheel folder where one is given, else from the index that uv knows for it.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
else
export UV_TORCH_BACKEND ?= cpu
endif
# Byte code is kept, or every start would compile two thousand modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all test-browser pictures check bench bench-recs bench-sessions bench-demand bench-pricing bench-optimiser bench-gate bench-desk bench-experiments format lock install clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or sys.exit(f"Shopwright needs Python 3.11, this is {v[0]}.{v[1]}. Try: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet "uv>=0.9"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install
	$(BIN)/shopwright demo

test: install
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: install
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# In the Chromium of the machine: apt-get install chromium.
test-browser: install
	$(BIN)/pytest -m browser

# The pictures of the user guide, taken anew.
pictures: install
	$(BIN)/python -m tests.pictures

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m tests.benchmarks

bench-recs: install
	$(BIN)/python -m tests.benchmarks.recommendations

# Public sets are not part of the repository: make bench-sessions DATA=FOLDER.
bench-sessions: install
	$(BIN)/python -m tests.benchmarks.public_sets $(if $(DATA),--data $(DATA))

bench-demand: install
	missed=0; for part in small_shops demand; do $(BIN)/python -m tests.benchmarks.$$part || missed=1; done; exit $$missed

bench-pricing: bench-optimiser
	$(BIN)/python -m tests.benchmarks.pricing

bench-gate: install
	$(BIN)/python -m tests.benchmarks.gate

bench-desk: install
	$(BIN)/python -m tests.benchmarks.desk

bench-optimiser: install
	$(BIN)/python -m tests.benchmarks.optimiser

bench-experiments: install
	$(BIN)/python -m tests.benchmarks.experiments $(if $(CASES),--cases $(CASES))

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pins every dependency anew. The local build tag of torch is dropped, so that any machine finds its own build.
lock:
	$(BIN)/uv pip compile pyproject.toml --group dev --python-version 3.11 --no-header \
		--no-emit-find-links --no-emit-index-url --quiet --upgrade --output-file requirements.lock
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock

clean:
	rm -rf $(VENV) .shopwright
