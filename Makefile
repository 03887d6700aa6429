# Every verb sets up what it needs, with nothing but Python >= 3.11 on the machine.
#   make run       the server and a sandbox provider on loopback, with what to type next
#   make test      the whole test suite
#   make demo      the story in the terminal; ends by itself
#   make check     lint, types, layers, house rules
NEW_ENOUGH := 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c $(NEW_ENOUGH) >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := tests/peers/node/node_modules/ready

# Some images set it. Without bytecode every start compiles everything anew: `valetkey token` takes 0.4 s, not 0.1.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help bootstrap peers run test simulate check format bench fuzz torture docs demo clean

help: ## show the verbs
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

bootstrap: $(READY) ## create .venv and install everything (quick when nothing changed)

$(READY): pyproject.toml constraints.txt
	@python="$(PYTHON)"; test -n "$$python" && "$$python" -c $(NEW_ENOUGH) 2>/dev/null \
	|| { echo "valetkey: no Python >= 3.11 with venv found; install one, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV)
	@echo "valetkey: installing into $(VENV); the first time takes a minute or more"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

peers: $(PEERS) ## install the Node servers that the tests talk to (quick when nothing changed)

$(PEERS): $(addprefix tests/peers/,npm_ci.py node/package.json node/package-lock.json node/.npmrc) | $(READY)
	$(BIN)/python tests/peers/npm_ci.py
	@touch $@

run: $(READY) ## the server with a sandbox provider on loopback, and what to type next
	@$(BIN)/valetkey serve --try

test: $(READY) $(PEERS) ## the whole test suite (ARGS="-k refresh" to choose)
	$(BIN)/python -m pytest --numprocesses=auto $(ARGS)

simulate: $(READY) ## the simulation of the vault (SEED=7 STEPS=2000000; ARGS="--episode N" replays one)
	PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) $(ARGS)

check: $(READY) ## lint, types, layers, house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house

format: $(READY) ## let ruff tidy the tree
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## the speeds, as ratios against peers in the same run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,bench]" -c constraints.txt
	$(BIN)/python -m bench

fuzz: $(READY) ## look for tokens that break the verifier (SECONDS=60)
	$(BIN)/python tests/fuzz/fuzz_jose.py $(or $(SECONDS),60)

torture: $(READY) $(PEERS) ## the long forms: kill -9 by the hundred, outages in mid-load (docs/torture.md)
	TORTURE_KILLS=$(or $(KILLS),100) $(BIN)/python -m pytest -p no:randomly -s -v tests/torture tests/peers tests/vault \
	-k "kill_9 or lost_only or costs_no_grant or killed" $(ARGS)

docs: $(READY) ## write the generated parts of the docs anew
	$(BIN)/python docs/generate.py

demo: $(READY) ## the whole story in the terminal
	@$(BIN)/valetkey demo

clean: ## remove what the verbs made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage* htmlcov tests/peers/node/node_modules
