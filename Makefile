# Every command a person runs. Needs Python 3.11+ and make; the rest is fetched into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

# The machine's own python3 if it will do, else the newest one that every wheel in requirements.lock exists for.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
	&& echo "$$python" && break; done)
BIN := .venv/bin
# Even where the shell forbids it: a server that starts in seconds compiles its own code once, not at every start.
export PYTHONDONTWRITEBYTECODE :=
PACKAGES := $(wildcard svc_kit graph_svc media_svc rank_svc feed_svc gateway launcher)
CHECKED := $(PACKAGES) $(wildcard tests scripts deploy/servers deploy/*.py bench)

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: env
env:
	@test -n "$(PYTHON)" || { echo "Reelgraph needs Python 3.11 to 3.14 on PATH" >&2; exit 1; }
	@"$(PYTHON)" -m scripts.setup

.PHONY: setup
setup: env gen ## the environment .venv, locked, with the stubs and the project in it

.PHONY: gen
gen: env ## stubs from proto/ and the base model, where their inputs changed
	@$(BIN)/python -m scripts.gen

.PHONY: web
web: env ## the explorer page (GraphiQL) and the player, offline
	@$(BIN)/python -m scripts.build_web

.PHONY: demo
demo: gen web ## a small world on this machine, served until Ctrl-C (again: the same world)
	@exec $(BIN)/reelgraph demo

.PHONY: clean-demo
clean-demo: ## forget the demo's world
	rm -rf .demo

.PHONY: test
test: gen web ## every test that needs no server of its own
	$(BIN)/pytest -q -n 2 --dist loadgroup

.PHONY: servers
servers: env ## every production engine on loopback (ONLY=neo4j,kafka: just these); see deploy/servers
	@$(BIN)/python -m deploy.servers start $(ONLY)

.PHONY: servers-stop
servers-stop: env ## stop them; what they hold stays
	@$(BIN)/python -m deploy.servers stop $(ONLY)

.PHONY: servers-status
servers-status: env ## which of them run, where, in how much memory
	@$(BIN)/python -m deploy.servers status $(ONLY)

.PHONY: test-servers
test-servers: gen web servers ## the contract and integration suites against them, with a closing line an engine
	@$(WITH_SERVERS) $(BIN)/pytest -q -n 2 --dist loadgroup -m 'servers and not soak' $(AGAIN)

# What needs the real servers reads their addresses from here.
WITH_SERVERS = source "$${REELGRAPH_SERVERS_DIR:-.servers}/env" &&
ENGINES ?= embedded

.PHONY: smoke
smoke: gen web $(if $(filter production,$(ENGINES)),servers) ## the platform walked as a client (ENGINES=production: on the real servers)
	@$(if $(filter production,$(ENGINES)),$(WITH_SERVERS)) ENGINES=$(ENGINES) $(BIN)/python -m tests.e2e.smoke

.PHONY: kills
kills: gen web servers ## on the real servers, under load: five SIGKILLs, and a rolling restart that fails no request
	@$(WITH_SERVERS) $(BIN)/pytest -q -rA -m 'production and not soak'

.PHONY: faults
faults: gen web ## each real server silent, then killed, under load: the table of docs/reliability.md (ONLY=s3,kafka: just these)
	@$(MAKE) --no-print-directory servers ONLY=
	@$(WITH_SERVERS) $(BIN)/python -m tests.e2e.faults --write $(ONLY)

.PHONY: soak
soak: gen web servers ## the long repetitions: SIGKILLs by the hundred, embedded and on the real servers
	@$(WITH_SERVERS) $(BIN)/pytest -q -rA -m soak --timeout 5400

.PHONY: fmt
fmt: gen ## format Python and protos, sort imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format -w

.PHONY: lint
lint: gen ## ruff, mypy strict, import rules, buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python -m scripts.buf_breaking

.PHONY: wheels
wheels: gen web ## both distributions into dist/
	@$(BIN)/python -m scripts.wheels dist

.PHONY: lock
lock: env ## resolve requirements.lock and the stubs' toolchain again
	@"$(PYTHON)" -m scripts.lock

.PHONY: clean
clean: ## what was built; not .venv, not the demo, not the servers
	rm -rf build dist stubs/dist rank_svc/models/base web/dist gateway/explorer/dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -f .venv/.reelgraph-stubs .venv/.reelgraph-base-model
