# From raw competition files to a checked submission: make folds train ensemble submit
PIPELINE ?= digit-recognizer
SET ?=
ROOT ?= .

PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
SOFTVOTE := $(BIN)/softvote $(if $(filter-out .,$(ROOT)),--root '$(ROOT)')
OVERRIDES := $(foreach setting,$(SET),--set '$(setting)')

# $(call flag,SEND,$(SEND),--send): the word of a variable that is 1; what is neither 1, 0 nor empty is a mistake.
flag = $(if $(filter-out 0 1,$(2)),$(error $(1)=$(2) says neither yes nor no: write $(1)=1 or leave it out))$(if $(filter 1,$(2)),$(3))

$(foreach name,SEND FORCE AGAIN WAIT PUSH SUBMIT FETCH,$(if $(filter command,$(origin $(name))),$(call flag,$(name),$($(name)))))

# Starting Python and reading the pipeline take longer than a stage that has nothing to do. So stages that stand beside
# each other among the goals are one call of the program: the first of them makes it and leaves the others nothing.
# A submission that is sent has a call of its own: it waits for its score, and what trained would keep the GPU meanwhile.
JOINED := folds train ensemble $(if $(filter 1,$(SEND)),,submit)
unique = $(if $(1),$(firstword $(1)) $(call unique,$(filter-out $(firstword $(1)),$(1))))
MARKED := $(foreach goal,$(call unique,$(MAKECMDGOALS)),$(if $(filter $(goal),$(JOINED)),+$(goal)+,$(goal)))
CALLS := $(subst + +,+,$(MARKED))
stages_of_call = $(or $(strip $(foreach call,$(CALLS),$(if $(findstring +$@+,$(call)),$(subst +, ,$(call))))),$@)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo data four-digits fresh-digits digit-adder init check folds train tune ensemble submit leaderboard report augmentation mistakes digits export kernel benchmark growth tour test test-slow lint docs clean

help: ## Show what can be made
	@echo "make TARGET [PIPELINE=$(PIPELINE)] [SET='members.cnn.epochs=2 ...']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BIN)/.installed ## Create .venv and install everything into it (the other targets do so too)

# uv picks the build of PyTorch for this machine: without a GPU that is 4 GiB less. `make install UV=` takes pip.
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

$(BIN)/.installed: setup.cfg pyproject.toml
	@echo "make: installing into .venv, PyTorch included; this takes some minutes and says nothing meanwhile"
ifneq ($(UV),)
	$(UV) venv --quiet --seed --allow-existing --python $(PYTHON) .venv
	@$(INSTALL) --torch-backend=auto --editable '.[test,lint]' || { \
		echo "make: PyTorch's own index did not do; taking the CUDA build from the usual one, 4 GiB more" >&2; \
		$(INSTALL) --editable '.[test,lint]'; }
else
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[test,lint]'
endif
	@touch $@

$(BIN)/.docs: $(BIN)/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

demo: install ## The whole way on digits that come with scikit-learn, in the folder demo/
	$(BIN)/softvote demo

data: install ## Download the pipeline's competition from Kaggle, with FILES='train.csv ...' only these; ZIP=path/to/it.zip unpacks one
	$(SOFTVOTE) data '$(or $(ZIP),$(PIPELINE))' $(if $(NAME),--name '$(NAME)') $(foreach file,$(FILES),--file '$(file)')

four-digits: install ## Make four-digit images with known digits, from Digit Recognizer's, into input/four-digits/
	$(BIN)/python scripts/make_data/four_digits.py input/digit-recognizer/train.csv input/four-digits

fresh-digits: install ## The same as a competition whose test images show digits that no training image shows; SEED=2027 makes others
	$(BIN)/python scripts/make_data/four_digits.py input/digit-recognizer/train.csv input/fresh-digits$(if $(SEED),-$(SEED) --seed $(SEED)) --test 6000

digit-adder: install ## Make the competition digit-adder, from Digit Recognizer's images, into input/digit-adder/
	$(BIN)/python scripts/make_data/digit_adder.py input/digit-recognizer/train.csv input/digit-adder

init: install ## Write a pipeline for other files: make init FOLDER=input/my-contest
	@test -n "$(FOLDER)" || { echo "make init: say which folder: make init FOLDER=input/my-contest"; exit 1; }
	$(SOFTVOTE) init '$(FOLDER)' $(if $(NAME),--name '$(NAME)') $(if $(IMAGE),--image $(IMAGE))

check: install ## Say what the pipeline would run, and how long it would take here
	$(SOFTVOTE) check $(PIPELINE) $(OVERRIDES)

