# make paper   everything, from the data to results/paper.pdf
# make smoke   the same at the smallest scale
# make test    every check and test;  make test-laws  the long statistical ones
# make chaos   kills smoke runs at 20 random moments, compares what they leave and end in;  make chaos CHAOS="--kills 5 --targets singlestep"
SHELL := /bin/bash
PYTHON ?= python3
# What of it: make paper TARGETS=singlestep
TARGETS ?=
CHAOS ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# One thread a job: two busy jobs with two threads each are slower than with one.
export OMP_NUM_THREADS := 1

# Made last, so that a broken installation is not taken for a whole one; made again when the lock or the package's metadata change.
READY := .venv/ready

# One run at a time. A killed run leaves Snakemake's lock behind; while we hold our own nobody else is running and it can go.
# Snakemake inherits ours and keeps it even if make is killed; its jobs do not.
# On a full disk Snakemake fails in as many ways as it writes files; what to do about it is said once, last.
define snakemake
mkdir -p .snakemake && exec 9> .snakemake/make.lock; \
flock --nonblock 9 || { echo "onestep: another run is at work in this folder; wait for its end or stop it" >&2; exit 2; }; \
if [ -n "$$(ls -A .snakemake/locks 2>/dev/null)" ]; then snakemake --unlock --quiet; fi; \
snakemake $(1) --cores all --quiet host reason || { status=$$?; \
if [ "$$(df -Pk . | awk 'NR == 2 { print $$4 }')" -lt 1024 ]; then \
echo "onestep: the disk that holds $(CURDIR) is full; free some space and start again, what was finished is kept" >&2; fi; exit $$status; }
endef

.PHONY: paper smoke test test-laws chaos check clean

paper: $(READY)
	@$(call snakemake,$(TARGETS))

smoke: $(READY)
	@$(call snakemake,$(TARGETS) --config scale=smoke)

check: $(READY)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

test: check
	pytest -m "not laws"

test-laws: $(READY)
	pytest -m laws

chaos: $(READY)
	@python -m tests.chaos $(CHAOS)

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onestep: $(PYTHON) is $$($(PYTHON) --version 2>&1); use Python 3.11 or newer (make PYTHON=python3.12 paper)" >&2; exit 2; }
	@echo "Installing the pinned environment into .venv (once; the first time takes minutes)."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
