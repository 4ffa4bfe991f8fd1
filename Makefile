# Two commands from an empty clone: `make demo` does the main job, `make test` passes the tests. `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo smoke seeds dvc.yaml clean test test-deps lint format docs laws chaos hosts-check workers-check synth-chaos attacks \
  peers fuzz vllm-check vllm-synthesis kit-agreement bench bench-ahead synth-bench gpu-check quality contamination \
  duplicates image compose-check ablations gate flywheel up down scale slurm-check

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

help: ## this list
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z][a-z.-]*:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

##@ The main job

# The first target that a stranger runs: it sets up the environment, too.
demo: .venv/.installed ## set up, run what has changed, print the accuracy table and where everything is
	@$(BIN)/python -m flows.pipeline

# The working tree is copied, git-ignored files left out.
smoke: .venv/.installed ## the whole DAG in about a minute, in a copy that is thrown away: mechanics, no accuracy
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"; echo "The copy and its pages are removed; make demo keeps its own."' EXIT; \
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C "$$copy"; \
	cd "$$copy"; $(BIN)/python -m wethink profile smoke; $(BIN)/python -m flows.pipeline

# Each seed has a git worktree of its own; resumable.
seeds: .venv/.installed ## is the gain real? the main job and its controls for three seeds
	@$(BIN)/python -m flows.seeds

dvc.yaml: .venv/.installed ## write dvc.yaml anew from the table of stages and their imports
	@$(BIN)/python -m tasks.versioning.dvcfile

clean: ## remove what running has made; the environment, your images and paid-for answers stay
	rm -rf data/{drawn,images,rows,valid} models/{base,sft,grpo,arms} reports .dvc/{cache,tmp} .prefect mlflow.db* mlruns \
	  .wethink/{scratch,runs,logs,locks,tracking} .cache .pytest_cache .mypy_cache .ruff_cache

##@ Development

test: .venv/.installed test-deps lint ## what continuous integration runs: lint, types, tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-deps: .browser .postgres ## install what the tests need beside Python: Chromium and PostgreSQL

lint: .venv/.installed ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict wethink tasks flows

format: .venv/.installed ## format the code and apply ruff's safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .venv/.installed ## write the generated parts of docs/ anew: the tree of packages
	@$(BIN)/python -m tests.support.package_tree

##@ Is it correct?

# WORDS: check only the laws whose names have these words, as in `make laws WORDS="kill"`.
laws: .venv/.installed .venv-trl/.installed .venv-vllm/.installed ## every law of training, each with a planted mutant → reports/laws.json
	@$(BIN)/python -m tests.invariants.run $(WORDS)

# The flow, DVC and one worker are killed in turn; the job must end with the same bytes.
chaos: .venv/.installed ## kill -9 in the middle of every stage: same bytes in the end?
	@$(BIN)/python -m benchmarks.crash_safety.stages

hosts-check: .venv/.installed ## two hosts of this machine's own (root, sshd): same weights, and no rank left after faults
	@$(BIN)/python -m tests.hosts

workers-check: .venv/.installed .postgres ## two hosts with a Prefect worker each (root): one job, one response store → reports/workers.json
	@$(BIN)/python -m tests.workers

# ARGS="--base IMAGE", "--builder legacy", "--wheels FOLDER", "--torch-index URL". An engine is started where none answers.
image: .venv/.installed ## build the image of the last commit with both builders, and check it → reports/image.json
	@$(BIN)/python -m tests.containers.image $(ARGS)

compose-check: .venv/.installed ## the stack in containers decides on a source that lands → reports/compose-check.json
	@$(BIN)/python -m tests.containers.compose
# ARGS="preempted array" for some of its checks.
slurm-check: .venv/.installed ## a Slurm of two nodes of this machine's own (root, slurm-wlm, munge): same weights, no rank left → reports/slurm.json
	@$(BIN)/python -m tests.slurm $(ARGS)

synth-chaos: .venv/.installed ## kill -9 twenty times in a synthesis by faulty models: nothing paid for twice?
	@$(BIN)/python -m benchmarks.crash_safety.synthesis

