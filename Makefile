# make run   environment, installation, then the main comparison; ends with its table and plots
# make test  environment, installation, then the tests
# make check environment, installation, then style, imports and types
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: run test check clean
run: $(STAMP)
	$(BIN)/python -m benchmarks.run --setting three_task

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/basedpyright

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,solvers,cluster]"
	touch $@

clean:
	rm -rf $(VENV) *.egg-info
