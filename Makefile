# Specie. `make help` lists what there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The ledger's heart: not one branch of it goes untested.
HEART := transaction_service/domain/*,transaction_service/posting/*,audit_chain/*
COVERAGE_MIN := 93
# So many test files at a time, each with a PostgreSQL and a stack of its own: half of their time is waiting.
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install run demo test check gen format lock bench bench-large clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make the environment in .venv/, from requirements.lock

$(INSTALLED): requirements.lock pyproject.toml gen/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Specie needs Python 3.11 or later; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { \
		rm -rf $(VENV); echo "Python's venv module is incomplete; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@# setuptools warns at every editable install that it is one
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e gen -e .
	@touch $@

run: install ## Run the whole stack on 127.0.0.1:8080; Ctrl-C stops it, the data stays in .specie/
	@exec $(BIN)/specie up

demo: install ## A scripted tour against a throw-away stack
	@exec $(BIN)/specie demo

# Whatever the environment says, bytecode is kept: some hundreds of Python processes are started.
test: export PYTHONDONTWRITEBYTECODE =
test: install ## Run every test against real PostgreSQL and real Envoy, with branch coverage
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='$(HEART)' --fail-under=100
	$(BIN)/coverage report --fail-under=$(COVERAGE_MIN)

check: install ## Lint, types, imports, contract, generated code, migrations, gateway configuration
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf format --diff --exit-code proto
	@mkdir -p build
	$(BIN)/python -m proto.generate --image build/contract.binpb
	$(BIN)/buf lint build/contract.binpb --path specie
	$(BIN)/buf breaking build/contract.binpb --against proto/released.binpb --path specie
	$(BIN)/python -m proto.generate --check
	$(BIN)/python -m tests.kit.scratch $(BIN)/python -m migrations check
	$(BIN)/python -m specie_cli.stack.envoy_config --issuer https://issuer.example \
		--jwks https://issuer.example/.well-known/jwks.json --ratelimit-service 127.0.0.1:8081 > build/envoy.yaml
	$(BIN)/envoy --mode validate -l error -c build/envoy.yaml

gen: install ## Write gen/, the descriptor set and the OpenAPI document anew, from proto/
	$(BIN)/buf format --write proto
	$(BIN)/python -m proto.generate

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: install ## Write requirements.lock and the locks in deploy/ anew, from pyproject.toml
	@mkdir -p build/lock
	@grep -v '"specie-stubs"' pyproject.toml > build/lock/pyproject.toml
	@cp requirements.lock build/lock/
	cd build/lock && CUSTOM_COMPILE_COMMAND="make lock" ../../$(BIN)/pip-compile $(LOCK_OPTIONS) --extra tools --extra cli --extra dev -o requirements.lock pyproject.toml
	cd build/lock && CUSTOM_COMPILE_COMMAND="make lock" ../../$(BIN)/pip-compile $(LOCK_OPTIONS) -c requirements.lock -o services.lock pyproject.toml
	cd build/lock && CUSTOM_COMPILE_COMMAND="make lock" ../../$(BIN)/pip-compile $(LOCK_OPTIONS) -c requirements.lock --extra tools -o tools.lock pyproject.toml
	cp build/lock/requirements.lock requirements.lock
	cp build/lock/services.lock deploy/requirements.lock
	cp build/lock/tools.lock deploy/tools.lock

LOCK_OPTIONS := --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

bench: install ## Measure, beside floors measured in the same run; results go to bench/results/ (3 minutes)
	$(BIN)/python -m bench
	$(BIN)/python -m bench.report --docs

bench-large: install ## Measure on a ledger of 5 million entries, beside an empty one (10 minutes)
	$(BIN)/python -m bench --large
	$(BIN)/python -m bench.report --docs

clean: ## Remove the environment and everything that was generated beside the sources, but no data
	rm -rf $(VENV) build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
