# `make demo` and `make test` need Python >= 3.11 and nothing else: everything is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
# What the tests install. Where torch is not to be had, they do without: make test EXTRAS=viz
EXTRAS ?= viz,torch
ARGS ?=
# Test processes. On a GPU, whose memory JAX reserves for one process: make test WORKERS=0
WORKERS ?= 2

BIN := $(VENV)/bin
# Byte code is compiled on first import: compiling all of it here would double the time.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINTS:%=--constraint %)
INSTALL = $(PIP_INSTALL) $(CONSTRAINTS:%=--build-constraint %)

WHEEL_PIP = build/wheel/venv/bin/python -m pip --quiet

# What is tested in other modes too, in a few minutes: the core, and where it meets NumPy, Pillow and Warp.
CORE_TESTS := tests/scene tests/losses tests/gradients/test_render_jvp.py tests/refine/test_dtypes_and_saving.py \
    tests/mesh_renderer/drawing/test_renderer.py
NEWEST_TESTS := $(CORE_TESTS) tests/images tests/mesh_renderer/meshes tests/cli/test_inputs.py tests/test_import.py

# The kernel named python3 that is installed beside this pytest, not one of the user's.
RUN_NOTEBOOKS = JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --nbmake \
    --nbmake-kernel=python3 --nbmake-timeout=600

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-bop browser test view-picture x64 newest wheel notebooks bench bench-compare docs lint format dev clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.core ## fit a pose to a rendered observation; pictures in demo_out/
	$(BIN)/sldiff-jax demo $(ARGS)

BOP_DEMO := demo_out/bop
demo-bop: $(VENV)/.core ## make up a data set, refine its poses, score them; all in demo_out/bop
	rm -rf $(BOP_DEMO)
	$(BIN)/sldiff-jax bop make --images 12 --output $(BOP_DEMO)/synthetic $(ARGS)
	$(BIN)/sldiff-jax bop refine $(BOP_DEMO)/synthetic --estimates $(BOP_DEMO)/synthetic/coarse_synthetic-test.csv \
	    --output $(BOP_DEMO)/mine_synthetic-test.csv
	$(BIN)/sldiff-jax bop evaluate $(BOP_DEMO)/synthetic --output $(BOP_DEMO)/coarse.json \
	    --results $(BOP_DEMO)/synthetic/coarse_synthetic-test.csv
	$(BIN)/sldiff-jax bop evaluate $(BOP_DEMO)/synthetic --output $(BOP_DEMO)/scores.json \
	    --results $(BOP_DEMO)/mine_synthetic-test.csv
	$(BIN)/sldiff-jax bop show $(BOP_DEMO)/synthetic --results $(BOP_DEMO)/mine_synthetic-test.csv \
	    --before $(BOP_DEMO)/synthetic/coarse_synthetic-test.csv --output $(BOP_DEMO)/poses.png

test: $(VENV)/.test ## run the tests, then the notebooks; some tests alone: make test ARGS="-k camera"
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)
	$(if $(strip $(ARGS)),,$(RUN_NOTEBOOKS) notebooks)

browser: ## install Chromium, in which the page of sldiff-jax view is tested (Debian, as root)
	@command -v chromium >/dev/null || { apt-get update --quiet=2 && \
	    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends chromium; }

view-picture: $(VENV)/.test ## draw docs/how_to/view.png anew, in Chromium
	SLDIFF_JAX_PICTURE=docs/how_to/view.png $(BIN)/python -m pytest tests/cli/test_view_page.py -k refine_lowers

x64: $(VENV)/.test ## run the tests of the core with 64-bit types
	JAX_ENABLE_X64=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not slow" $(CORE_TESTS) $(ARGS)

newest: ## run those that meet JAX, NumPy and Warp with newer versions: make newest PYTHON=python3.13
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12) and "The newest versions need a newer Python than " \
		+ sys.version.split()[0] + ": make newest PYTHON=python3.13")'
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=constraints-newest.txt EXTRAS=viz ARGS='-m "not slow" $(NEWEST_TESTS) $(ARGS)'

wheel: ## build the wheel, install it into an empty environment, and run its demo there
	rm -rf build/wheel
	$(PYTHON) -m venv build/wheel/venv
	$(WHEEL_PIP) install $(CONSTRAINTS:%=--constraint %) --upgrade 'pip>=25.3'
	$(WHEEL_PIP) wheel $(CONSTRAINTS:%=--build-constraint %) --no-deps --wheel-dir build/wheel .
	$(WHEEL_PIP) install $(CONSTRAINTS:%=--constraint %) --no-compile "$$(ls build/wheel/*.whl)[viz]"
	cd build/wheel && env -u PYTHONPATH venv/bin/sldiff-jax demo --steps 10 --resolution 64 --output demo

notebooks: $(VENV)/.test ## run the notebooks; some of them: make notebooks ARGS="-k quickstart"
	$(RUN_NOTEBOOKS) notebooks $(ARGS)

bench: $(VENV)/.test ## run the benchmarks
	$(BIN)/python -m pytest benchmarks $(ARGS)

bench-compare: ## ratios between two results of a benchmark: make bench-compare A=before.json B=after.json
	@$(PYTHON) benchmarks/compare.py $(A) $(B)

docs: $(VENV)/.docs ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

lint: $(VENV)/.test $(VENV)/.lint ## ruff, pyright and the import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.lint ## apply ruff's fixes and its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

dev: $(VENV)/.dev ## everything for development, and the git hooks
	$(BIN)/pre-commit install

clean: ## remove .venv, caches, build products, site/ and demo_out/
	rm -rf .venv .venv-newest build dist site demo_out .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is renewed when what it was installed from changes. --group and --build-constraint need a newer pip than
# the one that Python 3.11 brings.
$(VENV)/.pip: $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sldiff-jax needs Python >= 3.11 and this is " \
		+ sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade 'pip>=25.3'
	@touch $@

$(VENV)/.core: $(VENV)/.pip pyproject.toml
	$(INSTALL) --editable '.[viz]'
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(INSTALL) --editable '.[$(EXTRAS)]' --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.pip pyproject.toml
	$(INSTALL) --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(INSTALL) --editable '.[viz]' --group docs
	@touch $@

$(VENV)/.dev: $(VENV)/.test $(VENV)/.lint
	$(INSTALL) --group dev
	@touch $@
