# Two commands from an empty clone: `make demo` does the main job, `make test` passes the tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test smoke seeds chaos laws vllm-check bench gpu-check quality contamination synth-chaos synth-bench vllm-synthesis attacks kit-agreement ablations flywheel gate up down dvc.yaml clean

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

# The main job: set up, run what has changed, print the accuracy table and where everything is.
demo: .venv/.installed
	@$(BIN)/python -m flows.pipeline

# What continuous integration runs.
test: .venv/.installed .browser .postgres
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict wethink tasks flows
	@$(BIN)/python -m pytest -n 2 --dist loadfile

# Is the gain real? The main job and its controls for three seeds, each in a git worktree; resumable.
seeds: .venv/.installed
	@$(BIN)/python -m flows.seeds

# Hostile responses that no rule or parser may reward, and right ones that they must; writes reports/attacks.json.
attacks: .venv/.installed
	@$(BIN)/python -m tests.rewards.adversarial

# kill -9 in the middle of every stage, of the flow, of DVC and of one worker: does the job end with the same bytes?
chaos: .venv/.installed
	@$(BIN)/python -m benchmarks.crash_safety.stages

# Every law of training (tests/invariants), each with a planted mutant that it must catch → reports/laws.json. `make laws
# WORDS="kill"` checks those whose names have the words.
laws: .venv/.installed .venv-trl/.installed .venv-vllm/.installed
	@$(BIN)/python -m tests.invariants.run $(WORDS)

# kill -9 twenty times in the middle of a synthesis by models that misbehave: same bytes, nothing bought twice?
synth-chaos: .venv/.installed
	@$(BIN)/python -m benchmarks.crash_safety.synthesis

# The client beside the bare openai client, memory at 100,000 images, and how fast 'nothing has changed' is said.
synth-bench: .venv/.installed
	@$(BIN)/python -m benchmarks.speed.synthesis

# How good is the synthesised data, filter by filter, where the truth is known → reports/quality.json and quality.md.
quality: .venv/.installed
	@$(BIN)/python -m wethink quality

# How well the benchmark filter finds pictures and questions, and what it finds by mistake. ARGS: folders of further photos.
contamination: .venv/.installed
	@$(BIN)/python -m benchmarks.data_quality.contamination $(ARGS)

# Synthesis against a real vLLM server: noise for answers, everything accounted for.
vllm-synthesis: .venv/.installed .venv-vllm/.installed
	@$(BIN)/python -m benchmarks.interop.vllm_synthesis

# A new source in a bucket becomes a challenger that is decided on, and what can go wrong on the way; in a throw-away project.
flywheel: .venv/.installed
	@$(BIN)/python -m tests.fault_injection $(ARGS)

# Everything that the flywheel needs, as local processes on loopback: PostgreSQL, Prefect, MLflow, a store with a queue,
# the watcher, a worker (docs/operations.md). Once more, it starts only what does not run.
up: .venv/.installed
	@$(BIN)/python -m tasks.stack up

# And the way back: whole process groups, watcher and worker first.
down: .venv/.installed
	@$(BIN)/python -m tasks.stack down

# Is the promotion gate a wall, or a door for anybody? A source that lands later, as it is and with wrong answers, with
# real training for three seeds; resumable arm by arm → reports/gate.json and gate.md.
gate: .venv/.installed
	@$(BIN)/python -m benchmarks.promotion_gate.study $(ARGS)

# Plain Transformers with AutoProcessor, and real vLLM on the CPU, over the published checkpoint.
vllm-check: .venv-vllm/.installed
	@.venv-vllm/bin/python benchmarks/interop/vllm_check.py models/grpo

# How fast: a GRPO step and SFT against TRL, rollouts against model.generate and (where it is built) vLLM, on one core.
bench: .venv/.installed .venv-trl/.installed
	@$(BIN)/python -m benchmarks.speed.trainers

# The same code on whatever device and torch are at hand, ten minutes at most; docs/hardware.md says what has run where.
gpu-check:
	@python=$(BIN)/python; test -x $$python || python=python3; $$python -m benchmarks.speed.gpu_check

# The paper's ablations in miniature, arm by arm, for three seeds; resumable. ARGS="--budget short" trains a third as
# long, ARGS="--budget smoke" proves the mechanics.
ablations: .venv/.installed
	@$(BIN)/python -m flows.ablations $(ARGS)

# Our scoring against VLMEvalKit's own functions, item by item, on 2,000 predictions per family.
kit-agreement: .venv/.installed .venv-vlmeval/.installed
	@$(BIN)/python -m benchmarks.vlmevalkit.agreement $(ARGS)

# The whole DAG in about a minute, in a copy that is thrown away: it proves mechanics, not accuracy.
smoke: .venv/.installed
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C "$$copy"; \
	cd "$$copy"; $(BIN)/python -m wethink profile smoke; $(BIN)/python -m flows.pipeline

# dvc.yaml follows from the table of stages and their imports.
dvc.yaml: .venv/.installed
	@$(BIN)/python -m tasks.versioning.dvcfile

# Everything that running has made; the environment, your own images and answers you paid for stay.
clean:
	rm -rf data/{drawn,images,rows,valid} models/{base,sft,grpo,arms} reports .dvc/{cache,tmp} .prefect mlflow.db* mlruns \
	  .wethink/{scratch,runs,logs,locks,tracking} .cache .pytest_cache .mypy_cache .ruff_cache

# The tests look at the pages in a real browser: Debian's Chromium, installed if that is possible here.
.PHONY: .browser
.browser:
	@command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null && exit 0; \
	echo "installing Chromium for the tests of the pages ..."; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  (apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }) >/dev/null; \
	else echo "the tests need Chromium; install it (Debian: apt install chromium) and try again." >&2; exit 2; fi

# The tests of the stack run a real PostgreSQL; `make up` does, too.
.PHONY: .postgres
.postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null && exit 0; \
	echo "installing PostgreSQL for the tests of the stack ..."; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  (apt-get install -y -qq postgresql || { apt-get update -qq && apt-get install -y -qq postgresql; }) >/dev/null; \
	else echo "the tests need PostgreSQL; install it (Debian: apt install postgresql) and try again." >&2; exit 2; fi

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

# Peers live in environments of their own, from complete locks: TRL (laws, `make bench`), vLLM, which wants another fastapi
# than Prefect, and VLMEvalKit, which turns TLS verification off at import. Packages that would bring a CUDA build of PyTorch are
# installed without their dependencies, and what torchvision then lacks is registered by a file of ours.
.venv-%/.installed: requirements-%.lock infra/vllm/torchvision_ops.py
	@test -x .venv-$*/bin/python || python3 -m venv .venv-$*
	@.venv-$*/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-$*.lock
	@site=$$(.venv-$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	cp infra/vllm/torchvision_ops.py "$$site/wethink_torchvision_ops.py"; \
	echo "import wethink_torchvision_ops" > "$$site/wethink_torchvision_ops.pth"; touch $@
