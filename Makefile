# The front door. `make run` shows a cluster, `make check` is the quick loop, `make test` is all
# that continuous integration runs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

HOST   := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET := target/$(HOST)
STATIC := RUSTFLAGS="-C target-feature=+crt-static"
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help run release check test bench conformance packages test-packages clean

help:
	@echo "make run    build the release binary, start a local cluster, deploy the demo"
	@echo "make check  format, lints, unit tests (minutes)"
	@echo "make test   everything that CI runs"
	@echo "make bench  the figures of SPECIFICATION.md"

packages:
	@command -v cc >/dev/null || { echo "installing a C compiler"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq build-essential; }

release: packages
	$(STATIC) cargo build --release --target $(HOST) -p transom

run: release
	$(SUDO) $(TARGET)/release/transom demo

check: packages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

test-packages: packages
	@need=; for p in nft:nftables busybox:busybox-static docker-registry:docker-registry openssl:openssl; do \
	  command -v $${p%%:*} >/dev/null || need="$$need $${p##*:}"; done; \
	if [ -n "$$need" ]; then echo "installing$$need"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends $$need; fi
	@command -v go >/dev/null || { echo "make test builds upstream's kubectl and suites: install Go 1.26 first" >&2; exit 1; }

test: test-packages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	TRANSOM_ROOT_TESTS=1 cargo test --workspace

bench: release
	cargo run --release -p benches

clean:
	cargo clean
