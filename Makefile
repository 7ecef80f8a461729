# One command each. The environment (.venv) makes itself on first use: the light core for the
# commands that need no torch, everything for training and tests. See `make help`.

# The newest of these that is there and new enough; PYTHON=... overrides.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))) python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# CPU wheels of torch, a tenth of the size of those with GPU libraries; used where it is reachable.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Hints of commands name make only to those who use it.
export GENOGATE_MAKE := 1

# The old name of ARGS.
ifdef KNOBS
$(warning KNOBS= is called ARGS= now; the old name still works)
ARGS += $(KNOBS)
endif

# What a user may set, handed to the command as it is: make gru GENOME=int4 LANES=2
export BOARD PORT GENOME TASK CHECKPOINT LANES OUT SEED N ARGS MODEL IN FN ENTRIES METHOD SCALES UNIT RUN

# A misspelt variable would be ignored in silence: make gru GENOM=int4 must not run INT8.
SETTABLE := PYTHON TORCH_INDEX KNOBS GENOGATE_MAKE BOARD PORT GENOME TASK CHECKPOINT LANES OUT SEED N ARGS MODEL IN FN ENTRIES METHOD SCALES UNIT RUN
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(SETTABLE) MAKE% -%,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error no variable $(UNKNOWN); there are $(sort $(filter-out KNOBS,$(SETTABLE))))
endif

NETWORK := $${GENOME:+--genome "$$GENOME"} $${TASK:+--task "$$TASK"} \
	$${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} $${LANES:+--lanes "$$LANES"} \
	$${OUT:+--out "$$OUT"} $$ARGS

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help doctor bitstream host gru lut front unit sim area golden train import qat campaign search proxy report experiment bench results docs test lint typecheck fmt clean icarus

help: ## This list
	@echo 'Genogate: from a genome (bit widths of a GRU) to verified Verilog.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables: GENOME=int2 ... int8, 17 integers or a file; TASK=kws10 or my.npz; CHECKPOINT=name or'
	@echo '  file; LANES=2 or X,H; OUT=folder or file; SEED=integer; N=sequences (sim) or networks'
	@echo '  (campaign); FN=gelu or an expression in x; ENTRIES=8; SCALES=0:6; METHOD=exact;'
	@echo '  ARGS="--activation table ..." (any other option of the command)'
	@echo 'Options of a command: $(BIN)/genogate gru --help, once any of these has run.'

gru: .venv/core.stamp ## Quantise with GENOME, emit Verilog, measure; all in one folder
	@$(BIN)/genogate gru $(NETWORK)

