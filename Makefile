# A new developer needs only `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPEED ?= max
RUNS ?= 200
SECONDS ?= 600
CONFIG := etc/audiohookd.minimal.toml

.PHONY: help demo run test lint docs functional bare crash fuzz attack bench bench-full coverage coverage-protocol lock clean always

help:
	@echo "make demo    record one call, end to end (SPEED=1: in real time; S3=1: upload it to a bucket)"
	@echo "make run     serve calls until Ctrl-C"
	@echo "make test    run linters and all tests"
	@echo "make coverage run the tests that start no daemon, and fail unless they reach every branch of protocol/"
	@echo "make crash   kill the daemon under live calls (RUNS=200; POWER=1: shut down an ext4, as root;"
	@echo "             OUTAGE=600 or SLOW=600: the store is unavailable, or slow, for this many seconds)"
	@echo "make fuzz    search for inputs that break guarantees, by coverage (SECONDS=600, for each target)"
	@echo "make attack  run calls during floods of authenticated sessions, 10,000 half-open connections, hostile plugins"
	@echo "             and texts, smuggling, refused threads, large files, and loss of power (as root); print the times"
	@echo "make bench   measure the cost of calls and uploads in some minutes (make bench-full: the exact figures)"
	@echo "make bare    run demo and test in fresh Debian roots with only the packages that README names"
	@echo "             (SUITES='bookworm trixie', TARGETS='demo test'; as root, with debootstrap)"
	@echo "make lock    write requirements*.lock from setup.cfg (UPGRADE=1: with the newest versions)"

