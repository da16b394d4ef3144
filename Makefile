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

.PHONY: help run release check test bench faults kubectl suite packages conformance clients clients-packages clean scenarios simulate differential fuzz fuzz-corpus vm-test vm-packages leaks profile

help:
	@echo "make run    build the release binary, start a local cluster, deploy the demo"
	@echo "make check  format, lints, unit tests (minutes)"
	@echo "make test   everything that CI runs"
	@echo "make bench  all figures, side by side with upstream, into docs/BENCHMARKS.md (10 minutes; with Go)"
	@echo "make faults  power cuts, models, histories, planted faults (10 minutes; with strace)"
	@echo "make simulate  ten thousand seeds of random faults in the simulated cluster (SEEDS=1-500)"
	@echo "make leaks  2,000 pods and 100 restarts, and what is left of them (half an hour; PODS=… RESTARTS=…)"
	@echo "make profile  what requests cost: allocations, instructions, system calls, flushes, bytes (10 minutes; with strace and valgrind)"
	@echo "make clients  helm, the Python and JavaScript clients, kwok, CoreDNS (Go, python3, npm)"
	@echo "make scenarios  our scenarios against upstream's API server and controllers (Go)"
	@echo "make differential  the same requests to upstream and to ours, what differs (Go, 10 minutes)"
	@echo "make fuzz   all readers of foreign bytes under libFuzzer, a minute each (TARGET=… SECONDS=…)"
	@echo "make vm-test  the main job in virtual machines, before a release (an hour)"
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
	cargo test --workspace --lib --bins --tests

# Upstream's client and its suite, from their module. Two thirds of the time that Go's compiler takes
# by default: nobody debugs them, calls need not be inlined, and garbage of processes that end in
# seconds need not be collected; vet would look at all of Kubernetes.
GOFLAGS_SUITE := -mod=readonly -gcflags="all=-dwarf=false -l"
GO_SUITE := cd tests/conformance && CGO_ENABLED=0 GOGC=400 go
kubectl: .build/kubectl
suite: .build/kubectl .build/ginkgo .build/e2e.test
.build/kubectl: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	$(GO_SUITE) build $(GOFLAGS_SUITE) $(GOFLAGS_UPSTREAM) -o ../../$@ k8s.io/kubernetes/cmd/kubectl
.build/ginkgo: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	$(GO_SUITE) build $(GOFLAGS_SUITE) -ldflags "-s -w" -o ../../$@ github.com/onsi/ginkgo/v2/ginkgo
.build/e2e.test: tests/conformance/go.mod tests/conformance/go.sum
	@mkdir -p .build
	$(GO_SUITE) test -c -vet=off $(GOFLAGS_SUITE) $(GOFLAGS_UPSTREAM) -o ../../$@ k8s.io/kubernetes/test/e2e

# Where minutes are left after all else, the rotating part of upstream's suite fills them; with names of
# stages only those: make test [MINUTES=25] [STAGES="build unit-tests"]
MINUTES ?= 25
test:
	CI_MINUTES=$(MINUTES) .ci/stages $(STAGES)

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

# The scenarios that need no node, against upstream's API server and controllers: what they say of
# ours (`make test`) is true of Kubernetes.
scenarios: packages .build/kubectl $(UPSTREAM)
	SCENARIO_KUBECTL=$(CURDIR)/.build/kubectl cargo xtask differential --upstream .build \
	  --run cargo test -p tests api_scenarios -- --nocapture

# The same requests to upstream's API server and to ours: numbers into docs/DIFFERENTIAL.md.
differential: packages $(UPSTREAM)
	cargo xtask differential --upstream .build --report docs/DIFFERENTIAL.md

# Upstream's conformance suite on a fresh local cluster, recorded in tests/conformance and shown in
# docs/CONFORMANCE.md: make conformance [FOCUS=…] [SKIP=…] [NODES=2] [PROCS=4]
NODES ?= 2
PROCS ?= 4
conformance: packages
	.ci/stages packages
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom -p xtask
	$(if $(filter 0,$(NODES)),,.ci/stages images)
	PATH="$$(.ci/go):$$PATH" $(MAKE) suite
	$(TARGET)/ci/xtask conformance --specs --page
	$(SUDO) TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom $(TARGET)/ci/xtask conformance --record \
	  --nodes $(NODES) --procs $(PROCS) $(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)')