attacks: .venv/.installed ## hostile responses that no rule may reward, right ones that it must → reports/attacks.json
	@$(BIN)/python -m tests.rewards.adversarial

# The peers' test files are cloned into .cache/peers/; ARGS="--source TRL=../trl" reads a folder, ARGS="--seed 7000" other pairs.
peers: .venv/.installed .venv-peers/.installed ## the rules beside math-verify and mathruler, on known pairs and on peers' → reports/peers.json
	@$(BIN)/python -m benchmarks.rewards.peers $(ARGS)

# ARGS="--seconds 60 --seed 1" for another length and other inputs.
fuzz: .venv/.installed ## ten minutes of hostile input for every reader: no traceback, nothing lost → reports/fuzz.json
	@$(BIN)/python -m tests.fuzz $(ARGS)

# Then evaluate, passrates, the probe, rejection sampling, GRPO, ask and benchmark with each engine.
vllm-check: .venv/.installed .venv-vllm/.installed ## real vLLM on the CPU reads the checkpoint, and writes what we write
	@.venv-vllm/bin/python benchmarks/interop/vllm_check.py models/grpo
	@$(BIN)/python -m benchmarks.interop.one_engine $(ARGS)

# The model answers noise; every answer must be accounted for.
vllm-synthesis: .venv/.installed .venv-vllm/.installed ## synthesis against a real vLLM server
	@$(BIN)/python -m benchmarks.interop.vllm_synthesis

# 2,000 predictions of each family of benchmarks, item by item.
kit-agreement: .venv/.installed .venv-vlmeval/.installed ## our scoring against VLMEvalKit's own functions
	@$(BIN)/python -m benchmarks.vlmevalkit.agreement $(ARGS)

##@ How fast, and how good?

# On one core; vLLM where it is installed.
bench: .venv/.installed .venv-trl/.installed ## a GRPO step and SFT against TRL, rollouts against generate and vLLM
	@$(BIN)/python -m benchmarks.speed.trainers

bench-ahead: .venv/.installed ## GRPO that samples ahead against GRPO that waits, on the wall
	@$(BIN)/python -m benchmarks.speed.ahead

synth-bench: .venv/.installed ## the chat client against the bare openai client; memory at 100,000 images
	@$(BIN)/python -m benchmarks.speed.synthesis

# docs/hardware.md lists what has run where.
gpu-check: ## the same code on whatever device and torch are at hand, ten minutes at most
	@python=$(BIN)/python; test -x $$python || python=python3; $$python -m benchmarks.speed.gpu_check

# ARGS="2 7": only these runs of benchmarks/planning/cases.py.
plan-check: .venv/.installed ## plans of memory and time beside measured runs and published tables → reports/plan_check.json
	@$(BIN)/python -m benchmarks.planning.check $(ARGS)

quality: .venv/.installed ## how good the synthesised data is, filter by filter → reports/quality.json
	@$(BIN)/python -m wethink quality

# ARGS: folders of further photos.
contamination: .venv/.installed ## how well the benchmark filter finds pictures and questions, and its false alarms
	@$(BIN)/python -m benchmarks.data_quality.contamination $(ARGS)

# ARGS: folders of further photos; easy-vqa is downloaded once.
duplicates: .venv/.installed ## near-duplicates: found, merged by mistake, seconds → reports/duplicates.json
	@$(BIN)/python -m benchmarks.data_quality.duplicates $(ARGS)

# ARGS="--images 1000,10000" without the largest collection; docs/scale.md has the table.
scale: .venv/.installed ## seconds, memory and bytes read of the data stages at 1,000 to 100,000 images → reports/scale.json
	@$(BIN)/python -m benchmarks.speed.scale $(ARGS)

# ARGS="--budget short" trains a third as long; ARGS="--budget smoke" proves the mechanics. Resumable.
ablations: .venv/.installed ## the paper's ablations in miniature, for three seeds → reports/ablations.json
	@$(BIN)/python -m flows.ablations $(ARGS)

