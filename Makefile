# `make demo` and `make test` are all one needs to know.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPEED ?= max
CONFIG := etc/audiohookd.minimal.toml
SOURCES := $(shell find audiohookd plugins -name '*.py' -o -name '*.toml' 2>/dev/null)

.PHONY: help demo run test lint functional coverage lock clean

help:
	@echo "make demo    one recorded call, end to end (SPEED=1: in real time)"
	@echo "make run     serve calls until Ctrl-C"
	@echo "make test    linters and all tests"
	@echo "make lock    renew requirements.lock"

# The environment: what the lock says, by hash. Made again when the lock changes.
$(VENV)/.dependencies: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "audiohookd needs Python 3.11 or newer as $(PYTHON) (Debian: apt install python3)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "audiohookd needs Python's venv module (Debian: apt install python3-venv)"; exit 1; }
	@echo "making the environment in $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r requirements.lock
	@touch $@

# The project itself, as a link farm to the checkout (twistd cannot see other editable installs' plugins).
$(VENV)/.project: $(VENV)/.dependencies setup.cfg pyproject.toml $(SOURCES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=strict --editable .
	@touch $@

demo: $(VENV)/.project
	@$(BIN)/python tests/demo.py --config $(CONFIG) --wav tests/audio/call.wav --speed $(SPEED)

run: $(VENV)/.project
	@$(BIN)/twistd --nodaemon --pidfile= audiohookd --config $(CONFIG)

test: lint
	@$(BIN)/python -m pytest -q

lint: $(VENV)/.project
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

functional: $(VENV)/.project
	@$(BIN)/python -m pytest -q -m functional

coverage: $(VENV)/.project
	@$(BIN)/python -m coverage run -m pytest -q -m "not functional"
	@$(BIN)/python -m coverage report --skip-covered

# Every version and hash that the environment is made of, for all supported Pythons.
lock:
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet uv
	@$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --all-extras --output-file requirements.lock setup.cfg
	@rm -rf $(VENV)-lock

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .coverage var
