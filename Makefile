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
OPTIONS := ARGS BOARD CHECKPOINT CLOCK ENTRIES EPOCHS FN GENERATIONS GENOME HIDDEN IN LANES LIBERTY METHOD MODEL \
	N OBJECTIVES OUT POP PORT RATE RUN SCALES SEED TARGET TASK UNIT WORKERS
export $(OPTIONS)

# A misspelt variable would be ignored in silence: make gru GENOM=int4 must not run INT8. Nor may
# one that is empty ($$GENOME of a shell that has none), or that no target asked for reads.
SETTABLE := PYTHON TORCH_INDEX KNOBS GENOGATE_MAKE $(OPTIONS)
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(SETTABLE) MAKE% -%,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error no variable $(UNKNOWN); there are $(sort $(filter-out KNOBS GENOGATE_MAKE,$(SETTABLE))))
endif
GIVEN := $(filter $(OPTIONS),$(GIVEN))
EMPTY := $(strip $(foreach name,$(filter-out ARGS,$(GIVEN)),$(if $(strip $($(name))),,$(name))))
ifneq ($(EMPTY),)
$(error $(EMPTY) is empty: give a value, or leave it out)
endif
ifneq ($(GIVEN),)
GOALS := $(or $(MAKECMDGOALS),help)
READ := $(shell awk -v goals=' $(GOALS) ' -F ' [|] ' '/^[a-z]+:.*\#\# / { split($$1, name, ":"); \
	if (index(goals, " " name[1] " ")) { known = 1; variables = variables " " $$2 } } \
	END { print known ? variables : "$(OPTIONS)" }' $(firstword $(MAKEFILE_LIST)))
UNREAD := $(filter-out $(READ),$(GIVEN))
ifneq ($(UNREAD),)
$(error make $(GOALS) takes no $(UNREAD); it takes $(or $(strip $(READ)),none))
endif
endif

NETWORK := $${GENOME:+--genome "$$GENOME"} $${TASK:+--task "$$TASK"} \
	$${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} $${LANES:+--lanes "$$LANES"} \
	$${OUT:+--out "$$OUT"} $$ARGS

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install doctor asic tinytapeout bitstream host listen gru lut front unit sim area golden train import qat campaign search proxy report experiment bench results docs test lint typecheck fmt clean icarus

