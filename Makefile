# make run     sets up .venv on the first call (some minutes), then starts everything; ARGS="--once --json", ARGS=--replay
# make test    the same with the tools for development, then every check
# make chaos   kills the processor and Kafka again and again, and counts what is lost: half an hour
# make clean   removes the data folder: Kafka's data and the logs
# PYTHON=…     names the interpreter that .venv is made with
#
# What set-up says goes to standard error: standard output is for events.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run test chaos clean

run: .venv/run.stamp
	@exec $(BIN)/tidings up $(ARGS)

test: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

chaos: .venv/dev.stamp
	$(BIN)/python -m tests.chaos

clean:
	rm -rf data

# An installation that was interrupted leaves its mark, and the next one starts from nothing: pip takes a package that
# was half written for a whole one. setuptools is in the lock files, hence no isolated build, which would download it.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Tidings needs Python 3.11 or newer. Name one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>&- || { \
	  echo 'Python lacks its venv module. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@if [ -e .venv/unfinished ]; then rm -rf .venv; fi
	@echo 'Setting up .venv: several minutes and 5 GB on the first run …' >&2
	@mkdir -p .venv && touch .venv/unfinished
	@$(PYTHON) -m venv .venv >&2
	@$(BIN)/python -m pip install --quiet --require-hashes -r $(1) >&2 && \
	 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . >&2 || { \
	  echo 'Setting up .venv failed; pip says why above. It needs the network (PyPI or a mirror) and 5 GB: try again.' >&2; exit 1; }
	@rm .venv/unfinished
	@touch $(2)
endef

.venv/run.stamp: deploy/locks/run.txt pyproject.toml
	$(call install,deploy/locks/run.txt,.venv/run.stamp)

# All that `run` needs is in it, too.
.venv/dev.stamp: deploy/locks/dev.txt pyproject.toml
	$(call install,deploy/locks/dev.txt,.venv/run.stamp .venv/dev.stamp)
