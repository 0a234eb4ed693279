# Everything starts here; `make help` lists it. The work is done by the programs called.

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-slow test-peers bench check up down status logs psql lock

# The Python that makes .venv: the first that is 3.11 to 3.13, else the first newer one.
# Candidates are run, not only looked for: a launcher may exist and fail. PYTHON=… overrides.
CANDIDATES := python3 python3.13 python3.12 python3.11
probe = for p in $(1); do \
    "$$p" -I -c 'import sys; $(2) or sys.exit(1); print(sys.executable)' 2>/dev/null && break; done
newer := sys.version_info >= (3, 11)
tried := (3, 11) <= sys.version_info < (3, 14)

VENV_PYTHON := .venv/bin/python
RUN = PYTHONPATH=plugins $(VENV_PYTHON) -m candlevault.local
BOOTSTRAP = plugins/candlevault/local/bootstrap.py
ifeq ($(origin PYTHON),undefined)
find_python = $$($(call probe,$(CANDIDATES),$(tried))); [ "$$python" ] || python=$$($(call probe,$(CANDIDATES),$(newer)))
no_python = found no Python 3.11 or newer (tried $(CANDIDATES)); install one
else
find_python = $$($(call probe,"$(PYTHON)",$(newer)))
no_python = $(PYTHON) is no Python 3.11 or newer; install one
exact := --exact
endif
require_venv = [ -x $(VENV_PYTHON) ] || { echo "candlevault: nothing is set up here yet; start with: make up" >&2; exit 1; }
define bootstrap
@python=$(find_python); if [ -z "$$python" ]; then \
    echo "candlevault: $(no_python) or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
    exec "$$python" -I -B $(BOOTSTRAP) $(exact) $(1)
endef
# The files share the processors; the tests of the whole system, which fills them, come after.
IN_PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile

define setup_peers
@for pins in $(1); do \
    tool=$$(basename $$pins .txt); home=.peers/$$tool; \
    cmp -s $$pins $$home/installed.txt && continue; \
    echo "setting up $$tool in $$home"; rm -rf $$home; \
    $(VENV_PYTHON) -m venv $$home && $$home/bin/python -m pip install -qq -r $$pins && \
    cp $$pins $$home/installed.txt || { rm -rf $$home; echo "$$tool cannot be set up here" >&2; }; \
done
endef

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  CANDLEVAULT_HOME (.candlevault), CANDLEVAULT_API_PORT (8080), CANDLEVAULT_PG_PORT (54329)"
	@echo "  and EXCHANGE (auto, live, simulated, replay:DIR) choose where and on what data it runs."

setup:  ## make .venv with everything the system needs; nothing to do if it is current
	$(call bootstrap)

setup-dev:
	$(call bootstrap,--dev)

demo: setup  ## the whole story: set up, start, load candles, validate, run a backtest
	@$(RUN) demo

test: setup-dev  ## run all tests (ARGS="tests/local -k postgres" for some)
ifdef ARGS
	@$(VENV_PYTHON) -m pytest $(ARGS)
else
	@$(VENV_PYTHON) -m pytest --ignore=tests/system $(IN_PARALLEL); status=$$?; \
	    $(VENV_PYTHON) -m pytest tests/system && exit $$status
endif

test-slow: setup-dev  ## run the long fault tests that `make test` leaves out
	@$(VENV_PYTHON) -m pytest -m slow $(ARGS)

test-peers: setup-dev  ## hold exports and backtests against other tools, set up in .peers (4 GB)
	$(call setup_peers,tests/export/peers/*.txt tests/backtest/peers/*.txt)
	@$(VENV_PYTHON) -m pytest -m slow tests/export/test_export_peers.py tests/backtest/test_backtest_peers.py $(ARGS)

bench: setup-dev  ## time it beside other tools, set up in .peers (SUBJECTS="backtest": only those)
	$(call setup_peers,tests/backtest/peers/*.txt)
	@PYTHONPATH=plugins:. $(VENV_PYTHON) -m benchmarks $(SUBJECTS)

check: setup-dev  ## lint, then all tests
	@$(VENV_PYTHON) -m ruff check .
	@$(MAKE) --no-print-directory test

up: setup  ## start the system and wait until it is healthy (FOREGROUND=1: stay, Ctrl-C stops it)
	@$(RUN) up $(if $(FOREGROUND),--foreground)

down:  ## stop the system and everything it left behind
	@if [ -x $(VENV_PYTHON) ]; then $(RUN) down; else echo "nothing to stop: nothing is set up here"; fi

status:  ## show the processes; fails unless all are up and healthy
	@$(require_venv); $(RUN) status

logs:  ## show the end of the logs (FOLLOW=1: go on; SERVICE=scheduler: only that one)
	@$(require_venv); $(RUN) logs $(if $(FOLLOW),--follow) $(SERVICE)

psql:  ## open psql on the market database (SQL="select …": run that)
	@$(require_venv); $(RUN) psql $(if $(SQL),--sql "$$SQL")

lock:  ## resolve the requirements*.in files into lock files (needs uv; UPGRADE=1: newest versions)
	@command -v uv >/dev/null || { echo "candlevault: make lock needs uv: pip install uv" >&2; exit 1; }
	@for name in requirements requirements-dev; do \
	    sed '/^#/d' $$name.txt > $$name.lock && \
	    uv pip compile --quiet --universal --no-header --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	        $$name.in -o $$name.lock && \
	    { echo "# Locked for Python 3.11 to 3.13 from $$name.in by \`make lock\`."; cat $$name.lock; } > $$name.txt; \
	    status=$$?; rm -f $$name.lock; [ $$status = 0 ] || exit $$status; \
	done
