# The two commands of a fresh machine are `make demo` and `make test`; both install first.
PYTHON ?= python3
BIN := .venv/bin
# Compiled modules are kept, whatever the shell says: without, every process compiles torch anew.
export PYTHONDONTWRITEBYTECODE :=
# uv installs in a sixth of pip's time; where it cannot be had, pip does.
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python
PIP = $(BIN)/python -m pip install --quiet

.PHONY: demo test slow check bench clean

demo: .venv/installed
	$(BIN)/quire demo --out out/demo

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

slow: .venv/installed  # tests of minutes, with a line for each
	$(BIN)/python -m pytest -m slow -v $(ARGS)

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks.streaming --out out/benchmarks/streaming.json
	$(BIN)/python -m benchmarks.writing --out out/benchmarks/writing.json
	$(BIN)/python -m benchmarks.corruptions --out out/benchmarks/corruptions.json
	$(BIN)/python -m benchmarks.memory --out out/benchmarks/memory.json
	$(BIN)/python -m benchmarks.training --out out/benchmarks/training.json
	$(BIN)/python -m benchmarks.graph_properties --out out/benchmarks/graph_properties.json
	$(BIN)/python -m benchmarks.sparse --out out/benchmarks/sparse.json
	$(BIN)/python -m benchmarks.segmix --out out/benchmarks/segmix.json

clean:
	rm -rf .venv out

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(PIP) --constraint constraints.txt uv || true
	$(UV) --constraint constraints.txt --editable ".[dev]" || \
		$(PIP) --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv/installed-bench: .venv/installed
	$(PIP) --constraint constraints.txt --editable ".[bench]"
	$(PIP) --constraint constraints.txt --no-deps imagecorruptions  # it wants another OpenCV
	touch $@
