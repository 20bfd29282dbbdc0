# Everything a stranger needs: `make demo` shows it, `make test` proves it. Only Python 3.10 or later and make are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
WORKERS ?= 2
COMPILED ?= compiled

.DEFAULT_GOAL := help
.PHONY: help demo test proofs check lint static bench compiled docs up down lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## set everything up, run the main job on a sample database, show the result
	@$(BIN)/trueup demo

test: static ## every promise once, on real servers: seven minutes
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not proofs" tests/python/integration tests/python/unit

proofs: static ## the long forms: kills by the hundred, full disks, other servers and versions, all SQL linted
	TRUEUP_LINT=all TRUEUP_PROOFS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/python/integration tests/python/unit
	TRUEUP_OLD_TRANSACTION=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not proofs" \
	    tests/python/integration/migration tests/python/integration/verification

check: static ## what needs no database: lint, types, YAML, manifest, macro texts
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not proofs" tests/python/unit

lint: $(INSTALLED) ## look at all SQL again and note what is clean, so that the tests need not (ten minutes)
	rm -f tests/python/data/clean_sql.*.new
	TRUEUP_LINT=record $(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/python/unit/test_compiled_sql.py
	sort -u tests/python/data/clean_sql.*.new > tests/python/data/clean_sql.txt
	rm -f tests/python/data/clean_sql.*.new

static: $(INSTALLED) # what reads Python only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## what models, an in-place migration, its verification, the guard and documents cost
	@$(BIN)/python scripts/bench/models.py
	@$(BIN)/python scripts/bench/apply.py
	@$(BIN)/python scripts/bench/verification.py
	@$(BIN)/python scripts/bench/guard.py
	@$(BIN)/python scripts/bench/app_state.py

compiled: $(INSTALLED) ## write the compiled SQL into compiled/, or with COMPILED=folder elsewhere
	@$(BIN)/trueup compiled $(COMPILED)

docs: $(INSTALLED) ## write the pages of dbt docs as one file, docs-site/index.html
	@$(BIN)/trueup docs

up: $(INSTALLED) ## start the embedded PostgreSQL and write profiles.yml
	@$(BIN)/trueup up

down: $(INSTALLED) ## stop it
	@$(BIN)/trueup down

lock: $(INSTALLED) ## resolve requirements.lock anew from pyproject.toml
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --generate-hashes \
	    --no-annotate --custom-compile-command "make lock" --output-file requirements.lock
	rm -rf $(VENV)/lock

clean: ## stop the server, remove everything that was made (the embedded database too)
	-@[ ! -x $(BIN)/trueup ] || $(BIN)/trueup down --remove-data
	rm -rf $(VENV) .trueup compiled docs-site target logs profiles.yml

# A set-up that was interrupted leaves no stamp and is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "trueup needs Python 3.10 or later; $(PYTHON) is `$(PYTHON) -V 2>&1`. Name another with: make PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) (half a minute, once)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
