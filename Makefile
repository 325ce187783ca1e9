# `make demo` and `make test` are all that a clone needs; both set everything up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-clients client-results conformance check fix unit lock bench models simulate

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml tools/install.sh
	@tools/install.sh $(PYTHON)
	@touch $@

demo: install  ## run the main job end to end and leave the server up
	@$(BIN)/python examples/demo.py

test: install check  ## everything that a change must pass
	@tools/install_podman.sh
	$(BIN)/pytest tests/unit -n auto
	$(BIN)/pytest tests/machine -n 2 --dist loadfile

test-clients: install  ## the official clients, unmodified, each in its own environment
	$(BIN)/pytest tests/clients

client-results: install  ## run the clients, and write their results for docs/conformance.md
	$(BIN)/pytest tests/clients/test_clients.py --publish

unit: install  ## the quick part of the tests
	$(BIN)/pytest tests/unit

conformance: install  ## write docs/conformance.md
	$(BIN)/python tools/conformance.py

check: install  ## style, types, the rules of who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

fix: install  ## mend what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## measure; prints tables with ratios
	@$(BIN)/python -m bench

SEEDS ?= 100000
FIRST ?= 0
simulate: install  ## look for seeds that break a promise, on all cores
	@$(BIN)/python -m penstock.testing.simulation $(SEEDS) $(FIRST)

models: install  ## cut the service models out of the installed botocore again
	$(BIN)/python tools/trim_models.py

LOCK := uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --upgrade

lock: install  ## choose newer versions of all packages, those of the clients too
	$(BIN)/$(LOCK) --extra server --group dev pyproject.toml -o requirements.lock
	cd tests/clients/locks && for client in *.in; do \
		own=; [ $$client = penstock.in ] && own=../../../pyproject.toml; \
		../../../$(BIN)/$(LOCK) $$client $$own -o $${client%.in}.lock || exit 1; done
