# lit_cnn: `make help` lists what there is.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= digits

# In a recipe these are "$$DATA": names may hold spaces and quotes.
export MODEL DATA DATA_DIR RUN RUN_NAME SEEDS IMAGES ARMS

# The variables of each target. On the command line, any other is refused: it may be misspelt. Those of other programs are not.
MACHINE      = DATA_DIR DEVICES PRECISION THREADS
OF_train     = MODEL DATA $(MACHINE) EPOCHS TIME_LIMIT SEED SEEDS RUN_NAME
OF_resume    = RUN $(MACHINE) EPOCHS TIME_LIMIT SEED
OF_evaluate  = RUN $(MACHINE)
OF_predict   = RUN IMAGES THREADS
OF_report    = RUN
OF_export    = RUN
OF_compare   = ARMS
OF_doctor    = DATA DATA_DIR MODEL
OF_benchmark = DATA_DIR
OF_ANY       = ARGS PYTHON VENV BIN PARALLEL LOWEST SHELL __BASH_MAKE_COMPLETION__
OF_OTHERS    = CUDA_% HF_% LIT_CNN_% MKL_% NCCL_% OMP_% PIP_% PYTHON% SLURM_% TORCH_% UV_%
GOALS = $(or $(MAKECMDGOALS),help)
TAKEN = $(strip $(foreach goal,$(GOALS),$(OF_$(goal))) ARGS)
GIVEN = $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
$(foreach name,$(filter-out $(TAKEN) $(OF_ANY) $(OF_OTHERS),$(GIVEN)),$(error $(name) does nothing in make $(GOALS), which takes $(TAKEN)))

# What a user gives becomes an option of lit-cnn; what is not given stays as the recipe has it.
OF_THE_MACHINE = $(if $(DATA_DIR),--data.data_dir "$$DATA_DIR") \
                 $(if $(DEVICES),--trainer.devices $(DEVICES)) \
                 $(if $(PRECISION),--trainer.precision $(PRECISION)) \
                 $(OF_THREADS)
OF_THREADS = $(if $(THREADS),--threads $(THREADS))
OPTIONS = $(OF_THE_MACHINE) \
          $(if $(EPOCHS),--trainer.max_epochs $(EPOCHS)) \
          $(if $(TIME_LIMIT),--time_limit $(TIME_LIMIT)) \
          $(if $(SEED),--seed_everything $(SEED))

.DEFAULT_GOAL := help
.PHONY: help setup extras train evaluate resume predict report compare claims runs export doctor dashboard benchmark catalogue tables test test-all test-lowest lint \
        format audit lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "Variables of train, all but MODEL optional:"
	@echo "  MODEL=googlenet          a recipe's name, from experiments/DATA/; for a folder, any network of lit-cnn models"
	@echo "  DATA=fashion_mnist       a folder of experiments/ (default: digits), or a folder or archive of your own images"
	@echo "  DATA_DIR=path            where the dataset's files are, or are downloaded to (default: data)"
	@echo "  DEVICES=2                how many processors or GPUs"
	@echo "  PRECISION=32-true        32-true, bf16-mixed, 16-mixed (default: auto, by device and size of the network)"
	@echo "  THREADS=2                threads that compute on the processor (default: auto, without busy processors)"
	@echo "  EPOCHS=3   SEED=1        instead of the recipe's"
	@echo "  TIME_LIMIT=20m           as many epochs as fit into this time"
	@echo "  SEEDS=5                  once for each of so many seeds, with their mean and interval; or a list: SEEDS=0,3,7"
	@echo "  RUN_NAME=first           name of the run's folder (default: time and a short id)"
	@echo '  ARGS="--model.lr 0.02"   passed to lit-cnn as it is (also by the other commands)'
	@echo
	@echo "Examples: make train MODEL=googlenet"
	@echo "          make train MODEL=lenet DATA=fashion_mnist EPOCHS=3"
	@echo "          make train MODEL=resnet18 DATA=photos/"
	@echo "          make evaluate RUN=latest"

# Rebuilt when the lock or the packaging changes.
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lit_cnn needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "installing the locked packages into $(VENV): some minutes, and on Linux some gigabytes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

# What `make setup` leaves out.
$(VENV)/extras: $(VENV)/installed requirements-extras.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-extras.lock
	@touch $@

setup: $(VENV)/installed ## Build .venv from requirements.lock

extras: $(VENV)/extras ## Install into .venv what exporting, explaining, serving and label checks need besides

