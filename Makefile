# The two commands: `make run` starts Rookery with everything it needs, `make test` tests all of it.
# Both install what is missing first (tests/setup.sh) and touch no server that is already running.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# Where rustup puts cargo, for shells that were open before it was installed; and the tools below.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rookery/tools
export PATH := $(PATH):$(HOME)/.cargo/bin:$(TOOLS)/bin

BIN := $(or $(CARGO_TARGET_DIR),target)/debug
STACK := $(BIN)/stack
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

REPLICAS ?= 1
PORT ?= 2583
DATA ?= .dev

# nextest if it is there; cargo's own runner does as well.
RUNNER := $(if $(shell PATH="$(PATH)" cargo nextest --version 2>/dev/null),nextest run,test --tests)

# Tools need no speed: a debug build takes a third of the time.
INSTALL := env CARGO_TARGET_DIR="$(TOOLS)/target" cargo install --quiet --debug --root "$(TOOLS)"

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# --- running -------------------------------------------------------------------

.PHONY: run
run: build ## start Rookery on http://localhost:2583 (REPLICAS=2, PORT=…, DATA=…)
	@exec $(STACK) run --data "$(DATA)" --port $(PORT) --replicas $(REPLICAS)

.PHONY: clean-data
clean-data: stack ## forget all accounts and data of `make run`
	@$(STACK) clean --data "$(DATA)"

.PHONY: logs
logs: ## follow the logs of `make run`
	@tail -n 20 -F "$(DATA)"/log/*.log

# --- testing -------------------------------------------------------------------

.PHONY: test
test: unit e2e ## run every test

.PHONY: unit
unit: build ## the tests in Rust, with a Postgres and Redis of their own
	cargo test --workspace --doc --quiet
	$(STACK) exec -- cargo $(RUNNER) --workspace $(TEST_ARGS)

.PHONY: e2e
e2e: setup-test build ## the official TypeScript client against two replicas
	@tests/reference/setup.sh
	cd tests/e2e && npm ci --no-audit --no-fund && STACK_BIN="$(abspath $(STACK))" npm test

# The store's key pair is found as by every program with the AWS SDK: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …
S3_BUCKET ?= rookery-test

.PHONY: test-s3
test-s3: setup-run ## what Rookery asks of an object store, on a real one (S3_ENDPOINT=…, S3_BUCKET=…, S3_REGION=…)
	PDS_BLOBSTORE_S3_ENDPOINT="$(S3_ENDPOINT)" PDS_BLOBSTORE_S3_BUCKET="$(S3_BUCKET)" \
		PDS_BLOBSTORE_S3_REGION="$(S3_REGION)" PDS_BLOBSTORE_S3_FORCE_PATH_STYLE=true PDS_BLOBSTORE_DISK_LOCATION= \
		cargo test --quiet --package common --lib -- --ignored --exact blob::object::tests::a_real_bucket_conforms

# A seed decides here, too: BLOB_MODEL_SEED=… repeats one.
OPERATIONS ?= 1000000

.PHONY: blob-model
blob-model: build ## random operations with blobs while workers collect and die (OPERATIONS=1000000, BLOB_MODEL_SEED=…)
	BLOB_MODEL_OPERATIONS=$(OPERATIONS) $(STACK) exec -- cargo test --quiet --package tests --test it -- --exact --nocapture \
		blobs::model::no_blob_is_lost_and_none_is_left

# Faults in every order: a seed decides, and is printed. CHAOS_SEED=… repeats one.
RUNS ?= 1

.PHONY: chaos
chaos: build ## three replicas under fire, some minutes a run (RUNS=10, CHAOS_SEED=…)
	@cargo test --quiet --package tests --test it --no-run
	@for run in $$(seq $(RUNS)); do \
		echo "run $$run of $(RUNS)"; \
		cargo test --quiet --package tests --test it -- --ignored --exact --nocapture \
			chaos::everything_acknowledged_survives_all_faults || exit 1; \
	done

# --- measuring -----------------------------------------------------------------

.PHONY: bench
bench: setup-run ## what work costs, optimised (BENCH_ARGS="--only get-record --seconds 10"; --url … for another server)
	cargo build --release --workspace --bins
	$(RELEASE)/bench $(BENCH_ARGS)

.PHONY: bench-compare
bench-compare: setup-test ## the same in turns with the reference server, which it installs from npm
	@tests/reference/setup.sh
	cargo build --release --workspace --bins
	$(RELEASE)/bench --reference tests/reference $(BENCH_ARGS)

# --- fuzzing -------------------------------------------------------------------

# Input for the decoders of common/atproto and common/picture that a machine thinks up: all targets, or TARGET, each for SECONDS.
TARGET ?= $(sort $(notdir $(basename $(wildcard common/atproto/fuzz/fuzz_targets/*.rs))))
SECONDS ?= 60
FUZZ_LIMITS := -rss_limit_mb=2048 -timeout=10 -max_len=8192 -len_control=50

.PHONY: fuzz
fuzz: ## look for input that breaks a decoder (TARGET=…, SECONDS=60)
	@rustup run nightly rustc --version >/dev/null 2>&1 || \
		{ echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly"; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo "fuzzing needs cargo-fuzz: cargo install cargo-fuzz"; exit 1; }
	@cd common/atproto/fuzz && cargo +nightly run --quiet --example seeds
	@cd common/atproto && for target in $(TARGET); do \
		echo "--- $$target, $(SECONDS) s"; \
		cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS) $(FUZZ_LIMITS) || exit 1; \
	done

# --- the code itself -----------------------------------------------------------

.PHONY: fmt
fmt: ## format
	cargo fmt --all

.PHONY: lint
lint: sqlx-check ## what CI checks besides the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

.PHONY: deny
deny: ## check licences and sources of dependencies
	@cargo deny --version >/dev/null 2>&1 || timeout 900 $(INSTALL) cargo-deny --version '^0.20' --no-default-features --locked || \
		echo "cargo-deny cannot be installed here: not checked"
	@! cargo deny --version >/dev/null 2>&1 || cargo deny check licenses bans sources

.PHONY: sqlx
sqlx: stack sqlx-cli ## describe the queries in common/.sqlx after changing one
	$(call with_schema,prepare)

.PHONY: sqlx-check
sqlx-check: stack sqlx-cli
	$(call with_schema,prepare --check)

# Runs `cargo sqlx $(1)` in common, with a database that has all migrations.
with_schema = $(abspath $(STACK)) exec -- sh -ec 'export DATABASE_URL="$$TEST_DATABASE_URL"; cd common; \
	cargo sqlx migrate run --source ../migrations >/dev/null; cargo sqlx $(1) -- --all-targets --all-features'

# --- set-up --------------------------------------------------------------------

.PHONY: setup-run setup-test build stack sqlx-cli
setup-run:
	@tests/setup.sh run

setup-test:
	@tests/setup.sh test

build: setup-run
	@cargo build --workspace --bins

stack: setup-run
	@cargo build --quiet --package tests --bins

sqlx-cli:
	@cargo sqlx --version >/dev/null 2>&1 || $(INSTALL) sqlx-cli --version '^0.9' --no-default-features --features postgres,rustls
