# Every chore of the project, one command each, the same at the desk and in continuous integration.
# `make` or `make help` lists them.

VENV := target/peers/venv
PYTEST := $(VENV)/bin/python -B -m pytest -p no:cacheprovider --durations=5
comma := ,
# What a short run of `make perf` is measured against, so that it need not build the others first.
QUICK_PEERS := haproxy nginx python

.DEFAULT_GOAL := help
.PHONY: help run cert test lint unit counts peers peers-self compat perf perf-compare sim bench demo-vnc setup

help: ## List the chores.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build, and serve the built-in page with the echo target on http://127.0.0.1:6080/.
	cargo run --release --locked -- --web=builtin: --echo 127.0.0.1:6080

cert: ## Make self.pem, a self-signed certificate with its key for localhost and this machine's name, for trying.
	@test ! -e self.pem || { echo "self.pem is there already; remove it first" >&2; exit 1; }
	@command -v openssl >/dev/null || { echo "openssl is missing: apt install openssl" >&2; exit 1; }
	@umask 077 && made=$$(mktemp -d .cert.XXXXXX) && trap 'rm -rf "$$made"' EXIT && trap 'exit 1' HUP INT TERM && \
	{ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=localhost" \
		-addext "basicConstraints=critical,CA:FALSE" \
		-addext "subjectAltName=DNS:localhost,DNS:$$(uname -n),IP:127.0.0.1,IP:::1" \
		-keyout "$$made/key" -out "$$made/crt" 2>"$$made/said" || { cat "$$made/said" >&2; exit 1; }; } && \
	cat "$$made/crt" "$$made/key" > "$$made/pem" && mv "$$made/pem" self.pem && \
	echo "self.pem is made: certificate and key for localhost and $$(uname -n), good for 365 days"

test: setup lint unit counts peers compat ## Everything that has to be true: lint, unit and session tables, simulation, real programs.

lint: setup ## Judge format, lints, documentation, dependencies and the order of the house.
	cargo fmt --all -- --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items
	$(VENV)/bin/python -B scripts/deny.py
	cargo test --quiet --locked --test tidy

unit: ## All tests that cargo knows, the simulation with its seeds included.
	cargo test --locked --workspace

counts: ## Count the instructions of the pure pieces, and hold them against benches/counts.tsv; BLESS=1 writes it anew.
	cargo bench --quiet --locked --bench counts -- $(if $(BLESS),--bless)

peers: setup ## The release build against noVNC, Chromium, Xtigervnc, curl and Python's websockets, on both engines.
	cargo build --release --locked
	$(PYTEST) tests/peers

peers-self: setup ## The tests of `make peers` against Python's websockify, to see that the tests themselves work.
	WEBSPLICE_BIN=$(VENV)/bin/websockify $(PYTEST) tests/peers

compat: setup ## Beside Python's websockify, with equal arguments and bytes: what is the same, and what is better.
	cargo build --release --locked
	$(PYTEST) -n 4 --dist loadfile tests/compat

sim: ## The shard on its simulated network alone; SIM_SEED=N replays one seed.
	cargo test --locked --test sim -- --nocapture

bench: ## Time codec, unmasking and request heads.
	cargo bench --locked --bench head --bench mask --bench ws

perf: ## Measure the server beside its peers; all of it into perf/RESULTS.md, a part (QUICK=1, ROWS=a,b*, PEERS=a,b) under target/perf.
	scripts/perf-peers.sh $(foreach peer,$(or $(subst $(comma), ,$(PEERS)),$(if $(QUICK),$(QUICK_PEERS))),'$(peer)')
	cargo build --release --locked --workspace
	PERF_PEERS='$(PERF_PEERS)' target/release/websplice-perf $(if $(QUICK),--quick) $(if $(ROWS),--rows '$(ROWS)') \
		$(if $(PEERS),--peers '$(PEERS)') $(PERF_FLAGS)

perf-compare: ## Hold the saved run OLD=file against NEW=file, or against the last run; fails if something got worse.
	@test -n "$(OLD)" || { echo "say OLD=file: a run saved with PERF_FLAGS='--json file'" >&2; exit 2; }
	cargo build --release --locked -p websplice-perf
	target/release/websplice-perf compare '$(OLD)' $(if $(NEW),'$(NEW)')

demo-vnc: ## Show a real desktop in your browser: installs noVNC and Xtigervnc if they are absent.
	cargo build --release --locked
	scripts/demo-vnc.sh

setup: ## Install what tests need: a browser, a desktop, and pinned clients under target/.
	scripts/setup-test.sh
