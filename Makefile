# `make demo` and `make test` need nothing but python3 (3.11 or newer, with venv) and make: they set up the rest.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: help demo docs figures test test-all lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(READY) ## the whole loop, from ngspice to a network and back: runs/demo/report.html
	.venv/bin/cosim run --out runs/demo

test: $(READY) ## the tests
	.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(READY) ## the tests, the slow ones too
	.venv/bin/python -m pytest

docs: $(READY) ## the documentation: runs/docs/index.html
	NO_MKDOCS_2_WARNING=1 COSIM_DOCS_FIGURES=strict .venv/bin/python -m mkdocs build --strict

figures: $(READY) ## the examples' figures in the documentation, drawn anew: half an hour
	for one in examples/*.py; do PYTHONPATH=examples .venv/bin/python -c \
	    "import importlib as i, sys; i.import_module(sys.argv[1]).main(out=f'docs/gallery/{sys.argv[1]}.png')" \
	    $$(basename $$one .py) || exit 1; done

lint: $(READY) ## style and format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

clean: ## remove all that make and the tests made, the virtual environment too
	rm -rf .venv runs build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt .ci/setup
	@PYTHON="$(PYTHON)" bash .ci/setup
	@touch $@