# Timestamps do not show which Python is used, or that a file was added or removed. These notes do: they are checked on
# every run, and written only when their content changes.
note = mkdir -p $(@D) && { $(1) > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

build/.python: always
	@$(call note,$(PYTHON) -c 'import sys; print(sys.base_prefix + " " + sys.version)' 2>/dev/null)

build/.files: always
	@$(call note,find audiohookd plugins -name '*.py' -o -name '*.toml' -o -name py.typed | sort)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The environment of the daemon and its test client: the versions of the lock, verified by hash. It is rebuilt when the
# lock or the Python changes.
$(VENV)/.dependencies: requirements-call.lock build/.python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "audiohookd needs Python 3.11 or newer as $(PYTHON) (Debian: apt install python3)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "audiohookd needs Python's venv module (Debian: apt install python3-venv)"; exit 1; }
	@echo "creating the environment in $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements-call.lock
	@touch $@

# Further packages for tests, linters and benchmarks: four times as many bytes.
DEV := $(VENV)/.dev-dependencies
$(DEV): requirements-dev.lock $(VENV)/.dependencies
	@echo "installing the test dependencies in $(VENV)"
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

# The project itself, as a link farm to the checkout: twistd does not find the plugins of other editable installs. Links
# to removed files must not remain.
$(VENV)/.project: $(VENV)/.dependencies build/.files setup.cfg setup.py pyproject.toml audiohookd/__init__.py \
  audiohookd/websocket/fastpath/_frames.c
	@rm -rf build/__editable__.* *.egg-info
	@$(PIP_INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	@touch $@

# The compiled part of the benchmarks. Without a compiler they use Python.
SPEECH := bench/generator/_speech.abi3.so
$(SPEECH): bench/generator/_speech.c $(VENV)/.dependencies
	@include=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	if command -v $(CC) >/dev/null && [ -e $$include/Python.h ]; then \
	  $(CC) -O3 -shared -fPIC -I$$include -o $@ $<; \
	else \
	  echo "no C compiler or no Python.h: benchmark calls use more processor time (Debian: apt install gcc python3-dev)"; \
	fi

# The daemon rejects keys that all users can read, and in a clone all users can read every file.
var/keys.json: etc/keys.sample.json
	@mkdir -p $(@D)
	@install -m 0600 $< $@

demo: $(VENV)/.project $(if $(S3),$(DEV)) var/keys.json
	@$(BIN)/python -m tests.demo --config $(CONFIG) --wav tests/audio/call.wav --speed $(SPEED) $(if $(S3),--s3)

run: $(VENV)/.project var/keys.json
	@$(BIN)/twistd --nodaemon --pidfile= audiohookd --config $(CONFIG)

# Tests that start no daemon run in one process per processor. The others measure time, so they run in two processes: one
# mostly sleeps while the other works.
test: lint $(SPEECH)
	@$(BIN)/python -m pytest -q -n auto -m "not functional" --ignore tests/protocol
	@$(MAKE) --no-print-directory coverage-protocol
	@$(BIN)/python -m pytest -q -n 2 -m functional

# The tests of the protocol reach each of its branches.
coverage-protocol: $(VENV)/.project $(DEV)
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -q -n auto tests/protocol
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --include "audiohookd/protocol/*" --show-missing --skip-covered --fail-under 100

lint: $(VENV)/.project $(DEV)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

# All pages each time: a page that did not change may link to a title that did. Warnings are errors.
docs: $(VENV)/.project $(DEV)
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --write-all --conf-dir docs \
	  --doctree-dir build/doctrees --builder html . build/html

functional: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m pytest -q -n 2 -m functional

# Runs the two commands as a new user does.
SUITES ?= bookworm trixie
TARGETS ?= demo test
bare:
	@tests/bare.sh "$(SUITES)" "$(TARGETS)"

# Kills the daemon again and again, and checks that nothing is lost. Takes minutes; a short form is part of the tests.
crash: $(VENV)/.project $(DEV)
	@$(BIN)/python -m tests.crash --runs $(RUNS) $(if $(SEED),--seed $(SEED)) $(if $(POWER),--power $(POWER:1=ext4)) \
	  $(if $(LEEWAY),--leeway $(LEEWAY)) $(if $(OUTAGE),--outage $(OUTAGE)) $(if $(SLOW),--slow $(SLOW))

# Interesting inputs, and inputs that break a guarantee, stay in build/fuzz. The next run continues from them.
fuzz: $(VENV)/.project $(DEV)
	@for target in signatures messages frames heads proxy-headers; do \
	  echo "$$target, $(SECONDS) s"; \
	  $(BIN)/python -m tests.fuzz.fuzzer $$target build/fuzz/$$target $(SECONDS) || exit; \
	done

# The tests of `make test` that have a larger form, with their measurements printed.
attack: $(VENV)/.project $(DEV)
	@FLOODERS="60 150" FLOOD_SECONDS=5 HALF_OPEN=10000 $(BIN)/python -m pytest -q -s $(addprefix tests/functional/test_, \
	  flooded_daemon.py admin_port.py half_open.py smuggling.py refusal_times.py hostile_text.py refused_threads.py \
	  second_sigterm.py blocks.py)
	@$(BIN)/python -m pytest -q tests/session/test_plugin_boundary.py tests/spool/test_large_sidecar.py
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python -m tests.crash --runs 10 --power ext4 --leeway 1; \
	else echo "skipped the loss of power on ext4: it needs root"; fi

# Writes the results to build/bench. The full form needs a machine that does nothing else.
bench: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m bench; status=$$?; $(BIN)/python -m bench.upload --pairs 1 && exit $$status

bench-full: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m bench --full; status=$$?; $(BIN)/python -m bench.upload --pairs 7 && exit $$status

# The tests that start no daemon, with coverage of their subprocesses. It fails unless they reach every branch of the
# protocol.
coverage: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -q -n auto -m "not functional"
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --skip-covered
	@$(BIN)/python -m coverage report --include "audiohookd/protocol/*" --show-missing --skip-covered --fail-under 100

# Locks every version and hash, for all supported Pythons: for the daemon, for `audiohookctl call`, and for the tests. The
# first two locks are taken from the third, so that a package has the same version in all of them.
UV_COMPILE = $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate setup.cfg
lock:
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet uv
	@$(UV_COMPILE) $(if $(UPGRADE),--upgrade) --all-extras --output-file requirements-dev.lock
	@$(UV_COMPILE) --constraint requirements-dev.lock --extra all --extra build --output-file requirements.lock
	@$(UV_COMPILE) --constraint requirements-dev.lock --extra all --extra build --extra call \
	  --output-file requirements-call.lock
	@rm -rf $(VENV)-lock

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .coverage* var audiohookd/websocket/fastpath/*.so bench/generator/*.so