# A source that lands later, as it is and with wrong answers, with real training for three seeds; resumable.
gate: .venv/.installed ## does the promotion gate keep bad challengers out and let good ones in? → reports/gate.json
	@$(BIN)/python -m benchmarks.promotion_gate.study $(ARGS)

##@ Retraining and services

# In a throw-away project.
flywheel: .venv/.installed ## a new source becomes a challenger, with every fault on the way → reports/flywheel.json
	@$(BIN)/python -m tests.fault_injection $(ARGS)

# Local processes on loopback (docs/operations.md). Called again, it starts only what does not run.
up: .venv/.installed ## start PostgreSQL, Prefect, MLflow, a bucket with a queue, the watcher and a worker
	@$(BIN)/python -m tasks.stack up

down: .venv/.installed ## stop them all, watcher and worker first
	@$(BIN)/python -m tasks.stack down

# System packages, installed where that is possible: as root, with apt. apt waits for dpkg's lock by itself;
# `apt-get update` does not wait for the lock of the package lists, so it is repeated while another process holds that.
APT := apt-get -qq -o DPkg::Lock::Timeout=600
define apt_install
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
  echo "the tests need $(1); install it (Debian: apt install $(2)) and try again." >&2; exit 2; fi; \
echo "installing $(1) for the tests ..."; \
$(APT) install -y $(2) >/dev/null 2>&1 || { \
  for try in {1..60}; do \
    said=$$($(APT) update 2>&1) && break; [[ $$said == *"Could not get lock"* ]] || break; sleep 10; \
  done; $(APT) install -y $(2) >/dev/null; }
endef

# The tests look at the pages in a real browser.
.PHONY: .browser
.browser:
	@command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null && exit 0; \
	$(call apt_install,Chromium,chromium)

# The tests of the stack run a real PostgreSQL, and so does `make up`.
.PHONY: .postgres
.postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null && exit 0; \
	$(call apt_install,PostgreSQL,postgresql)

# `wethink …` is `python -m wethink …`: a script, not an editable install, so that in a worktree its own code runs.
define wethink_script
printf '%s\n' '#!/bin/sh' 'exec "$$(dirname "$$0")/python" -m wethink "$$@"' > $(BIN)/wethink; chmod +x $(BIN)/wethink
endef

# The environment, once and again when the lock changes. The lock is complete (a test holds it to that), so pip need
# not resolve anything. The stamp holds the seconds that it took.
.venv/.installed: requirements.lock
	@test -x $(BIN)/python || { \
	  for python in python3.11 python3.12 python3 python; do \
	    if command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then break; fi; python=; \
	  done; \
	  test -n "$$python" || { echo "wethink needs Python 3.11 or newer on the PATH (found: $$(python3 --version 2>&1 || true)); install it and try again." >&2; exit 2; }; \
	  $$python -m venv .venv || { echo "$$python cannot make an environment; install its venv module (Debian: apt install $$python-venv) and try again." >&2; rm -rf .venv; exit 2; }; }
	@echo "installing what requirements.lock pins into .venv ..."
	@start=$$(date +%s); $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock; \
	seconds=$$(( $$(date +%s) - start )); echo "installed in $$seconds s"; echo $$seconds > $@
	@$(wethink_script)

# Peers live in environments of their own, from complete locks: TRL (laws, `make bench`), vLLM, which wants another fastapi
# than Prefect, and VLMEvalKit, which turns TLS verification off at import. Packages that would bring a CUDA build of PyTorch are
# installed without their dependencies, and what torchvision then lacks is registered by a file of ours.
.venv-%/.installed: requirements-%.lock infra/vllm/torchvision_ops.py
	@test -x .venv-$*/bin/python || python3 -m venv .venv-$*
	@.venv-$*/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-$*.lock
	@site=$$(.venv-$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	cp infra/vllm/torchvision_ops.py "$$site/wethink_torchvision_ops.py"; \
	echo "import wethink_torchvision_ops" > "$$site/wethink_torchvision_ops.pth"; touch $@