# Targets by section: what they do | the variables that their recipes read (a test compares).
help: ## This list
	@echo 'Genogate: from a genome (bit widths of a GRU) to verified Verilog.'
	@awk -F ':.*## | [|] ' '/^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2; if ($$3) printf "%19s%s\n", "", $$3 }' \
		$(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables'
	@echo '  GENOME       int2 ... int8, 17 integers a layer (8,8,4,...), or a genome file'
	@echo '  TASK         digits-row, mnist-row, kws10 ..., or your own data: my.npz'
	@echo '  CHECKPOINT   a shipped float network by name, or a file'
	@echo '  LANES        multiply-accumulates per cycle: 2, or 2,4 for input and state side'
	@echo '  OUT          folder or file to write to'
	@echo '  SEED         seed for all random choices'
	@echo '  N            sequences (sim, host), networks (campaign)'
	@echo '  RATE, CLOCK  steps a second that come in; the clock in MHz: to suffice for them, to be reached by a search, of a chip'
	@echo '  TARGET       part to measure for: ice40-up5k, ecp5-25k, sky130 ...'
	@echo '  BOARD, PORT  a board by name, and its serial port'
	@echo '  LIBERTY      file of standard cells; by default sky130, under PDK_ROOT'
	@echo '  MODEL, IN    a model file (of the host: a folder), and input codes (of listen: a recording)'
	@echo '  FN           gelu, exp ... or an expression in x; ENTRIES, SCALES, METHOD of its table'
	@echo '  UNIT         softmax, layernorm, rmsnorm, reciprocal or rsqrt; ENTRIES of its tables'
	@echo '  OBJECTIVES   accuracy,size,cells ...; POP and GENERATIONS of the search'
	@echo '  EPOCHS       of a training; HIDDEN: units of a layer'
	@echo '  WORKERS      number of processes'
	@echo '  RUN          folder of a search'
	@echo '  ARGS         any other options of the command: ARGS="--activation table --quiet"'
	@echo '  PYTHON       the interpreter for .venv; TORCH_INDEX: where torch comes from'
	@echo
	@echo 'All options of a command: $(BIN)/genogate gru --help, once any of these has run.'

##@ From a network to Verilog

import: .venv/$(if $(filter %.keras,$(MODEL)),keras,$(if $(filter %.safetensors %.onnx,$(MODEL)),onnx,train)).stamp ## Turn a model trained elsewhere into a checkpoint | MODEL TASK SEED OUT ARGS
	@$(BIN)/genogate import "$${MODEL:?give MODEL= and TASK=}" --task "$${TASK:?give it}" \
		$${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

gru: .venv/core.stamp ## Quantise a network, write its Verilog and measure it | GENOME TASK CHECKPOINT LANES OUT ARGS TARGET RATE CLOCK
	@$(BIN)/genogate gru $(NETWORK) $${TARGET:+--target "$$TARGET"} \
		$${RATE:+--steps-per-second "$$RATE"} $${CLOCK:+--clock "$$CLOCK"}

area: .venv/$(if $(findstring --route,$(ARGS)),dev,core).stamp ## Measure the hardware of every operator with Yosys | GENOME TASK CHECKPOINT LANES OUT ARGS TARGET RATE CLOCK
	@$(BIN)/genogate area $(NETWORK) $${TARGET:+--target "$$TARGET"} \
		$${RATE:+--steps-per-second "$$RATE"} $${CLOCK:+--clock "$$CLOCK"}

sim: .venv/sim.stamp icarus ## Prove the Verilog equal to the integer model, bit by bit | GENOME TASK CHECKPOINT LANES OUT ARGS N SEED
	@$(BIN)/genogate sim $(NETWORK) $${N:+--sequences "$$N"} $${SEED:+--seed "$$SEED"}

golden: .venv/core.stamp ## Evaluate integer codes (IN=x.npy) exactly as the hardware does (OUT=y.npz) | MODEL IN OUT ARGS
	@$(BIN)/genogate golden "$${MODEL:?give MODEL=, IN= and OUT=}" "$${IN:?give it}" "$${OUT:?give it}" \
		$$ARGS

asic: .venv/core.stamp ## Map to the standard cells of LIBERTY, and prove the netlist | GENOME TASK CHECKPOINT LANES OUT ARGS LIBERTY CLOCK
	@$(BIN)/genogate asic $(NETWORK) $${LIBERTY:+--liberty "$$LIBERTY"} $${CLOCK:+--clock "$$CLOCK"}

tinytapeout: .venv/core.stamp ## Make a project folder for Tiny Tapeout | GENOME TASK CHECKPOINT LANES OUT ARGS LIBERTY CLOCK
	@$(BIN)/genogate tinytapeout $(NETWORK) $${LIBERTY:+--liberty "$$LIBERTY"} $${CLOCK:+--clock "$$CLOCK"}

bitstream: .venv/dev.stamp ## Make a bitstream with a network behind the serial port of BOARD | GENOME TASK CHECKPOINT LANES OUT ARGS BOARD
	@$(BIN)/genogate bitstream $(NETWORK) $${BOARD:+--board "$$BOARD"}

host: .venv/dev.stamp ## Send test sequences to a board at PORT; MODEL: the folder of its bitstream | PORT MODEL TASK N ARGS
	@$(BIN)/genogate host --port "$${PORT:?give PORT= and MODEL=}" --model "$${MODEL:?give it}" \
		$${TASK:+--task "$$TASK"} $${N:+--sequences "$$N"} $$ARGS

listen: .venv/dev.stamp ## Write speech (IN=mine.wav) before and after a denoiser, and measure it | GENOME CHECKPOINT OUT ARGS IN
	@$(BIN)/genogate listen $${GENOME:+--genome "$$GENOME"} $${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} \
		$${OUT:+--out "$$OUT"} $$ARGS $${IN:+-- "$$IN"}

##@ Searching

search: .venv/search.stamp ## Search for genomes that cost little and keep the accuracy | TASK CHECKPOINT LANES OBJECTIVES POP GENERATIONS WORKERS SEED OUT TARGET CLOCK ARGS
	@$(BIN)/genogate search $${TASK:+--task "$$TASK"} $${CHECKPOINT:+--checkpoint "$$CHECKPOINT"} \
		$${LANES:+--lanes "$$LANES"} $${OBJECTIVES:+--objectives "$$OBJECTIVES"} \
		$${POP:+--pop "$$POP"} $${GENERATIONS:+--generations "$$GENERATIONS"} \
		$${WORKERS:+--workers "$$WORKERS"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} \
		$${TARGET:+--target "$$TARGET"} $${CLOCK:+--clock "$$CLOCK"} $$ARGS

report: .venv/search.stamp ## Show a search as one HTML page, and as pictures | RUN OUT ARGS
	@$(BIN)/genogate report "$${RUN:?give RUN=, the folder of a search}" $${OUT:+--out "$$OUT"} $$ARGS

experiment: .venv/dev.stamp icarus ## Run the whole flow for a task; resumes after a stop | TASK LANES EPOCHS POP GENERATIONS WORKERS SEED TARGET OUT ARGS
	@$(BIN)/genogate experiment $${TASK:+--task "$$TASK"} $${LANES:+--lanes "$$LANES"} \
		$${EPOCHS:+--epochs "$$EPOCHS"} $${POP:+--pop "$$POP"} \
		$${GENERATIONS:+--generations "$$GENERATIONS"} $${WORKERS:+--workers "$$WORKERS"} \
		$${SEED:+--seed "$$SEED"} $${TARGET:+--target "$$TARGET"} $${OUT:+--out "$$OUT"} $$ARGS

proxy: .venv/dev.stamp ## Training-free proxies of accuracy: ARGS="score evolved int4 int3" | ARGS
	@$(BIN)/genogate proxy $${ARGS:---help}

##@ Tables and units

lut: .venv/search.stamp icarus ## Make the best piecewise-linear table of a function, and a unit | ENTRIES METHOD SCALES SEED OUT ARGS FN
	@$(BIN)/genogate lut $${ENTRIES:+--entries "$$ENTRIES"} $${METHOD:+--method "$$METHOD"} \
		$${SCALES:+--scales "$$SCALES"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS \
		$${FN:+-- "$$FN"}

front: .venv/search.stamp icarus ## Find units of a function, from smallest to most accurate | POP GENERATIONS SEED OUT ARGS FN
	@$(BIN)/genogate front $${POP:+--pop "$$POP"} $${GENERATIONS:+--generations "$$GENERATIONS"} \
		$${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS -- "$${FN:-gelu}"

unit: .venv/search.stamp icarus ## Make a verified softmax, normalisation, 1/x or 1/sqrt(x) unit | UNIT ENTRIES OUT ARGS
	@$(BIN)/genogate unit "$${UNIT:-softmax}" $${ENTRIES:+--entries "$$ENTRIES"} \
		$${OUT:+--out "$$OUT"} $$ARGS

##@ Data and training

train: .venv/dev.stamp ## Train a float network | TASK HIDDEN EPOCHS SEED OUT ARGS
	@$(BIN)/genogate train $${TASK:+--task "$$TASK"} $${HIDDEN:+--hidden "$$HIDDEN"} \
		$${EPOCHS:+--epochs "$$EPOCHS"} $${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

qat: .venv/dev.stamp ## Train the weights further, quantised by a genome (ARGS=--any: for all) | GENOME TASK CHECKPOINT LANES OUT ARGS EPOCHS SEED
	@$(BIN)/genogate qat $(NETWORK) $${EPOCHS:+--epochs "$$EPOCHS"} $${SEED:+--seed "$$SEED"}

##@ Checks and speed

doctor: .venv/core.stamp ## Say what is installed, what is missing, and what to type | ARGS
	@$(BIN)/genogate doctor $$ARGS

campaign: .venv/sim.stamp icarus ## Simulate N random genomes, knobs and sizes | N WORKERS SEED OUT ARGS
	@$(BIN)/genogate campaign $${N:+--n "$$N"} $${WORKERS:+--workers "$$WORKERS"} \
		$${SEED:+--seed "$$SEED"} $${OUT:+--out "$$OUT"} $$ARGS

bench: .venv/dev.stamp ## Measure the speed of every part | OUT ARGS
	@$(BIN)/genogate bench $${OUT:+--out "$$OUT"} $$ARGS

##@ The repository

install: .venv/dev.stamp ## Install everything into .venv: torch, simulation, tests

docs: .venv/dev.stamp ## Build the documentation as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'written  build/site/index.html'

results: .venv/dev.stamp ## Measure everything in docs/results again (ARGS="--only NAME": one study) | ARGS
	@$(BIN)/python -m studies $$ARGS

test: lint typecheck icarus ## Run what CI runs: lint, types, tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

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

.venv/keras.stamp: .venv/core.stamp
	@echo 'Adding the reader of Keras files to .venv (once)'
	@$(PIP) install -c constraints.txt -e '.[keras]'
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
