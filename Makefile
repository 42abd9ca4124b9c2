# make demo · make test · make bench · make docs: each sets up what it needs, in the folder itself.
# make compared: measures Raft and Multi-Paxos anew, and rewrites docs/raft-vs-paxos.md from that.
#
#   PYTHON=python3.12 make test     another interpreter (3.11 or newer)
#   ARGS="-k ring" make test        arguments for pytest, or for the demo

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

# The newest Python here, pyenv's too, has the most peers to compare with (fastring needs 3.13).
BENCH_PYTHON ?= $(shell for p in python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3) \
	python3.12 $(PYTHON); do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# The consensus core is Python that is compiled as it stands.
SOURCES := setup.py pyproject.toml $(wildcard csrc/*.c csrc/*.h pyx/*.pyx pyx/*.pxd pyx/*.h \
	python/ringleader/consensus/*.p* python/ringleader/consensus/*/*.p*)
READY   := $(VENV)/.ready
BENCH   := .venv-bench
BENCH_READY := $(BENCH)/.ready

.PHONY: help demo test bench compared docs lint clean

help:
	@sed -n '1,5s/^# \{0,1\}//p' Makefile

demo: $(READY)
	$(VENV)/bin/python -m ringleader demo $(ARGS)

test: $(READY)
	$(VENV)/bin/python -m pytest $(ARGS)

bench: $(BENCH_READY)
	$(BENCH)/bin/python -m bench $(ARGS)

compared: $(READY)
	$(VENV)/bin/python -m ringleader compare consensus --json bench/results/consensus.json \
		--plot docs --force $(ARGS)
	$(VENV)/bin/python docs/generate.py

docs: $(READY)
	$(VENV)/bin/python -m pip install --quiet --group docs
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

lint: $(READY)
	$(VENV)/bin/python -m pip install --quiet --group lint
	.ci/lint $(VENV)/bin

# An editable install, compiled in an isolated environment; again whenever a source changes.
$(READY): $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ringleader needs Python 3.11 or newer; try PYTHON=python3.12 make $(MAKECMDGOALS)"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "no venv module here: apt-get install python3-venv python3-dev"; rm -rf $(VENV); exit 1; }
	$(VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VENV)/bin/python -m pip install --quiet --editable ".[all]" --group test
	@touch $@

$(BENCH_READY): $(SOURCES) bench/requirements.txt
	@test -x $(BENCH)/bin/python || $(BENCH_PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet ".[all]" -r bench/requirements.txt
	@touch $@

clean:
	rm -rf build dist $(VENV) $(BENCH) pyx/*.c python/ringleader/_native/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