folds: install ## Split the training rows, once
train: install ## Train every member on every fold that is due; WAIT=1 waits for what another run is busy with
ensemble: install ## Compare the rules and let the members vote
submit: install ## Write and check the submission, enter it in the ledger; SEND=1 sends it to Kaggle
folds train ensemble submit:
	$(if $(filter $@,$(firstword $(stages_of_call))),$(SOFTVOTE) $(foreach stage,$(stages_of_call),$(if $(filter-out $@,$(stage)),+ )$(stage) $(PIPELINE) $(OVERRIDES) $(OPTIONS_$(stage))),@:)

OPTIONS_train = $(call flag,WAIT,$(WAIT),--wait)
OPTIONS_submit = $(call flag,SEND,$(SEND),--send) $(or $(call flag,FORCE,$(FORCE),--force),$(call flag,AGAIN,$(AGAIN),--force)) $(call flag,WAIT,$(WAIT),)$(if $(filter 0,$(WAIT)),--no-wait)

tune: install ## Search better values of a recipe, as the pipeline's `tune` says; TRIALS=20 in all
	$(SOFTVOTE) tune $(PIPELINE) $(if $(TRIALS),--trials $(TRIALS)) $(OVERRIDES)

leaderboard: install ## Fetch the scores of all past submissions, compare them with cross-validation
	$(SOFTVOTE) leaderboard --fetch

report: install ## Write reports/PIPELINE.html, a page of scores, mistakes and doubts, and an index of all pipelines
	$(SOFTVOTE) report $(PIPELINE) $(OVERRIDES)

augmentation: install ## Draw what augmentation does to sixteen training images
	$(SOFTVOTE) augmentation $(PIPELINE) $(OVERRIDES)

mistakes: install ## Draw the out-of-fold images the vote gets wrong
	$(SOFTVOTE) mistakes $(PIPELINE) $(OVERRIDES)

digits: install ## Draw the hidden digits that a member found in images of sums
	$(SOFTVOTE) digits $(PIPELINE) $(OVERRIDES)

export: install ## Write the vote as one program that runs without softvote
	$(SOFTVOTE) export $(PIPELINE) $(OVERRIDES)

kernel: install ## Build a Kaggle kernel that predicts, or trains with MODE=train; PUSH=1 lets Kaggle run it, SUBMIT=1 submits it, FETCH=1 waits for the last one
	$(SOFTVOTE) kernel $(PIPELINE) $(if $(MODE),--mode $(MODE)) $(if $(OWNER),--owner $(OWNER)) $(if $(WHEELS),--wheels '$(WHEELS)') $(call flag,PUSH,$(PUSH),--push) $(call flag,FETCH,$(FETCH),--fetch) $(call flag,SUBMIT,$(SUBMIT),--submit) $(if $(filter 1,$(SUBMIT)),$(call flag,FORCE,$(FORCE),--force) $(call flag,WAIT,$(WAIT),)$(if $(filter 0,$(WAIT)),--no-wait)) $(OVERRIDES)

benchmark: install ## Measure our training beside the usual notebook loop, on this machine while it is idle
	$(BIN)/python scripts/benchmark

growth: install ## Measure every stage but training as rows, members, folds and images grow
	$(BIN)/python scripts/growth
	$(BIN)/python scripts/growth_images.py

tour: install ## A stand-in for Kaggle in the folder tour, to try all of this on: see docs/kaggle.md
	$(BIN)/python scripts/make_data/demo_digits.py tour/kaggle/softvote-tour
	mkdir -p tour/pipelines
	cp pipelines/demo.yaml pipelines/tour.yaml tour/pipelines
	$(BIN)/python -m softvote.kaggle.testing tour/kaggle --run-kernels

# Tests start many processes: each would compile all of softvote where the environment lets none keep what it compiles.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
# Where a worker dies, another in its place would wait for ever at the end.
SIDE_BY_SIDE := -n 2 --dist loadfile --max-worker-restart 0

test: install ## Run the tests but for the slow ones
	$(PYTEST) $(SIDE_BY_SIDE) --no-loadscope-reorder -m 'not slow'

test-slow: install ## Run the slow tests; MINUTES=30 leaves out what they are too short for
	$(PYTEST) $(SIDE_BY_SIDE) -m slow $(if $(MINUTES),--budget-minutes $(MINUTES))

lint: install ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(BIN)/.docs ## Build the documentation into site/; a dead link fails
	$(BIN)/python scripts/gallery_table.py
	$(BIN)/python scripts/draw_packages.py
	$(BIN)/python scripts/make_docs.py
	$(BIN)/zensical build --clean --strict
	$(BIN)/python scripts/make_docs.py --check site

clean: ## Remove .venv, the demo, the tour and the site; input, models and submissions stay
	rm -rf .venv demo tour site docs/reference