lut: .venv/search.stamp icarus ## Table and unit of a function: FN=gelu ENTRIES=8
	@$(BIN)/genogate lut $${ENTRIES:+--entries "$$ENTRIES"} $${METHOD:+--method "$$METHOD"} \
		$${SCALES:+--scales "$$SCALES"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS \
		$${FN:+-- "$$FN"}

front: .venv/search.stamp icarus ## Units of a function, smallest to most accurate: FN=gelu
	@$(BIN)/genogate front $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS -- "$${FN:-gelu}"

unit: .venv/search.stamp icarus ## UNIT=softmax, layernorm, rmsnorm, reciprocal or rsqrt, as Verilog
	@$(BIN)/genogate unit "$${UNIT:-softmax}" $${ENTRIES:+--entries "$$ENTRIES"} \
		$${OUT:+--out "$$OUT"} $$ARGS

area: .venv/core.stamp ## Cells, transistors and memory bits of every operator
	@$(BIN)/genogate area $(NETWORK)

bitstream: .venv/dev.stamp ## For a board behind its serial port: BOARD=icebreaker GENOME=int4
	@$(BIN)/genogate bitstream $(NETWORK) $${BOARD:+--board "$$BOARD"}

host: .venv/dev.stamp ## Test sequences through a board: PORT=/dev/ttyUSB1 MODEL=folder of its bitstream
	@$(BIN)/genogate host --port "$${PORT:?give PORT= and MODEL=}" --model "$${MODEL:?give it}" \
		$${TASK:+--task "$$TASK"} $${N:+--sequences "$$N"}

golden: .venv/core.stamp ## Evaluate integer codes: MODEL=model.safetensors IN=x.npy OUT=y.npz
	@$(BIN)/genogate golden "$${MODEL:?give MODEL=, IN= and OUT=}" "$${IN:?give it}" "$${OUT:?give it}"

sim: .venv/sim.stamp icarus ## Hold the emitted Verilog to the golden model on real sequences
	@$(BIN)/genogate sim $(NETWORK) $${N:+--sequences "$$N"} $${SEED:+--seed "$$SEED"}

campaign: .venv/sim.stamp icarus ## The same for N random genomes, knobs and sizes
	@$(BIN)/genogate campaign $${N:+--n "$$N"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

train: .venv/dev.stamp ## Train a float checkpoint: TASK, SEED, OUT=file
	@$(BIN)/genogate train $${TASK:+--task "$$TASK"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

qat: .venv/dev.stamp ## Train on, quantised as GENOME says; ARGS=--any for every genome; OUT=file
	@$(BIN)/genogate qat $(NETWORK) $${SEED:+--seed "$$SEED"}

import: .venv/$(if $(filter %.safetensors %.onnx,$(MODEL)),onnx,train).stamp ## Your own model as a checkpoint: MODEL=model.pt (.onnx ...), TASK, OUT=file
	@$(BIN)/genogate import "$${MODEL:?give MODEL= and TASK=}" --task "$${TASK:?give it}" \
		$${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

doctor: .venv/core.stamp ## What is installed, what is missing for which command, and what to type
	@$(BIN)/genogate doctor $$ARGS

bench: .venv/dev.stamp ## Speed of every part, against torch where there is a counterpart
	@$(BIN)/genogate bench $${OUT:+--out "$$OUT"} $$ARGS

docs: .venv/dev.stamp ## The documentation as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'written  build/site/index.html'

results: .venv/dev.stamp ## Make docs/results.md again
	@$(BIN)/python -m studies $$ARGS

search: .venv/search.stamp ## Search genomes by NSGA-II: accuracy, size, cells; TASK, SEED, OUT=folder
	@$(BIN)/genogate search $${TASK:+--task "$$TASK"} $${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} \
		$${LANES:+--lanes "$$LANES"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

proxy: .venv/dev.stamp ## Rank genomes without running them: ARGS="score evolved int4 int3" (or search, eval, show, table)
	@$(BIN)/genogate proxy $${ARGS:---help}

report: .venv/search.stamp ## One page about a search, and pictures: RUN=runs/NAME
	@$(BIN)/genogate report "$${RUN:?give RUN=, the folder of a search}" $${OUT:+--out "$$OUT"} $$ARGS

experiment: .venv/dev.stamp icarus ## Everything for a task, on its own: TASK, OUT=folder; goes on after a stop
	@$(BIN)/genogate experiment $${TASK:+--task "$$TASK"} $${SEED:+--seed "$$SEED"} \
		$${OUT:+--out "$$OUT"} $$ARGS

test: lint typecheck icarus ## Everything: lint, types, unit tests, cocotb
	@$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/dev.stamp
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

# An installed copy, because mypy cannot see the folders as one package where they lie.
typecheck: .venv/dev.stamp
	@rm -rf build/typecheck build/lib
	@$(PIP) install --no-deps --no-build-isolation --target build/typecheck .
	@cd build/typecheck && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
		--cache-dir ../../.mypy_cache -p genogate

fmt: .venv/dev.stamp ## Format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: ## Remove what was built; .venv stays
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

icarus:
	@command -v iverilog > /dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			echo 'Installing Icarus Verilog (once)'; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends iverilog > /dev/null; \
		else \
			echo 'make: Icarus Verilog is missing: sudo apt-get install iverilog (macOS: brew install icarus-verilog)' >&2; \
			exit 2; \
		fi; }

.venv/core.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo 'make: Python 3.11 or newer is needed and $(PYTHON) is not: install it, or set PYTHON=/path/to/python3' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo 'make: $(PYTHON) has no venv: install it (Debian: apt-get install python3-venv)' >&2; exit 2; }
	@echo 'Making .venv (once, half a minute or so)'
	@$(PYTHON) -m venv .venv
	@$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/search.stamp: .venv/core.stamp
	@echo 'Adding searches, pictures and simulation to .venv (once)'
	@$(PIP) install -c constraints.txt -e '.[search,sim]'
	@touch $@

.venv/sim.stamp: .venv/core.stamp
	@echo 'Adding simulation to .venv (once)'
	@$(PIP) install -c constraints.txt -e '.[sim]'
	@touch $@

.venv/onnx.stamp: .venv/core.stamp
	@echo 'Adding the reader of ONNX to .venv (once)'
	@$(PIP) install -c constraints.txt -e '.[onnx]'
	@touch $@

.venv/train.stamp: .venv/core.stamp
	@echo 'Adding torch to .venv (once, some minutes)'
	@index=; $(BIN)/python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' \
		$(TORCH_INDEX) 2> /dev/null && index="--extra-index-url $(TORCH_INDEX)"; \
		$(PIP) install $$index -c constraints.txt -e '.[train,onnx]'
	@touch $@

.venv/dev.stamp: .venv/core.stamp
	@echo 'Adding training, simulation and test tools to .venv (once, some minutes)'
	@index=; $(BIN)/python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' \
		$(TORCH_INDEX) 2> /dev/null && index="--extra-index-url $(TORCH_INDEX)"; \
		$(PIP) install $$index -c constraints.txt -e '.[dev]' setuptools
	@touch $@