# A recipe if there is one for these names; else the network and the data themselves, with default settings.
train: model $(VENV)/installed ## Train MODEL on DATA, then look at the test set once
	@case "$$DATA" in */*) recipes= ;; *) recipes="experiments/$$DATA" ;; esac; \
	if [ -n "$$recipes" ] && [ -f "$$recipes/$$MODEL.yaml" ]; then set -- --config "$$recipes/$$MODEL.yaml"; \
	else \
		if [ -n "$$DATA" ] && [ -n "$$recipes" ] && [ -d "$$recipes" ]; then \
			echo "no recipe $$MODEL for $$DATA (there are: $$(cd "$$recipes" && echo *.yaml | sed 's/\.yaml//g')); default settings" >&2; \
		fi; \
		set -- --model "$$MODEL" --data "$$DATA"; \
	fi; \
	$(BIN)/lit-cnn fit "$$@" --test_after_fit $(if $(RUN_NAME),--name "$$RUN_NAME") \
		$(if $(SEEDS),--seeds "$$SEEDS") $(OPTIONS) $(ARGS)

.PHONY: model run images
model:
	@test -n "$$MODEL" || { echo "which model? MODEL=googlenet" >&2; exit 2; }

run:
	@test -n "$$RUN" || { echo "which run? RUN=latest or RUN=runs/…" >&2; exit 2; }

evaluate: run $(VENV)/installed ## Look at the test set with the best checkpoint of RUN
	@$(BIN)/lit-cnn test --run "$$RUN" $(OF_THE_MACHINE) $(ARGS)

resume: run $(VENV)/installed ## Continue RUN from its last checkpoint
	@$(BIN)/lit-cnn resume "$$RUN" $(OPTIONS) $(ARGS)

report: run $(VENV)/installed ## Write all that is known of RUN on one HTML page
	@$(BIN)/lit-cnn report "$$RUN" $(ARGS)

compare: $(VENV)/installed ## Compare ARMS="runs/one runs/other", runs or folders of runs; the first is the baseline
	@test -n "$$ARMS" || { echo 'which arms? ARMS="runs/one runs/other"' >&2; exit 2; }
	@$(BIN)/lit-cnn compare $(ARMS) $(ARGS)

claims: $(VENV)/installed ## List the statements about the networks with their verdicts (decide one: ARGS="run 14")
	@$(BIN)/lit-cnn claims $(ARGS)

runs: $(VENV)/installed ## List the runs, newest first
	@$(BIN)/lit-cnn runs $(ARGS)

images:
	@test -n "$$IMAGES" || { echo "which images? IMAGES=folder" >&2; exit 2; }

predict: run images $(VENV)/installed ## Classify the folder IMAGES with RUN into predictions.csv
	@$(BIN)/lit-cnn predict --run "$$RUN" --images "$$IMAGES" $(OF_THREADS) $(ARGS)

export: run $(VENV)/extras ## Write RUN as ONNX, compared with the run (other forms: ARGS="--format torch"; see docs/deploy.md)
	@$(BIN)/lit-cnn export --run "$$RUN" $(ARGS)

doctor: $(VENV)/installed ## Check the folder or dataset DATA, a network and this machine before a long training
	@$(BIN)/lit-cnn doctor --data "$$DATA" $(if $(DATA_DIR),--data_dir "$$DATA_DIR") $(if $(MODEL),--model "$$MODEL") $(ARGS)

dashboard: $(VENV)/installed ## Show runs/ in TensorBoard, on this machine alone
	@$(BIN)/tensorboard --logdir runs --host localhost $(ARGS)

benchmark: $(VENV)/installed ## Compare the speed of training with loops written by hand (half an hour; see ARGS=--help)
	@$(BIN)/lit-cnn benchmark $(if $(DATA_DIR),--data_dir "$$DATA_DIR") $(ARGS)

catalogue: $(VENV)/installed ## Count all networks anew, for lit-cnn models (after a network changed)
	@$(BIN)/python -m lit_cnn.commands.catalogue

tables: $(VENV)/installed ## Fill the tables of docs/ and the recipes' headers from experiments/results/
	@$(BIN)/lit-cnn leaderboard --write
	@$(BIN)/python experiments/results/tables.py
	@$(BIN)/python experiments/results/claims_page.py

# Processes that test side by side, one for each processor.
PARALLEL = -n auto --dist worksteal

test: $(VENV)/installed ## Run the tests
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-all: $(VENV)/installed ## Run all tests, the slow ones too
	@$(BIN)/python -m pytest $(PARALLEL) -m '' $(ARGS)

# With the oldest Python too. Rebuilt when the packaging changes.
LOWEST = .venv-lowest
$(LOWEST)/installed: pyproject.toml
	uv venv --quiet --clear --seed --python 3.11 $(LOWEST)
	uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --requirements pyproject.toml --extra dev
	uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --config-settings editable_mode=compat --editable .
	@touch $@

test-lowest: $(LOWEST)/installed ## Run the tests with the lowest versions that pyproject.toml allows (needs uv)
	@$(LOWEST)/bin/python -m pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/installed ## Check style, format, types and the order of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/mypy

format: $(VENV)/installed ## Repair what the linter can repair
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

audit: $(VENV)/installed ## Look up the locked packages in the database of known vulnerabilities (needs the internet)
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements-extras.lock $(ARGS)

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --extra dev \
		--constraint constraints.txt --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --all-extras \
		--constraint requirements.lock --custom-compile-command "make lock" --output-file requirements-extras.lock pyproject.toml

clean: ## Remove caches and build products; keeps .venv, data and runs
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find lit_cnn tests -name __pycache__ -type d -exec rm -rf {} +
