# `make test` sets up .venv and runs every check; a second run installs nothing and needs no network.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: test clean

test: .venv/dev.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/pytest

clean:
	rm -rf data

.venv/dev.stamp: deploy/locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Tidings needs Python 3.11 or later: make PYTHON=python3.11 …")'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --require-hashes -r deploy/locks/dev.txt 1>&2
	@.venv/bin/pip install --quiet --no-deps -e . 1>&2
	@touch $@
