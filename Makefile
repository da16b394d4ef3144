# The front door. `make run` shows a cluster, `make check` is the quick loop, `make test` is all
# that continuous integration runs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

HOST   := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET := target/$(HOST)
# A static binary runs on any distribution, and as the only file of an image.
STATIC := RUSTFLAGS="-C target-feature=+crt-static"
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)
GOFLAGS_UPSTREAM := -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3"

.PHONY: help run release check test bench kubectl packages test-packages conformance conformance-packages clean

help:
	@echo "make run    build the release binary, start a local cluster, deploy the demo"
	@echo "make check  format, lints, unit tests (minutes)"
	@echo "make test   everything that CI runs"
	@echo "make bench  all figures, side by side with upstream, into docs/BENCHMARKS.md (10 minutes; with Go)"
	@echo "make conformance  upstream's suite on two nodes (Go, an hour)"

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
	@need=; for p in nft:nftables busybox:busybox-static docker-registry:docker-registry skopeo:skopeo openssl:openssl; do \
	  command -v $${p%%:*} >/dev/null || need="$$need $${p##*:}"; done; \
	if [ -n "$$need" ]; then echo "installing$$need"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends $$need; fi
	@command -v go >/dev/null || { echo "make test builds upstream's kubectl: install Go 1.26 first" >&2; exit 1; }

# Upstream's client, from its module.
kubectl: .build/kubectl
.build/kubectl: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	cd tests/conformance && CGO_ENABLED=0 go build -mod=readonly $(GOFLAGS_UPSTREAM) -o ../../.build/kubectl k8s.io/kubernetes/cmd/kubectl

# One profile and one target for tests and for the binary that they drive, so that all is built once.
test: test-packages kubectl
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom
	$(STATIC) TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom SCENARIO_KUBECTL=$(CURDIR)/.build/kubectl \
	  cargo test --profile ci --target $(HOST) --workspace

# Upstream's control plane, for the side by side.
UPSTREAM := .build/etcd .build/kube-apiserver .build/kube-controller-manager .build/kube-scheduler
.build/etcd: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	cd tests/conformance && CGO_ENABLED=0 go build -mod=readonly -ldflags "-s -w" -o ../../$@ go.etcd.io/etcd/server/v3
.build/kube-%: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	cd tests/conformance && CGO_ENABLED=0 go build -mod=readonly $(GOFLAGS_UPSTREAM) -o ../../$@ k8s.io/kubernetes/cmd/kube-$*

# All builds come before the first figure.
GO := $(shell command -v go)
bench: release $(if $(GO),$(UPSTREAM))
	$(STATIC) cargo build --release --target $(HOST) -p benches
	@$(if $(GO),true,echo "no Go here: only Transom is measured, without upstream beside it (install Go 1.26 for both)")
	$(SUDO) $(TARGET)/release/benches all --write docs/BENCHMARKS.md --commit "$$(git rev-parse --short HEAD)" $(if $(GO),--upstream .build)

# Upstream's conformance suite on a fresh local cluster: make conformance [FOCUS=…] [SKIP=…] [NODES=2] [PROCS=4]
NODES ?= 2
PROCS ?= 4
conformance: conformance-packages
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom
	cargo run -q -p xtask -- images
	$(SUDO) TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom cargo run -q -p xtask -- conformance --build --record \
	  --nodes $(NODES) --procs $(PROCS) $(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)')

conformance-packages: packages
	@command -v mmdebstrap >/dev/null || { $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends mmdebstrap; }
	@command -v go >/dev/null || { echo "make conformance builds upstream's suite: install Go 1.26 first" >&2; exit 1; }

clean:
	cargo clean
	rm -rf .build
