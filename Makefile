# `make demo` and `make test` need Python >= 3.11 and nothing else: everything is installed into .venv.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
ARGS ?=
# Test processes. On a GPU, whose memory JAX reserves for one process: make test WORKERS=0
WORKERS ?= 2

BIN := .venv/bin
# Byte code is compiled on first import: compiling all of it here would double the time.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINTS:%=--constraint %)
INSTALL = $(PIP_INSTALL) $(CONSTRAINTS:%=--build-constraint %)

# The kernel named python3 that is installed beside this pytest, not one of the user's.
RUN_NOTEBOOKS = JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --nbmake \
    --nbmake-kernel=python3 --nbmake-timeout=600

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test notebooks bench docs lint format dev clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.core ## fit a pose to a rendered observation; pictures in demo_out/
	$(BIN)/sldiff-jax demo $(ARGS)

test: .venv/.test ## run the tests, then the notebooks; some tests alone: make test ARGS="-k camera"
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)
	$(if $(strip $(ARGS)),,$(RUN_NOTEBOOKS) notebooks)

notebooks: .venv/.test ## run the notebooks; some of them: make notebooks ARGS="-k quickstart"
	$(RUN_NOTEBOOKS) notebooks $(ARGS)

bench: .venv/.test ## run the benchmarks
	$(BIN)/python -m pytest benchmarks $(ARGS)

docs: .venv/.docs ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

lint: .venv/.test .venv/.lint ## ruff, pyright and the import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

format: .venv/.lint ## apply ruff's fixes and its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

dev: .venv/.dev ## everything for development, and the git hooks
	$(BIN)/pre-commit install

clean: ## remove .venv, caches, build products, site/ and demo_out/
	rm -rf .venv build dist site demo_out .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is renewed when what it was installed from changes. --group and --build-constraint need a newer pip than
# the one that Python 3.11 brings.
.venv/.pip: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sldiff-jax needs Python >= 3.11 and this is " \
		+ sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --upgrade 'pip>=25.3'
	@touch $@

.venv/.core: .venv/.pip pyproject.toml
	$(INSTALL) --editable '.[viz]'
	@touch $@

.venv/.test: .venv/.core
	$(INSTALL) --editable '.[viz,torch]' --group test
	@touch $@

.venv/.lint: .venv/.pip pyproject.toml
	$(INSTALL) --group lint
	@touch $@

.venv/.docs: .venv/.core
	$(INSTALL) --editable '.[viz]' --group docs
	@touch $@

.venv/.dev: .venv/.test .venv/.lint
	$(INSTALL) --group dev
	@touch $@