# Clients that others wrote, each against a fresh local cluster: make clients [SUITE="helm python …"]
clients: clients-packages
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom -p xtask
	$(SUDO) env PATH="$$(.ci/go):$$PATH" TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom $(TARGET)/ci/xtask clients $(SUITE)

# What docs/RELIABILITY.md promises, proved by faults: make faults [SEED=…]
faults: packages
	@command -v strace >/dev/null || { echo "installing strace"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends strace; }
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom
	$(STATIC) cargo build --profile ci --target $(HOST) -p faults --features mutants
	$(SUDO) $(TARGET)/ci/faults all --transom $(TARGET)/ci/transom $(if $(SEED),--seed $(SEED))

# Random faults in the simulated cluster: make simulate [SEEDS=1-10000]. With frame pointers, so that
# perf can say what a walk costs; kubelets' folders in memory, where there is such a place.
SEEDS ?= 1-10000
simulate: packages
	cd tests && RUSTFLAGS="-C target-feature=+crt-static -C force-frame-pointers=yes" \
	  TMPDIR=$(firstword $(wildcard /dev/shm) /tmp) SIM_FAULTS=all SIM_SEEDS=$(SEEDS) \
	  cargo test --profile walk --target $(HOST) -p tests random_walks -- --nocapture

# What is left of pods that came and went and of processes that were killed: a table, and an error if
# anything grew: make leaks [PODS=2000] [RESTARTS=100]
leaks: packages
	@command -v busybox >/dev/null || { echo "installing busybox-static"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends busybox-static; }
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom
	$(STATIC) TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom LEAK_PODS=$(or $(PODS),2000) LEAK_RESTARTS=$(or $(RESTARTS),100) \
	  cargo test --profile ci --target $(HOST) $(if $(SUDO),--config "target.'cfg(all())'.runner='sudo -E'") -p tests nothing_is_left -- --nocapture

# The tables of docs/PERFORMANCE.md.
profile: packages
	@need=; for p in strace:strace valgrind:valgrind; do \
	  command -v $${p%%:*} >/dev/null || need="$$need $${p##*:}"; done; \
	if [ -n "$$need" ]; then echo "installing$$need"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends $$need; fi
	$(STATIC) cargo build --profile ci --target $(HOST) -p profile
	$(TARGET)/ci/profile

clients-packages: packages
	@need=; for p in busybox:busybox-static python3:python3-venv npm:npm; do \
	  command -v $${p%%:*} >/dev/null || need="$$need $${p##*:}"; done; \
	if [ -n "$$need" ]; then echo "installing$$need"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends $$need; fi

# Readers of foreign bytes under libFuzzer, one on each core, recorded in fuzz/ledger.jsonl and
# docs/FUZZING.md: make fuzz [TARGET="json yaml …"] [SECONDS=60] [EXECUTIONS=100_000_000]
SECONDS ?= 60
NAMED = $(if $(filter command,$(word 1,$(origin TARGET))),$(TARGET))
fuzz: packages
	cargo xtask fuzz --seconds $(SECONDS) $(if $(EXECUTIONS),--executions $(EXECUTIONS)) $(NAMED)

# The committed corpus anew, from what the runs on this machine found.
fuzz-corpus: packages
	cargo xtask fuzz --minimise $(NAMED)

# The main job on machines that no build machine is: control groups of one version, systemd as pid 1,
# reboots, no IPv6; results in docs/VM.md: make vm-test [TRIALS="v2 systemd …"]
vm-test: vm-packages
	$(STATIC) cargo build --profile ci --target $(HOST) -p transom -p xtask
	$(SUDO) TRANSOM_BIN=$(CURDIR)/$(TARGET)/ci/transom $(TARGET)/ci/xtask vm $(TRIALS)

vm-packages: packages
	@need=; for p in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap strip:binutils setpriv:util-linux; do \
	  command -v $${p%%:*} >/dev/null || need="$$need $${p##*:}"; done; \
	if [ -n "$$need" ]; then echo "installing$$need"; $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends $$need; fi

clean:
	cargo clean
	rm -rf .build
