# `make demo` and `make test` are all one needs to know.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPEED ?= max
RUNS ?= 200
SECONDS ?= 600
CONFIG := etc/audiohookd.minimal.toml

.PHONY: help demo run test lint docs functional bare crash fuzz attack bench bench-full coverage lock clean always

help:
	@echo "make demo    one recorded call, end to end (SPEED=1: in real time; S3=1: to a bucket)"
	@echo "make run     serve calls until Ctrl-C"
	@echo "make test    linters, documents and all tests"
	@echo "make docs    the documents as HTML, in build/html"
	@echo "make crash   kill the daemon under live calls (RUNS=200; POWER=1: with the power of an ext4, as root;"
	@echo "             OUTAGE=600 or SLOW=600: the store is away, or slow, for so many seconds)"
	@echo "make fuzz    bytes that break promises, looked for by coverage (SECONDS=600, of each of five targets)"
	@echo "make attack  floods of authentic sessions, 10,000 half-open connections, hostile plugins and texts, smuggling,"
	@echo "             refused threads, large files, and loss of power (as root): beside calls, with the times of these"
	@echo "make bench   what calls and uploads cost, a look of some minutes (make bench-full: the figures)"
	@echo "make bare    demo and test in fresh Debian roots with only what README names (SUITES='bookworm trixie',"
	@echo "             TARGETS='demo test'; as root, with debootstrap)"
	@echo "make lock    requirements*.lock from setup.cfg (UPGRADE=1: with the newest versions)"

# What the times of files do not tell: which Python it is, and that a file came or went. Such a note is looked after
# always, and written only when it would say something else.
note = mkdir -p $(@D) && { $(1) > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

build/.python: always
	@$(call note,$(PYTHON) -c 'import sys; print(sys.base_prefix + " " + sys.version)' 2>/dev/null)

build/.files: always
	@$(call note,find audiohookd plugins -name '*.py' -o -name '*.toml' -o -name py.typed | sort)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The environment of the daemon and its test client: the versions of the lock, by hash. Made again when the lock or the
# Python changes.
$(VENV)/.dependencies: requirements-call.lock build/.python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "audiohookd needs Python 3.11 or newer as $(PYTHON) (Debian: apt install python3)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "audiohookd needs Python's venv module (Debian: apt install python3-venv)"; exit 1; }
	@echo "making the environment in $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements-call.lock
	@touch $@

# What tests, linters, benchmarks and documents need besides: four times as much.
DEV := $(VENV)/.dev-dependencies
$(DEV): requirements-dev.lock $(VENV)/.dependencies
	@echo "installing what the tests and the documents need in $(VENV)"
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

# The project itself, as a link farm to the checkout (twistd cannot see other editable installs' plugins). Links to
# files that are gone must not stay.
$(VENV)/.project: $(VENV)/.dependencies build/.files setup.cfg setup.py pyproject.toml audiohookd/__init__.py \
  audiohookd/websocket/fastpath/_frames.c
	@rm -rf build/__editable__.* *.egg-info
	@$(PIP_INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	@touch $@

# The benchmarks' own; without a compiler they use Python.
SPEECH := bench/generator/_speech.abi3.so
$(SPEECH): bench/generator/_speech.c $(VENV)/.dependencies
	@include=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	if command -v $(CC) >/dev/null && [ -e $$include/Python.h ]; then \
	  $(CC) -O3 -shared -fPIC -I$$include -o $@ $<; \
	else \
	  echo "no C compiler, or no Python.h: the calls of the benchmarks cost more (Debian: apt install gcc python3-dev)"; \
	fi

# The daemon takes no keys that everybody can read, and in a clone everything can be.
var/keys.json: etc/keys.sample.json
	@mkdir -p $(@D)
	@install -m 0600 $< $@

demo: $(VENV)/.project $(if $(S3),$(DEV)) var/keys.json
	@$(BIN)/python -m tests.demo --config $(CONFIG) --wav tests/audio/call.wav --speed $(SPEED) $(if $(S3),--s3)

run: $(VENV)/.project var/keys.json
	@$(BIN)/twistd --nodaemon --pidfile= audiohookd --config $(CONFIG)

# What starts no daemon in as many processes as there are processors; the rest in two, for it counts time: one sleeps
# mostly while the other works.
test: lint docs $(SPEECH)
	@$(BIN)/python -m pytest -q -n auto -m "not functional"
	@$(BIN)/python -m pytest -q -n 2 -m functional

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

# The two commands as a new user runs them.
SUITES ?= bookworm trixie
TARGETS ?= demo test
bare:
	@tests/bare.sh "$(SUITES)" "$(TARGETS)"

# Whether anything gets lost, whatever dies: minutes of it. A short form is among the tests.
crash: $(VENV)/.project $(DEV)
	@$(BIN)/python -m tests.crash --runs $(RUNS) $(if $(SEED),--seed $(SEED)) $(if $(POWER),--power $(POWER:1=ext4)) \
	  $(if $(LEEWAY),--leeway $(LEEWAY)) $(if $(OUTAGE),--outage $(OUTAGE)) $(if $(SLOW),--slow $(SLOW))

# What is found of interest stays in build/fuzz, and the next run goes on from there; so do bytes that break a promise.
fuzz: $(VENV)/.project $(DEV)
	@for target in signatures messages frames heads; do \
	  echo "$$target, $(SECONDS) s"; \
	  $(BIN)/python -m tests.fuzz.fuzzer $$target build/fuzz/$$target $(SECONDS) || exit; \
	done

# Of `make test` what can be had in a larger form, and says what it measured.
attack: $(VENV)/.project $(DEV)
	@FLOODERS="60 150" FLOOD_SECONDS=5 HALF_OPEN=10000 $(BIN)/python -m pytest -q -s $(addprefix tests/functional/test_, \
	  flooded_daemon.py admin_port.py half_open.py smuggling.py refusal_times.py hostile_text.py refused_threads.py \
	  second_sigterm.py blocks.py)
	@$(BIN)/python -m pytest -q tests/session/test_plugin_boundary.py tests/spool/test_large_sidecar.py
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python -m tests.crash --runs 10 --power ext4 --leeway 1; \
	else echo "the loss of power on ext4 is left out: it needs root"; fi

# Results in build/bench. The full form wants a machine that does nothing else.
bench: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m bench; status=$$?; $(BIN)/python -m bench.upload --pairs 1 && exit $$status

bench-full: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m bench --full; status=$$?; $(BIN)/python -m bench.upload --pairs 7 && exit $$status

coverage: $(VENV)/.project $(DEV) $(SPEECH)
	@$(BIN)/python -m coverage run -m pytest -q -m "not functional"
	@$(BIN)/python -m coverage report --skip-covered

# Every version and hash, for all supported Pythons: of the daemon, of `audiohookctl call` besides, of all that tests need.
# The first two are taken from the third, so that a version is the same in all of them.
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
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .coverage var audiohookd/websocket/fastpath/*.so bench/generator/*.so
