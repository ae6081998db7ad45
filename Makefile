# The whole set-up needs Python >= 3.11 and make. Everything lands in .venv and .saas.
.POSIX:
.PHONY: run test prove check bench format lock clean

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin

run: $(VENV)/run.stamp
	@exec $(BIN)/python -m saas.cli dev

PYTEST = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: $(VENV)/dev.stamp
	$(PYTEST) -m "not long"

# What takes longer: the suite against itself (both locks taken out), the API fuzzed, the docs followed
# in copies of the checkout, migrations written and taken back, identity providers that fail,
# installations and servers killed, deployed.
prove: $(VENV)/dev.stamp
	$(PYTEST) -m long

check: $(VENV)/dev.stamp
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python -m saas.cli lint
	$(MAKE) test
	$(MAKE) prove

bench: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench

format: $(VENV)/dev.stamp
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

# Pins every dependency with its hashes and without an index address, for all platforms at once.
LOCK = $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate
lock: $(VENV)/dev.stamp
	$(LOCK) --extra redis --extra build -o requirements/serve.txt pyproject.toml
	$(LOCK) --extra embedded --extra build -o requirements/run.txt pyproject.toml
	$(LOCK) --extra embedded --extra redis --extra build --extra dev -o requirements/dev.txt pyproject.toml

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11 picks one")'
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made in $(VENV) (Debian needs: apt install python3-venv)."; exit 1; }
	@touch $@

# pip's own file is written last, so an interrupted installation is simply repeated.
$(VENV)/run.stamp: $(VENV)/python.stamp requirements/run.txt pyproject.toml
	@echo "Installing the pinned dependencies into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo "Installing the pinned development tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
